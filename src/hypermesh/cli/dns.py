"""`hm dns`: the names of the mesh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Group, data_option, mesh, output_option, quiet_option

if TYPE_CHECKING:
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.dns import DnsName, DnsResolved, DnsView

ID_SHOWN = 16
PHASES = (
    "traditional DNS",
    "DNS, compared with the ledger",
    "the ledger first, then DNS",
    "the ledger only",
)


@click.group(cls=Group)
def dns() -> None:
    """Show the names of the mesh, and who answers for them."""


@dns.command("status", example="hm dns status")
@data_option
@output_option
def dns_status(data: Path | None, output: str) -> None:
    """Show this node's name server: where it answers, and its zones."""
    with mesh(data) as here:
        _show(here.dns.status(), output)


@dns.command("ls", example="hm dns ls\nhm dns ls --all")
@click.option("--all", "everything", is_flag=True, help="Also names of services and endpoints.")
@quiet_option
@data_option
@output_option
def dns_ls(everything: bool, quiet: bool, data: Path | None, output: str) -> None:
    """List the names that the ledger knows.

    They are what a stranger may see: an asset has a name at level full_public only.
    """
    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        found = [each for each in here.dns.list() if everything or _is_plain(each)]
    if quiet:
        emit_ids(each.name for each in found)
        return
    emit(found, output, table([row for each in found for row in _rows(each)], "No names."))


@dns.command(
    "resolve",
    example="hm dns resolve trust.hypermesh.online\nhm dns resolve desk.example.org TXT",
)
@click.argument("name")
@click.argument("kind", metavar="[TYPE]", default="AAAA")
@data_option
@output_option
def dns_resolve(name: str, kind: str, data: Path | None, output: str) -> None:
    """Look NAME up as this node answers it, and show which source said so.

    Names that are neither of the mesh nor of this machine are asked of the servers in dns.upstream.
    """
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        found = here.dns.resolve(name, kind.upper())
    emit(found, output, _answer(found))


@dns.command("phase", example="hm dns phase\nhm dns phase 2")
@click.argument("phase", required=False, type=click.IntRange(0, 3))
@data_option
@output_option
def dns_phase(phase: int | None, data: Path | None, output: str) -> None:
    """Show who answers for names of the mesh, or switch to PHASE.

    0 traditional DNS; 1 DNS, compared with the ledger; 2 the ledger first, then DNS; 3 the ledger
    only. It is kept over restarts, and switched back in the same way.
    """
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        found = here.dns.status() if phase is None else here.dns.switch(phase)
    emit(found, output, f"phase {found.phase}: {PHASES[found.phase]}")


@dns.command("add", example="hm dns add desk desk\nhm dns add big 63e0d3a4")
@click.argument("label")
@click.argument("target", metavar="NODE|ASSET")
@data_option
@output_option
def dns_add(label: str, target: str, data: Path | None, output: str) -> None:
    """Call one of your nodes or assets LABEL, in the zone of the network.

    NODE is its name, its id or the beginning of it; ASSET its id, shortened or not. Who comes first
    has a name, and keeps it for as long as it names something of his.
    """
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        node, asset = _target(here, target)
        done = here.dns.name(label, node=node, asset=asset)
        zone = here.dns.status().zone
    emit(done, output, f"{label}.{zone} stands for {asset or node}, in block {done.height}")


@dns.command("rm", example="hm dns rm desk")
@click.argument("label")
@data_option
@output_option
def dns_rm(label: str, data: Path | None, output: str) -> None:
    """Give LABEL up; anybody may take it then."""
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        done = here.dns.drop(label)
    emit(done, output, f"{label} is given up, in block {done.height}")


@dns.command("labels", example="hm dns labels")
@quiet_option
@data_option
@output_option
def dns_labels(quiet: bool, data: Path | None, output: str) -> None:
    """List what owners call their nodes and assets.

    One that is not answered names an asset that is not public, or a node without rights.
    """
    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        found = list(here.dns.labels())
    if quiet:
        emit_ids(each.label for each in found)
        return
    rows: list[dict[str, object]] = [
        {
            "name": each.name,
            "stands for": each.asset or each.node or "",
            "owner": "this owner" if each.mine else each.owner[:ID_SHOWN],
            "answered": "yes" if each.answered else "no",
        }
        for each in found
    ]
    emit(found, output, table(rows, "No names."))


def _target(here: Mesh, text: str) -> tuple[str | None, str | None]:
    """The node or the asset that `text` means."""
    from hypermesh.cli.asset import meant
    from hypermesh.cli.party import meant_node
    from hypermesh.wire.errors import NotFound

    try:
        return meant_node(list(here.network.nodes()), text).node, None
    except NotFound:
        return None, meant(here.assets.list(), text).asset


def _show(found: DnsView, output: str) -> None:
    from hypermesh.cli.output import emit, facts

    places = [f"{each.transport} [{each.host}]:{each.port}" for each in found.addresses]
    height = "not read yet" if found.height is None else f"height {found.height}"
    emit(
        found,
        output,
        facts(
            {
                "served": ", ".join(places) or f"no: {found.failure}",
                **({"not served": found.failure} if places and found.failure else {}),
                "phase": f"{found.phase}: {PHASES[found.phase]}",
                "upstream": ", ".join(found.upstream) or "none",
                "ledger": f"{height}, {found.names} names",
                **{
                    each.zone: f"serial {each.serial}, {each.sets} sets; DS {each.ds}"
                    for each in found.zones
                },
            }
        ),
    )


def _is_plain(found: DnsName) -> bool:
    first = found.name.partition(".")[0]
    return first not in ("endpoint", "ns") and "_" not in found.name


def _rows(found: DnsName) -> list[dict[str, object]]:
    return [
        {"name": found.name, "type": each.type, "data": data}
        for each in found.records
        for data in each.data
    ]


def _answer(found: DnsResolved) -> str:
    said = f"from {found.origin}"
    if found.height is not None:
        said += f" at height {found.height}"
    if found.agreement != "not asked":
        other = "ledger" if found.origin == "dns" else "dns"
        said += f"; {other} {found.agreement}"
    if not found.exists:
        return f"There is no name {found.name} ({said})"
    if not found.data:
        return f"{found.name} has nothing of the type {found.type} ({said})"
    return "\n".join([*found.data, f"({said})"])
