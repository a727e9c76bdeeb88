"""`hm tunnel`: any program over the mesh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Group, data_option, mesh, output_option, quiet_option, say

if TYPE_CHECKING:
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.tunnel import ServiceView, TunnelCounters, TunnelFailure, TunnelView


@click.group(cls=Group)
def tunnel() -> None:
    """Carry local sockets to services of other nodes."""


@tunnel.command("offer", example="hm tunnel offer db --to tcp:[::1]:5432")
@click.argument("name")
@click.option("--to", required=True, help="tcp:[::1]:5432, udp:[::1]:53 or unix:/path.")
@click.option("--network", is_flag=True, help="For every node of the network, not only my own.")
@click.option(
    "--for", "named", multiple=True, help="For this node or owner, too; several times for several."
)
@click.option("--limit", type=click.IntRange(1, 1024), help="Connections at a time (256).")
@data_option
@output_option
def tunnel_offer(
    name: str,
    to: str,
    network: bool,
    named: tuple[str, ...],
    limit: int | None,
    data: Path | None,
    output: str,
) -> None:
    """Offer a local service under NAME to my own nodes, or to others.

    It is offered until `hm tunnel drop`, also after restarts.
    """
    from hypermesh.cli.output import emit
    from hypermesh.wire.api.tunnel import LIMIT_DEFAULT, Who
    from hypermesh.wire.errors import InvalidInput

    if network and named:
        raise InvalidInput("--network offers it to all: name nobody beside")
    who = Who.NETWORK if network else Who.NAMED if named else Who.MINE
    with mesh(data) as here:
        parties = [_party(here, each) for each in named]
        made = here.tunnels.offer(name, to, who, parties, limit or LIMIT_DEFAULT)
    emit(made, output, made.address)
    say(f"Offered to {_audience(made)}. There: hm tunnel open {made.address} --listen ...", output)


def _party(here: Mesh, text: str) -> str:
    """The id of a node by its name, or of a node or owner by the front of its id."""
    from hypermesh.cli.party import meant_owner

    known = list(here.network.nodes())
    for each in known:
        if text == each.name or (text and each.node.startswith(text)):
            return each.node
    return meant_owner(here, text)


@tunnel.command("drop", example="hm tunnel drop db")
@click.argument("name")
@data_option
@output_option
def tunnel_drop(name: str, data: Path | None, output: str) -> None:
    """Withdraw the service NAME. What is open on it ends."""
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        gone = here.tunnels.drop(name)
    emit(gone, output, f"{gone.name} is offered no more.")


@tunnel.command("open", example="hm tunnel open db@desk --listen tcp:[::1]:15432")
@click.argument("service")
@click.option("--listen", required=True, help="tcp:[::1]:15432 (0: any port), udp:..., unix:/path.")
@click.option("--limit", type=click.IntRange(1, 1024), help="Connections at a time (256).")
@click.option("--foreground", is_flag=True, help="Until Ctrl-C, not until `hm tunnel close`.")
@data_option
@output_option
def tunnel_open(
    service: str,
    listen: str,
    limit: int | None,
    foreground: bool,
    data: Path | None,
    output: str,
) -> None:
    """Carry whoever connects at --listen to SERVICE.

    SERVICE is an address from `hm tunnel offer`, or NAME@NODE. The node holds the tunnel, also
    after restarts.
    """
    from hypermesh.cli.output import emit
    from hypermesh.wire.api.tunnel import LIMIT_DEFAULT

    with mesh(data) as here:
        address = service if "@" not in service else _address(here, service)
        opened = here.tunnels.open(address, listen, limit or LIMIT_DEFAULT)
        emit(opened, output, f"{opened.listen} leads to {service}  [{opened.id}]")
        if not _is_local(opened.listen):
            say("Other machines can reach that socket, and use the service as this node.", output)
        if foreground:
            _hold(here, opened, output)


def _address(here: Mesh, text: str) -> str:
    """Where the service NAME of NODE is, given NAME@NODE."""
    from hypermesh.cli.party import meant_node
    from hypermesh.stoq.tunnel import service_address

    name, _, node = text.rpartition("@")
    found = meant_node(list(here.network.nodes()), node)
    network = bytes.fromhex(here.network.status().genesis)
    return str(service_address(network, bytes.fromhex(found.node), name))


def _is_local(listen: str) -> bool:
    from hypermesh.wire.tunnel import Place

    return Place.parse(listen).is_local


def _hold(here: Mesh, opened: TunnelView, output: str) -> None:
    import signal

    say("Until Ctrl-C.", output)
    try:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except KeyboardInterrupt:
        pass
    finally:
        here.tunnels.close(opened.id)


@tunnel.command("close", example="hm tunnel close 1f6c2b9a40d3e857")
@click.argument("tunnel_id")
@data_option
@output_option
def tunnel_close(tunnel_id: str, data: Path | None, output: str) -> None:
    """End a tunnel by its id, the front of it, or where it listens."""
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        known = list(here.tunnels.list())
        found = [each for each in known if each.listen == tunnel_id]
        found = found or [each for each in known if tunnel_id and each.id.startswith(tunnel_id)]
        meant = found[0].id if len(found) == 1 else tunnel_id
        gone = here.tunnels.close(meant)
    emit(gone, output, f"{gone.listen} leads nowhere any more.")


@tunnel.command("ls", example="hm tunnel ls")
@quiet_option
@data_option
@output_option
def tunnel_ls(quiet: bool, data: Path | None, output: str) -> None:
    """List the services offered here and the tunnels opened here."""
    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        services, tunnels = list(here.tunnels.services()), list(here.tunnels.list())
    if quiet:
        emit_ids([*(each.name for each in services), *(each.id for each in tunnels)])
        return
    offers = table([_service(each) for each in services], "No services are offered here.")
    opened = table([_tunnel(each) for each in tunnels], "No tunnels are open here.")
    emit([*services, *tunnels], output, f"{offers}\n\n{opened}")


def _service(view: ServiceView) -> dict[str, object]:
    return {
        "service": view.name,
        "for": _audience(view),
        "leads to": view.to,
        **_did(view.counters, view.last_failure),
    }


def _tunnel(view: TunnelView) -> dict[str, object]:
    return {
        "tunnel": view.id,
        "listens at": view.listen if view.listening else f"{view.listen} (not yet)",
        "leads to": f"{view.address.rpartition('.')[2]} of {view.node_name}",
        **_did(view.counters, view.last_failure),
    }


def _did(counters: TunnelCounters, last: TunnelFailure | None) -> dict[str, object]:
    from hypermesh.cli.output import moment, size

    failed = counters.refused + counters.failed
    said = None if last is None else f"{moment(last.at_ms)} {last.what}: {last.why or last.code}"
    return {
        "open": counters.open,
        "so far": counters.opened,
        "failed": failed,
        "out": size(counters.bytes_out),
        "in": size(counters.bytes_in),
        "dropped": counters.dropped_datagrams or None,
        "last failure": said,
    }


def _audience(view: ServiceView) -> str:
    from hypermesh.wire.api.tunnel import Who

    if view.who is Who.NAMED:
        return f"my nodes and {', '.join(each[:16] for each in view.named)}"
    return "my nodes" if view.who is Who.MINE else "the network"
