"""`hm trust`: which other networks are let in, and which roots this machine's programs believe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from hypermesh.cli.command import (
    Group,
    data_option,
    mesh,
    output_option,
    quiet_option,
    watch_option,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.trust import PartnerView

ID_SHOWN = 16


@click.group(cls=Group)
def trust() -> None:
    """Let other networks in; have programs believe a root."""


_bundle_option = click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of roots in PEM, instead of the system's store.",
)
_yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@trust.command("install", example="hm trust install\nhm trust install root.pem --bundle b.pem")
@click.argument(
    "root", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@_bundle_option
@_yes_option
@data_option
@output_option
def trust_install(
    root: Path | None, bundle: Path | None, yes: bool, data: Path | None, output: str
) -> None:
    """Have programs believe what ROOT (PEM) signs; without ROOT, that of this node's network.

    It is said what changes, and asked for. Whoever holds the key of a root can stand for any name,
    unless the root is constrained: compare the fingerprint first.
    """
    from hypermesh.cli.output import emit
    from hypermesh.standalone.trust import anchors

    der = _root(root, data)
    sha256 = anchors.digest(der)
    place = None if bundle is not None else anchors.system()
    _ask(f"Believe the root {sha256}", bundle or (place.directory if place else None), yes)
    if bundle is not None:
        before = bundle.read_text() if bundle.exists() else ""
        anchors.change_bundle(bundle, anchors.added(before, der))
    elif place is not None:
        anchors.change_system(place, der, sha256)
    emit({"root": sha256, "believed": True}, output, f"believed  {sha256}")


@trust.command("uninstall", example="hm trust uninstall root.pem")
@click.argument(
    "root", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@_bundle_option
@_yes_option
@data_option
@output_option
def trust_uninstall(
    root: Path | None, bundle: Path | None, yes: bool, data: Path | None, output: str
) -> None:
    """Take away what `hm trust install ROOT` put there."""
    from hypermesh.cli.output import emit
    from hypermesh.standalone.trust import anchors
    from hypermesh.wire.errors import NotFound

    sha256 = anchors.digest(_root(root, data))
    place = None if bundle is not None else anchors.system()
    _ask(
        f"No longer believe the root {sha256}", bundle or (place.directory if place else None), yes
    )
    if bundle is not None:
        if not bundle.exists():
            raise NotFound(f"{bundle} is not there")
        anchors.change_bundle(bundle, anchors.removed(bundle.read_text(), sha256))
    elif place is not None:
        anchors.change_system(place, None, sha256)
    emit({"root": sha256, "believed": False}, output, f"removed  {sha256}")


def _root(file: Path | None, data: Path | None) -> bytes:
    """The root in `file`, or that of the network of this machine's node; DER."""
    import ssl

    from hypermesh.standalone.trust import anchors
    from hypermesh.wire.errors import NotFound

    if file is not None:
        return anchors.read_root(file)
    with mesh(data) as here:
        chain = here.certificates.get("me").chain
    if not chain:
        raise NotFound("This node does not have its own certificate")
    return ssl.PEM_cert_to_DER_cert(chain[-1])


def _ask(what: str, where: Path | None, yes: bool) -> None:
    said = f"{what}\n  in {where}"
    if yes:
        click.echo(said, err=True)
    else:
        click.confirm(f"{said}?", abort=True, err=True)


@trust.command("introduce", example="hm trust introduce > ours.txt")
@data_option
@output_option
def trust_introduce(data: Path | None, output: str) -> None:
    """Print what another network needs to let this one's nodes in.

    Nothing in it is secret. Tell the other side the network's id by another way, so that they can
    compare.
    """
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        found = here.trust.introduction()
    click.echo(f"{found.name}: network {found.network}", err=True)
    emit(found, output, found.introduction.rstrip("\n"))


@trust.command("ls", example="hm trust ls")
@watch_option
@quiet_option
@data_option
@output_option
def trust_ls(quiet: bool, data: Path | None, output: str) -> None:
    """List the networks whose nodes are let in: which, for what, until when."""
    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        found = list(here.trust.list())
    if quiet:
        emit_ids(each.network for each in found)
        return
    said = [f"{each.network[:ID_SHOWN]}: {line}" for each in found for line in each.says]
    shown = table([_row(each) for each in found], "No other networks are let in.")
    emit(found, output, "\n".join([shown, *said]))


