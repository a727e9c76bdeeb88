"""`hm net`: the connections of this node, why they are no faster, and how they are set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Group, data_option, mesh, output_option, watch_option
from hypermesh.cli.completion import complete_nodes

if TYPE_CHECKING:
    from hypermesh.wire.api.stoq import StoqLink, StoqPath


@click.group(cls=Group)
def net() -> None:
    """Show the connections of this node."""


@net.command("why", example="hm net why\nhm net why bob --watch")
@click.argument("name", metavar="[NODE]", required=False, shell_complete=complete_nodes)
@watch_option
@data_option
@output_option
def net_why(name: str | None, data: Path | None, output: str) -> None:
    """Show what each connection waits for, and the kind of path it has.

    NODE, its name or the beginning of its id, is the one at the other end. `sender`: there is
    nothing to send. `receiver`: the other end takes no more. `window`: the path's rate is still
    looked for. `loss`: losses hold it back. `path`: the path carries no more. `idle`: nothing was
    sent for a while.
    """
    from hypermesh.cli.output import emit, table

    found = _links(name, data)
    emit(found, output, table([_row(each) for each in found], "No connections."))


@net.command("path", example="hm net path\nhm net path bob --output json")
@click.argument("name", metavar="[NODE]", required=False, shell_complete=complete_nodes)
@watch_option
@data_option
@output_option
def net_path(name: str | None, data: Path | None, output: str) -> None:
    """Show what each connection has made of its path: windows, pace, acknowledgements, batches.

    NODE, its name or the beginning of its id, is the one at the other end. `window` may be in
    flight and leaves at `pace`; `receive` and `stream` are what the other end may send beyond what
    was read, `send` what is kept until it is acknowledged.
    """
    from hypermesh.cli.output import emit, table

    found = _links(name, data)
    emit(found, output, table([_settings(each) for each in found], "No connections."))


@net.command("move", example="hm net move\nhm net move 4433")
@click.argument("port", type=click.IntRange(0, 65535), default=0)
@data_option
@output_option
def net_move(port: int, data: Path | None, output: str) -> None:
    """Have STOQ go to another UDP port, PORT or one that the system chooses.

    The nodes that are connected are told before, and come back to the new port at once; the others
    learn of it from the node that orders the ledger. What others had open here ends: they open
    regions, tunnels and transfers again. The port is kept over restarts.
    """
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        done = here.stoq.move(port)
    emit(done, output, f"at port {done.port}, before at {done.before}; told {done.told} nodes")


def _links(name: str | None, data: Path | None) -> list[StoqLink]:
    """Live connections, those with the node `name` where it is given."""
    from hypermesh.cli.party import meant_node

    with mesh(data) as here:
        node = None if name is None else meant_node(list(here.network.nodes()), name).node
        return [each for each in here.stoq.connections() if node in (None, each.node)]


def _settings(link: StoqLink) -> dict[str, object]:
    from hypermesh.cli.output import rate, size

    row: dict[str, object] = {"node": link.name or "nobody"}
    if link.path is not None:
        made = link.path.settings
        row |= {
            "path": link.path.tier,
            "window": size(made.window_bytes),
            "pace": rate(made.pace),
            "receive": size(made.receive_window_bytes),
            "stream": size(made.stream_window_bytes),
            "send": size(made.send_window_bytes),
            "acknowledged": f"{made.ack_packets} packets or {made.ack_delay_us / 1000:g} ms",
            "datagrams a call": made.batch_datagrams,
        }
    return row


def _row(link: StoqLink) -> dict[str, object]:
    from hypermesh.cli.output import waits

    path = link.path
    return {
        "node": link.name or "nobody",
        "opened by": "this node" if link.opened else "the other",
        "waits for": None if path is None else path.waits_for,
        "waited for": None if path is None else waits(_shares(path)),
        "path": None if path is None else path.tier,
        "because it": None if path is None else path.reason,
        "key exchange": link.key_exchange,
        "lost": f"{link.packets_lost} of {link.packets_sent}",
    }


def _shares(path: StoqPath) -> dict[str, float]:
    from hypermesh.wire.amount import BASIS_POINTS

    return {bound: share / BASIS_POINTS for bound, share in path.shares_bp.items()}
