"""`hm stoq`: the transport alone, towards a `stoq-server`, without a node."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hypermesh.cli.command import Group, Quantity, output_option, say

if TYPE_CHECKING:
    import socket

    from hypermesh.standalone.client import Client
    from hypermesh.stoq.connection import Connection

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

PINGS_DEFAULT = 4
PERF_DEFAULT = "3s"


def _duration(text: str) -> int:
    from hypermesh.wire.quantity import parse_duration

    return max(1, parse_duration(text))


def keys_option(command: Decorated) -> Decorated:
    return click.option(
        "--keys",
        type=click.Path(path_type=Path, file_okay=False),
        help="Directory of the keys (else $HYPERMESH_STOQ, else the user's own).",
    )(command)


def server_options(command: Decorated) -> Decorated:
    """The place of a server, and what its client needs."""
    command = click.option("--pin", help="The server's pin, the first time: it is kept.")(command)
    return click.argument("server")(keys_option(command))


@click.group(cls=Group)
def stoq() -> None:
    """Use a stoq-server: the transport alone, without a mesh."""


@stoq.command("id", example="hm stoq id")
@keys_option
@output_option
def stoq_id(keys: Path | None, output: str) -> None:
    """Print the id of the keys here; they are made at first use.

    It goes into `authorized_peers` of each server to be used.
    """
    from hypermesh.cli.output import emit
    from hypermesh.standalone.authority import own_keys
    from hypermesh.standalone.client import directory

    identifier = own_keys(directory(keys)).id.hex()
    emit({"id": identifier}, output, identifier)


@stoq.command("ping", example="hm stoq ping [::1]:4433")
@server_options
@click.option("--count", type=click.IntRange(1, 1000), default=PINGS_DEFAULT, help="(4)")
@output_option
def stoq_ping(server: str, pin: str | None, keys: Path | None, count: int, output: str) -> None:
    """See whether SERVER lets this key in, and how long an answer takes."""
    import time

    from hypermesh.cli.output import emit
    from hypermesh.wire.rpc import SERVICE_ECHO

    begun = time.perf_counter_ns()
    with _connected(server, pin, keys) as (client, connection):
        handshake_us = (time.perf_counter_ns() - begun) // 1000
        taken = []
        for _ in range(count):
            begun = time.perf_counter_ns()
            connection.request(SERVICE_ECHO, b"")
            taken.append((time.perf_counter_ns() - begun) // 1000)
        found = {
            "server": str(client.server),
            "key": connection.peer_id.hex(),
            "key_exchange": connection.negotiated_group,
            "connected_us": handshake_us,
            "answers_us": taken,
        }
    emit(
        found,
        output,
        f"{found['server']} is {connection.peer_id.hex()[:16]}, {found['key_exchange']}; "
        f"connected in {handshake_us / 1000:.1f} ms\n"
        + "\n".join(
            f"answer {number}: {each / 1000:.3f} ms" for number, each in enumerate(taken, 1)
        ),
    )


@stoq.command("perf", example="hm stoq perf [::1]:4433 --for 10s")
@server_options
@click.option(
    "--for",
    "duration",
    type=Quantity("duration", _duration),
    default=PERF_DEFAULT,
    help="For each direction, up to 60s (3s).",
)
@output_option
def stoq_perf(server: str, pin: str | None, keys: Path | None, duration: int, output: str) -> None:
    """Measure the path to SERVER: both ways, as the receiver counts, and small requests; and what
    kind of path it is, and what sending waited for (see `hm net why`).

    From Python to Python over one connection; both ends and whatever else runs share the machine's
    cores.
    """
    from hypermesh.cli.output import emit, facts, rate, waits
    from hypermesh.standalone import perf
    from hypermesh.wire.errors import InvalidInput

    if duration > perf.DURATION_MS_MAX:
        raise InvalidInput(f"A measurement takes at most {perf.DURATION_MS_MAX // 1000} s")
    with _connected(server, pin, keys) as (_, connection):
        before = connection.why().waited_us
        up = perf.upload(connection, duration)
        waited = connection.why().shares_since(before)
        down = perf.download(connection, duration)
        small = perf.latency(connection, perf.REQUESTS_MAX, duration)
        stats, path = connection.stats(), connection.why()
    found = {
        "up_bits_per_second": up.bits_per_second,
        "down_bits_per_second": down.bits_per_second,
        "requests": small._asdict(),
        "datagram_bytes": stats.datagram_bytes,
        "packets_lost": stats.packets_lost,
        "path": path.tier,
        "because_it": path.reason,
        "up_waited_for": waited,
    }
    shown = {
        "up": f"{rate(_rounded(up.bits_per_second))} ({up.bytes} bytes received there)",
        "down": f"{rate(_rounded(down.bits_per_second))} ({down.bytes} bytes received here)",
        "requests": f"{small.requests} of {perf.REQUEST_BYTES} bytes, one at a time: p50 "
        f"{small.p50_us:.0f} µs, p90 {small.p90_us:.0f} µs, p99 {small.p99_us:.0f} µs",
        "datagrams": f"{stats.datagram_bytes} bytes, {stats.packets_lost} sent from here lost",
        "path": f"{path.tier}: {path.reason}",
        "up waited": waits(waited),
    }
    emit(found, output, facts(shown))


def _rounded(bits: int) -> int:
    """To three figures: more are not reproduced."""
    return int(float(f"{bits:.3g}"))


@stoq.command("tunnel", example="hm stoq tunnel [::1]:4433 web --listen tcp:[::1]:8080")
@server_options
@click.argument("service")
@click.option("--listen", required=True, help="tcp:[::1]:8080 (0: any port), udp:..., unix:/path.")
@output_option
def stoq_tunnel(
    server: str, pin: str | None, keys: Path | None, service: str, listen: str, output: str
) -> None:
    """Carry whoever connects at --listen to SERVICE of SERVER, until Ctrl-C.

    A server that was away is dialled again by the next connection.
    """
    import signal
    import threading

    from hypermesh.cli.output import emit
    from hypermesh.stoq.tunnel import LIMIT_DEFAULT, Forwarding, Tunnel, bound_place
    from hypermesh.stoq.tunnel import listen as listening
    from hypermesh.wire.tunnel import Place

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    asked = Place.parse(listen)
    with _connected(server, pin, keys) as (client, connection):
        target = client.service(connection, service)
        listener = listening(asked)
        place = bound_place(asked, listener)
        tunnel = Tunnel(LIMIT_DEFAULT)
        forwarding = Forwarding(tunnel, listener, place, target, client.connect)
        forwarding.start()
        emit({"listen": str(place)}, output, f"{place} leads to {service} of {client.server}")
        said = 0
        while not ended.wait(0.2):
            last = tunnel.last
            if last is not None and last.at_ms > said:
                said = last.at_ms
                say(f"{last.error}  [{last.error.code}]", output)
        forwarding.stop()


@stoq.command("connect", example="ssh -o ProxyCommand='hm stoq connect [::1]:4433 ssh' there")
@server_options
@click.argument("service")
def stoq_connect(server: str, pin: str | None, keys: Path | None, service: str) -> None:
    """Join standard input and output to SERVICE of SERVER. Ends when the service does."""
    import socket
    import threading

    from hypermesh.stoq.errors import StreamReset
    from hypermesh.stoq.tunnel import Tunnel

    with _connected(server, pin, keys) as (client, connection):
        tunnel = Tunnel(1)
        near, far = socket.socketpair()
        tunnel.forward(connection, far, client.service(connection, service))
        threading.Thread(target=_feed, args=(near,), daemon=True).start()
        _drain(near)
        near.close()
        while tunnel.stats().open and tunnel.last is None:
            threading.Event().wait(0.01)
        last = tunnel.last
        if last is not None:
            raise last.error
        if connection.ended is not None:
            raise StreamReset(why=str(connection.ended))


def _feed(near: socket.socket) -> None:
    """Standard input into `near`."""
    import os
    import socket

    with contextlib.suppress(OSError):
        while data := os.read(0, 1 << 16):
            near.sendall(data)
        near.shutdown(socket.SHUT_WR)


def _drain(near: socket.socket) -> None:
    """What `near` brings to standard output."""
    import os

    while data := near.recv(1 << 16):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]


@contextlib.contextmanager
def _connected(
    server: str, pin: str | None, keys: Path | None
) -> Iterator[tuple[Client, Connection]]:
    from hypermesh.standalone.client import connected, directory
    from hypermesh.standalone.peers import parse_id, parse_server

    pinned = None if pin is None else parse_id(pin, "pin")
    with connected(directory(keys), parse_server(server), pinned) as found:
        yield found