@trust.command(
    "add",
    example="hm trust add theirs.txt\nhm trust add theirs.txt --service assets --days 30",
)
@click.argument("introduction", type=click.File())
@click.option("--node", "nodes", multiple=True, help="Only this node of theirs, by its whole id.")
@click.option("--without", multiple=True, help="Not this node of theirs, by its whole id.")
@click.option(
    "--service",
    "services",
    multiple=True,
    type=click.Choice(["assets"]),
    help="What they may ask for, beside connecting.",
)
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 3650))
@_yes_option
@data_option
@output_option
def trust_add(
    introduction: TextIO,
    nodes: tuple[str, ...],
    without: tuple[str, ...],
    services: tuple[str, ...],
    days: int,
    yes: bool,
    data: Path | None,
    output: str,
) -> None:
    """Let nodes of another network in, or change on what terms.

    INTRODUCTION is the file that `hm trust introduce` printed there, or `-`. It is said what
    follows, and asked for. Compare the network's id with its people first.
    """
    from hypermesh.cli.output import emit
    from hypermesh.wire.api.trust import PartnerRequest
    from hypermesh.wire.tx import PartnerService

    wanted = PartnerRequest(
        introduction=introduction.read(),
        nodes=list(nodes),
        without=list(without),
        services=[PartnerService(each) for each in services],
        days=days,
    )
    with mesh(data) as here:
        shown = here.trust.preview(wanted)
        said = "\n".join(
            [
                f"network  {shown.network}",
                f"root     {shown.root_sha256}",
                *(f"- {line}" for line in shown.consequences),
            ]
        )
        click.echo(said, err=True)
        if not yes:
            click.confirm("Let them in?", abort=True, err=True)
        done = here.trust.add(wanted)
    emit(done, output, f"{shown.network[:ID_SHOWN]} is let in, in block {done.height}")


@trust.command("drop", example="hm trust drop 3f1c9a --reason 'the contract ended'")
@click.argument("network")
@click.option("--reason", default="dropped", help="Why, for everybody to read.")
@_yes_option
@data_option
@output_option
def trust_drop(network: str, reason: str, yes: bool, data: Path | None, output: str) -> None:
    """Let nodes of NETWORK in no more; by its name, its id or the beginning of it.

    Connections that they have end, at every node that follows the ledger.
    """
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        meant = _meant(here, network)
        if not yes:
            ask = f"Let nodes of {_printable(meant.name)} ({meant.network[:ID_SHOWN]}) in no more?"
            click.confirm(ask, abort=True, err=True)
        done = here.trust.drop(meant.network, reason)
    emit(done, output, f"{meant.network[:ID_SHOWN]} is dropped, in block {done.height}")


@trust.command(
    "follow", example="hm trust follow 3f1c9a\nhm trust follow 3f1c9a --at '[2001:db8::7]:4433'"
)
@click.argument("network")
@click.option("--at", metavar="ADDRESS:PORT", help="Where the node is now that orders its ledger.")
@data_option
@output_option
def trust_follow(network: str, at: str | None, data: Path | None, output: str) -> None:
    """Ask NETWORK where it is and which issuing CA it has, and list that.

    What was agreed stays as it is: who is let in, for what, until when. The other side is known by
    its root and the key of the node that orders its ledger, both of which are listed. Without this,
    a partner that lists this network says by itself that it has moved, and one that shows
    certificates of another CA is asked.
    """
    from hypermesh.cli.output import emit
    from hypermesh.node.names.place import parse_place

    place = None if at is None else parse_place(at)
    with mesh(data) as here:
        meant = _meant(here, network)
        host, port = (None, None) if place is None else place
        done = here.trust.follow(meant.network, host, port)
    said = []
    if done.moved:
        said.append(f"is at [{done.hosts[0]}]:{done.port}")
    if done.reissued:
        said.append("has another issuing CA")
    where = f"in block {done.height}" if said else "nothing was changed"
    emit(
        done, output, f"{meant.network[:ID_SHOWN]} {' and '.join(said) or 'is as listed'}: {where}"
    )


