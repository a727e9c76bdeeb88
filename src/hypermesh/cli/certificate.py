"""`hm cert`: the certificates of the network."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from hypermesh.cli.certificate_report import cert_report
from hypermesh.cli.certificate_watch import cert_watch
from hypermesh.cli.command import (
    Group,
    Quantity,
    data_option,
    mesh,
    output_option,
    quiet_option,
    watch_option,
)
from hypermesh.cli.completion import complete_nodes
from hypermesh.wire.quantity import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypermesh.ledger.bundled import LedgerVerdict
    from hypermesh.wire.api.certificate import CertificateDetail, CertificateView
    from hypermesh.wire.api.ct import LogEntry, LogView

ID_SHOWN = 16
SHOWN = 50


@click.group(cls=Group)
def cert() -> None:
    """Show certificates: who may take part, until when."""


@cert.command("ls", example="hm cert ls\nhm cert ls --last 500")
@click.option(
    "--last",
    default=SHOWN,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many of the newest.",
)
@watch_option
@quiet_option
@data_option
@output_option
def cert_ls(last: int, quiet: bool, data: Path | None, output: str) -> None:
    """List certificates, newest first.

    All that were issued on the node that founded the network; elsewhere its own, and the newest of
    each node on the ledger.
    """
    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        found = list(islice(here.certificates.list(), last))
    if quiet:
        emit_ids(each.sha256 for each in found)
        return
    emit(found, output, table([_row(each) for each in found], "No certificates."))


@cert.command("show", example="hm cert show\nhm cert show me --pem | openssl x509 -text")
@click.argument("name", metavar="CERTIFICATE", default="me", shell_complete=complete_nodes)
@click.option("--pem", is_flag=True, help="The chain in PEM: leaf, issuing, root.")
@data_option
@output_option
def cert_show(name: str, pem: bool, data: Path | None, output: str) -> None:
    """Show one certificate, this node's own by default.

    CERTIFICATE is its SHA-256, a node by its name or id (then its newest), the beginning of either,
    or `me`.
    """
    from hypermesh.cli.output import emit, facts

    with mesh(data) as here:
        named = (
            name if name == "me" or _is_whole(name) else _resolved(name, here.certificates.list())
        )
        found = here.certificates.get(named)
    if pem:
        emit({"chain": _chain(found)}, output, "".join(_chain(found)).rstrip("\n"))
        return
    emit(found, output, facts(_facts(found)))


@cert.command(
    "bundle",
    example="hm cert bundle -o mine.json\n"
    "hm cert bundle desk -o desk.html\n"
    "hm cert bundle desk | hm cert verify - --genesis ID",
)
@click.argument("name", metavar="CERTIFICATE", default="me", shell_complete=complete_nodes)
@click.option(
    "-o",
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to; a page that checks itself in a browser where the name ends in .html.",
)
@data_option
def cert_bundle(name: str, save: Path | None, data: Path | None) -> None:
    """Print what shows offline that a certificate was logged, as a JSON document, or save it.

    CERTIFICATE as for `hm cert show`. The document has the chain, the SCT, the inclusion proof, the
    log's checkpoint, and from the ledger how far the log is anchored and whether the node is
    revoked. `hm cert verify` checks it. For another node's certificate, that node is asked.
    """
    from hypermesh.trustchain.bundle import read_bundle
    from hypermesh.trustchain.bundle_page import page

    with mesh(data) as here:
        named = (
            name if name == "me" or _is_whole(name) else _resolved(name, here.certificates.list())
        )
        document = here.certificates.bundle(named)
    made = read_bundle(document)
    if save is None:
        click.echo(made.encoded())
        return
    is_page = save.suffix.lower() in (".html", ".htm")
    save.write_bytes(page(made).encode() if is_page else made.encoded())
    click.echo(f"{save}: check it with `hm cert verify`", err=True)


@cert.command("log", example="hm cert log\nhm cert log --output json")
@watch_option
@data_option
@output_option
def cert_log(data: Path | None, output: str) -> None:
    """Show the transparency logs of the network's authority.

    Every certificate is in the log of certificates before anyone has it, every invitation and
    revocation in the log of acts. ANCHORED is how far the ledger knows a log, since which block;
    each anchor was shown to every node to continue the one before. SIZE is known on the node that
    keeps the logs alone. COSIGNED are the nodes that checked the newest checkpoint against what
    they cosigned before, or how far this node did.
    """
    from hypermesh.cli.output import emit, table

    with mesh(data) as here:
        found = here.ct.get()
    lines = [table([_log_row(each) for each in found.logs], "No log is on the ledger yet.")]
    lines += [
        f"CONTRADICTED     {each.witnessed.contradiction}"
        for each in found.logs
        if each.witnessed is not None and each.witnessed.contradiction is not None
    ]
    lines += ["", f"own certificate  {_logged(found.certificate)}"]
    if found.failure is not None:
        lines.append(f"FAILED           {found.failure}")
    emit(found, output, "\n".join(lines))


def _log_row(view: LogView) -> dict[str, object]:
    from hypermesh.cli.output import moment

    here, anchored = view.here, view.anchored
    return {
        "log": view.purpose,
        "origin": view.origin,
        "size": None if here is None else here.size,
        "anchored": anchored.size,
        "in block": anchored.height,
        "at": moment(anchored.time_ms),
        "cosigned": _cosigned(view),
        "state": "takes entries" if view.ended_height is None else "ended",
    }


def _cosigned(view: LogView) -> str | None:
    """By how many nodes, at the node that keeps the log; elsewhere how far by this one."""
    if view.witnessed is not None and view.witnessed.contradiction is not None:
        return "REFUSED"
    if view.here is not None:
        nodes = sum(each.refused is None for each in view.here.witnesses)
        return f"by {nodes} nodes"
    return None if view.witnessed is None else f"{view.witnessed.size} by this node"


@cert.command("revoke", example="hm cert revoke desk --reason stolen")
@click.argument("node", metavar="NODE", shell_complete=complete_nodes)
@click.option("--reason", required=True, help="Why, for everybody to read; at most 200 characters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
@output_option
def cert_revoke(node: str, reason: str, yes: bool, data: Path | None, output: str) -> None:
    """End the rights of NODE for good; by its name, its id or the beginning of it.

    Its owner may, and the network's founder. Every node that follows the ledger cuts it off; its
    machine can only join again as a new node.
    """
    from hypermesh.cli.output import emit
    from hypermesh.cli.party import meant_node

    with mesh(data) as here:
        meant = meant_node(list(here.network.nodes()), node)
        if not yes:
            ask = f"Revoke {meant.name} ({meant.node[:ID_SHOWN]}) for good?"
            click.confirm(ask, abort=True, err=True)
        done = here.certificates.revoke(meant.node, reason)
    emit(done, output, f"{meant.name} is revoked, in block {done.height}; transaction {done.tx}")


@cert.command("rotate-issuer", example="hm cert rotate-issuer --reason stolen --grace 5m")
@click.option("--reason", required=True, help="Why, for everybody to read; at most 200 characters.")
@click.option(
    "--grace",
    type=Quantity("duration", parse_duration),
    default="10m",
    show_default=True,
    help="How long connections by certificates of the CA before are believed; at most 24h.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
@output_option
def cert_rotate_issuer(reason: str, grace: int, yes: bool, data: Path | None, output: str) -> None:
    """Replace the network's issuing CA, because its key may be in other hands.

    On the node that founded the network: its root, which genesis names, makes another issuing CA.
    From the block on the one before enrols nobody, and every node renews its certificate at once.
    Connections between nodes stay. After the grace nothing of the CA before is believed, and who
    has no other certificate by then is cut off until it has.
    """
    from hypermesh.cli.output import emit, facts, moment

    if not yes:
        ask = "Replace the network's issuing CA? Every node renews its certificate"
        click.confirm(ask, abort=True, err=True)
    with mesh(data) as here:
        done = here.certificates.replace_issuer(reason, grace)
    until = "no longer" if done.believed_until_ms is None else moment(done.believed_until_ms)
    emit(
        done,
        output,
        facts(
            {
                "issuing CA": done.sha256,
                "in block": done.height,
                "transaction": done.tx,
                "one before believed until": until,
            }
        ),
    )


def _is_whole(name: str) -> bool:
    return len(name) == 64 and all(digit in "0123456789abcdef" for digit in name)


def _resolved(named: str, certificates: Iterable[CertificateView]) -> str:
    """The newest certificate of the node called `named`, or the one that begins with it."""
    from hypermesh.wire.errors import InvalidInput, NotFound

    known = list(certificates)
    of_node = [each for each in known if named in (each.name, each.node)]
    if of_node:
        return of_node[0].sha256
    beginning = named.lower()
    matching = [
        each
        for each in known
        if each.sha256.startswith(beginning) or each.node.startswith(beginning)
    ]
    if not matching:
        raise NotFound(f"There is no certificate {named!r}", fix="See `hm cert ls`")
    if len({each.node for each in matching}) > 1:
        raise InvalidInput(
            f"{named!r} is more than one certificate",
            why=", ".join(f"{each.sha256[:ID_SHOWN]} of {each.name}" for each in matching),
            fix="Give more of it",
        )
    return matching[0].sha256


def _chain(found: CertificateDetail) -> list[str]:
    from hypermesh.wire.errors import NotFound

    if found.chain is None:
        raise NotFound(
            "This node does not have that certificate, only its digest from the ledger",
            fix="Ask on that node: `hm cert show --pem`; or on the one that founded the network",
        )
    return found.chain


def _row(view: CertificateView) -> dict[str, object]:
    from hypermesh.cli.output import moment

    return {
        "sha256": view.sha256[:ID_SHOWN],
        "node": view.name,
        "owner": view.owner[:ID_SHOWN],
        "not before": None if view.not_before_ms is None else moment(view.not_before_ms),
        "not after": moment(view.not_after_ms),
        "standing": _standing(view),
        "known by": view.known_by,
    }


def _facts(found: CertificateDetail) -> dict[str, object]:
    from hypermesh.cli.output import moment

    view = found.certificate
    shown: dict[str, object] = {
        "sha256": view.sha256,
        "node": f"{view.name} ({view.node})",
        "owner": view.owner,
    }
    if view.serial is not None and view.not_before_ms is not None:
        shown |= {
            "subject": view.subject,
            "serial": view.serial,
            "not before": moment(view.not_before_ms),
        }
    shown |= {
        "not after": moment(view.not_after_ms),
        "standing": _standing(view),
        "known by": _KNOWN_BY[view.known_by],
    }
    if found.revocation is not None:
        shown["revoked for"] = found.revocation
    shown["logged"] = _logged(found.logged)
    return shown


def _logged(entry: LogEntry | None) -> str:
    from hypermesh.cli.output import moment

    if entry is None:
        return "this node has no evidence of it: hm cert bundle asks its node"
    anchored = "anchored in the ledger" if entry.anchored else "not anchored in the ledger yet"
    return f"{moment(entry.logged_ms)}, entry {entry.index} of {entry.origin}; {anchored}"


_KNOWN_BY = {
    "authority": "this node's authority, which issued it",
    "self": "this node, whose own it is",
    "ledger": "the ledger: digest and end alone",
}


def _standing(view: CertificateView) -> str:
    if view.revoked:
        return "node revoked"
    return "current" if view.current else "superseded"


@cert.command(
    "verify",
    example="hm cert verify bundle.json --root root.pem\n"
    "hm cert verify bundle.json --genesis ID\n"
    "hm cert verify bundle.json",
)
@click.argument("bundle", type=click.File("rb"))
@click.option("--root", metavar="FILE|SHA256", help="The root that is trusted: PEM, or its pin.")
@click.option("--log", metavar="SHA256", help="The log that is trusted, by its fingerprint.")
@click.option(
    "--witness",
    "witnesses",
    metavar="VKEY",
    multiple=True,
    help="A witness that must have cosigned, by its verifier key; may be repeated.",
)
@click.option("--genesis", metavar="ID", help="The network that is trusted: its root and its logs.")
@click.option(
    "--cosigned",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    help="How many owners besides the founder must have a node that cosigned.",
)
@output_option
def cert_verify(
    bundle: BinaryIO,
    root: str | None,
    log: str | None,
    witnesses: tuple[str, ...],
    genesis: str | None,
    cosigned: int,
    output: str,
) -> None:
    """Check the offline BUNDLE of a certificate; no network and no node is asked.

    Checked are the signatures of the chain, the SCT, the inclusion proof and the checkpoint under
    all keys of the log, with the cosignature of every --witness; of a network's bundle also what
    its ledger says: the anchored root, whether the node was revoked at that height, and which nodes
    cosigned the checkpoint, by keys that the ledger knows; --cosigned says how many must. Without
    --root and --log, or --genesis, these are what the bundle says: whoever made it could have made
    them, too. `trustchain-server init` prints the first two, `hm status` the id of your network.
    """
    import dataclasses
    import time

    from hypermesh.cli.output import emit, facts, moment
    from hypermesh.ledger.bundled import check_ledger
    from hypermesh.trustchain.bundle import (
        BUNDLE_BYTES_MAX,
        BundleRefused,
        Trust,
        check_bundle,
        read_bundle,
    )
    from hypermesh.trustchain.ct.checkpoint import read_witness_key
    from hypermesh.wire.errors import InvalidInput
    from hypermesh.wire.ids import parse_hex

    read = read_bundle(bundle.read(BUNDLE_BYTES_MAX + 1))
    known = tuple(map(read_witness_key, witnesses))
    trusted = Trust(
        None if root is None else _root_digest(root), _digest(log, "log"), known, len(known)
    )
    verdict = check_bundle(read, trusted, int(time.time()))
    pinned = None if genesis is None else parse_hex(genesis, 32, "genesis id")
    ledger = check_ledger(read, pinned)
    if ledger is None and pinned is not None:
        raise InvalidInput("The bundle says nothing of a ledger", fix="Give --root and --log")
    others = {each.owner for each in ledger.witnesses if not each.is_founders} if ledger else set()
    if len(others) < cosigned:
        raise BundleRefused(
            f"Nodes of {len(others)} owners besides the founder cosigned", why=f"{cosigned} wanted"
        )
    if ledger is not None and pinned is not None:
        # Genesis names the root, and the ledger's row the log's keys.
        verdict = dataclasses.replace(verdict, is_root_trusted=True, is_log_trusted=True)
    emit(
        {**dataclasses.asdict(verdict), "ledger": ledger and dataclasses.asdict(ledger)},
        output,
        facts(
            {
                "holds": "yes",
                "serial": f"{verdict.serial:x}",
                "names": ", ".join(verdict.names),
                "until": moment(verdict.not_after_s * 1000),
                "valid now": "yes" if verdict.is_current else "NO",
                "logged": f"{moment(verdict.logged_ms)}, entry {verdict.index} of {verdict.size}",
                "log": f"{verdict.origin}{_said(verdict.is_log_trusted)}",
                "root": f"{verdict.root_sha256.hex()}{_said(verdict.is_root_trusted)}",
                **({} if ledger is None else _ledger_facts(ledger)),
            }
            | {
                f"cosigned by {name}": moment(at_s * 1000)
                for name, at_s in verdict.cosigned_s.items()
            }
        ),
    )


def _ledger_facts(ledger: LedgerVerdict) -> dict[str, object]:
    from hypermesh.cli.output import moment

    revoked = "no"
    if ledger.revoked_height is not None:
        revoked = f"YES, since block {ledger.revoked_height}: {ledger.reason}"
    return {
        "network": f"{ledger.network}, {ledger.genesis.hex()}{_said(ledger.is_genesis_trusted)}",
        "as of": f"block {ledger.height}, {moment(ledger.time_ms)}",
        "anchored": f"{ledger.anchored_size} entries, since block {ledger.anchored_height}",
        "node": ledger.node.hex(),
        "newest": "yes" if ledger.is_current else "no, the ledger knows another of this node",
        "revoked": revoked,
        **{
            f"cosigned by {each.node.hex()[:ID_SHOWN]}": f"{moment(each.at_s * 1000)}, owner "
            f"{each.owner.hex()[:ID_SHOWN]}{' (the founder)' if each.is_founders else ''}"
            for each in ledger.witnesses
        },
    }


def _said(is_trusted: bool) -> str:
    return "" if is_trusted else "  (as the bundle says)"


def _root_digest(root: str) -> bytes:
    """The SHA-256 of the root that `root` names: 64 hexadecimal digits, or a file in PEM."""
    import hashlib
    import ssl

    from hypermesh.wire.errors import InvalidInput

    file = Path(root)
    if not file.is_file():
        return _digest(root, "root") or b""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read_text())).digest()
    except ValueError as error:
        raise InvalidInput(f"{file} is no certificate in PEM", why=str(error)) from error


def _digest(text: str | None, what: str) -> bytes | None:
    from hypermesh.wire.errors import InvalidInput

    if text is None:
        return None
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise InvalidInput(f"{text[:80]!r} is no fingerprint of a {what}", why="64 hex digits")
    return digest


cert.add_command(cert_watch)
cert.add_command(cert_report)
