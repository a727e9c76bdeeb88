"""`hm node`: the nodes of the network, as this one sees them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import (
    Group,
    data_option,
    mesh,
    output_option,
    quiet_option,
    watch_option,
)
from hypermesh.cli.completion import complete_nodes

if TYPE_CHECKING:
    from hypermesh.wire.api.network import NodeAssetView, NodeView
    from hypermesh.wire.asset import AssetKind

ID_SHOWN = 16


@click.group(cls=Group)
def node() -> None:
    """Show the nodes of the network."""


@node.command("ls", example="hm node ls\nhm node ls --watch")
@watch_option
@quiet_option
@data_option
@output_option
def node_ls(quiet: bool, data: Path | None, output: str) -> None:
    """List the nodes that the ledger knows."""
    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        found = list(here.network.nodes())
    if quiet:
        emit_ids(each.node for each in found)
        return
    emit(found, output, table([_row(each) for each in found], "No nodes."))


@node.command("show", example="hm node show me")
@click.argument("name", metavar="NODE", shell_complete=complete_nodes)
@watch_option
@data_option
@output_option
def node_show(name: str, data: Path | None, output: str) -> None:
    """Show one node: NODE is its name, its id or the beginning of it, or `me`."""
    from hypermesh.cli.output import emit, facts, table

    with mesh(data) as here:
        found = here.network.node(_resolved(name, list(here.network.nodes())))
    where = f"{', '.join(found.hosts)}, port {found.port}" if found.hosts else "not known"
    lines = facts(
        {
            "node": f"{found.name} ({found.node})",
            "owner": f"{found.owner}{' (mine)' if found.mine else ''}",
            "role": found.role,
            "standing": _standing(found),
            "where": where,
            "connection": _connection(found),
        }
    )
    assets = table([_asset_row(each) for each in found.assets], "It shows no assets here.")
    emit(found, output, f"{lines}\n\n{assets}")


def _resolved(named: str, nodes: list[NodeView]) -> str:
    from hypermesh.wire.errors import InvalidInput, NotFound

    if named == "me":
        return named
    matching = [each for each in nodes if each.name == named] or [
        each for each in nodes if each.node.startswith(named.lower())
    ]
    if not matching:
        raise NotFound(f"There is no node {named!r}", fix="See `hm node ls`")
    if len(matching) > 1:
        raise InvalidInput(
            f"{named!r} is more than one node",
            why=", ".join(each.node[:ID_SHOWN] for each in matching),
            fix="Give more of its id",
        )
    return matching[0].node


def _row(node: NodeView) -> dict[str, object]:
    from hypermesh.wire.asset import AssetKind

    return {
        "name": node.name,
        "id": node.node[:ID_SHOWN],
        "owner": "mine" if node.mine else node.owner[:ID_SHOWN],
        "role": node.role,
        "standing": _standing(node),
        "connection": _connection(node),
        "cpu free": _fill(node, AssetKind.CPU),
        "memory free": _fill(node, AssetKind.MEMORY),
    }


def _standing(node: NodeView) -> str:
    if node.revoked:
        return "revoked"
    return "attested" if node.attested else "no attestation"


def _connection(node: NodeView) -> str:
    """In words, with the round trip where it was measured."""
    seen = node.connection
    if seen is None:
        return "this node"
    heard = "" if seen.heard_ms_ago is None else f", heard {seen.heard_ms_ago / 1000:.1f} s ago"
    if not seen.connected:
        return f"none{heard}"
    trip = "" if seen.rtt_us is None else f", {seen.rtt_us} us"
    return f"{seen.path}{trip}{heard}"


def _fill(node: NodeView, kind: AssetKind) -> str | None:
    """What is free of all that the node shows of a kind."""
    from hypermesh.cli.output import amount

    known = [each for each in node.assets if each.kind is kind and each.capacity is not None]
    if not known:
        return None
    free, capacity = (
        sum(each.free or 0 for each in known),
        sum(each.capacity or 0 for each in known),
    )
    return f"{amount(free, kind)} of {amount(capacity, kind)}"


def _asset_row(asset: NodeAssetView) -> dict[str, object]:
    from hypermesh.cli.output import amount

    return {
        "asset": asset.asset,
        "kind": asset.kind.value,
        "level": asset.level.value,
        "state": asset.state.value,
        "free": amount(asset.free, asset.kind),
        "capacity": amount(asset.capacity, asset.kind),
        "leases": asset.leases,
        "enforced by": None if asset.enforcement is None else asset.enforcement.value,
    }