@trust.command("assets", example="hm trust assets 3f1c9a")
@click.argument("network")
@quiet_option
@data_option
@output_option
def trust_assets(network: str, quiet: bool, data: Path | None, output: str) -> None:
    """Ask NETWORK what it shows to anyone of its assets."""
    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        found = list(here.trust.assets(_meant(here, network).network))
    if quiet:
        emit_ids(each.asset for each in found)
        return
    rows: list[dict[str, object]] = [
        {
            "asset": each.asset,
            "kind": each.kind.value,
            "state": each.state.value,
            "capacity": each.capacity,
            "host": each.host[:ID_SHOWN],
        }
        for each in found
    ]
    emit(found, output, table(rows, "It shows no assets."))


@trust.group("whatif", cls=Group)
def trust_whatif() -> None:
    """Say what a change would have cut off, without making it."""


@trust_whatif.command("revoke", example="hm trust whatif revoke desk\nhm trust whatif revoke root")
@click.argument("what", metavar="X")
@data_option
@output_option
def trust_whatif_revoke(what: str, data: Path | None, output: str) -> None:
    """Name every recorded connection that would have failed, had X been revoked.

    X is a node (name, id or the beginning of it), `root` or `issuing`, the SHA-256 of a CA's
    certificate, or a partner network. The node replays the handshakes that it recorded through the
    verifier. Nothing is revoked.
    """
    from hypermesh.cli.output import emit, moment, table

    with mesh(data) as here:
        found = here.trust.whatif(_revocable(here, what))
    rows: list[dict[str, object]] = [
        {
            "when": moment(each.at_ms),
            "peer": _printable(each.name) or each.peer[:ID_SHOWN],
            "id": each.peer[:ID_SHOWN],
            "service": each.service,
            "direction": "out" if each.opened else "in",
            "reason": each.reason,
        }
        for each in found.failures
    ]
    since = "none yet" if found.since_ms is None else f"back to {moment(found.since_ms)}"
    said = f"{found.failed} of {found.records} recorded connections would have failed ({since})"
    lines = [table(rows, "No connection would have failed."), said]
    if found.failed > len(found.failures):
        lines.append(f"The newest {len(found.failures)} are shown.")
    if found.missed:
        lines.append(f"{found.missed} more were not recorded: too many came at once.")
    emit(found, output, "\n".join(lines))


def _revocable(here: Mesh, what: str) -> str:
    """The word or the whole id that `what` means."""
    from hypermesh.cli.party import meant_node
    from hypermesh.wire.errors import HyperMeshError

    if what in ("root", "issuing") or len(what) == 64:
        return what
    partners = list(here.trust.list())
    if _called(partners, what) or any(each.network.startswith(what) for each in partners):
        try:
            return meant_node(list(here.network.nodes()), what).node
        except HyperMeshError:
            return _meant(here, what).network
    return meant_node(list(here.network.nodes()), what).node


def _row(view: PartnerView) -> dict[str, object]:
    from hypermesh.cli.output import moment

    names = [*view.permitted, *(f"not {each}" for each in view.excluded)]
    return {
        "network": view.network[:ID_SHOWN],
        "name": _printable(view.name),
        "names": ", ".join(names),
        "services": ", ".join(["connect", *view.services]),
        "until": moment(view.not_after_ms),
        "answers": "no" if view.failure or view.heard_ms_ago is None else "yes",
    }


def _meant(here: Mesh, named: str) -> PartnerView:
    """The one partner of that name, or whose id begins so."""
    from hypermesh.wire.errors import InvalidInput, NotFound

    known = list(here.trust.list())
    matching = _called(known, named) or [
        each for each in known if each.network.startswith(named.lower())
    ]
    if not matching:
        raise NotFound(f"No network {named!r} is let in", fix="See `hm trust ls`")
    if len(matching) > 1:
        ids = ", ".join(each.network[:ID_SHOWN] for each in matching)
        raise InvalidInput(f"{named!r} is more than one network", why=ids, fix="Give its id")
    return matching[0]


def _called(known: Iterable[PartnerView], named: str) -> list[PartnerView]:
    return [each for each in known if each.name == named]


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
