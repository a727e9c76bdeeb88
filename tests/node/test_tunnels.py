"""Tunnels between real nodes: unmodified programs on both sides."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import secrets
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from hypermesh.node.tunnels.access import ServiceRefused
from hypermesh.stoq.errors import BindRefused, TargetRefused
from hypermesh.wire.api.tunnel import ServiceView, TunnelView, Who
from hypermesh.wire.errors import Conflict, Forbidden, InvalidInput, NotFound

from .network import Network, Node, eventually

WAIT_S = 20.0
RESETS = (ConnectionResetError, BrokenPipeError)


@contextmanager
def serving(
    answer: Callable[[socket.socket], None], family: int = socket.AF_INET6, path: str = ""
) -> Iterator[str]:
    """A service on this machine; `answer` has each connection in a thread of its own."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(path or ("::1", 0))
    listener.listen(256)
    threads: list[threading.Thread] = []

    def one(accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            answer(accepted)

    def accept() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=(accepted,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"unix:{path}" if path else f"tcp:[::1]:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(WAIT_S)
        for thread in threads:
            thread.join(WAIT_S)


def echo(connection: socket.socket) -> None:
    """What comes goes back, until the other side has ended its direction."""
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


@contextmanager
def tunnel(
    offering: Node,
    using: Node,
    to: str,
    listen: str = "tcp:[::1]:0",
    who: Who = Who.NETWORK,
    limit: int = 256,
) -> Iterator[tuple[ServiceView, TunnelView]]:
    """A service of one node, and a socket of another that leads to it."""
    name = f"s-{secrets.token_hex(4)}"
    service = offering.ask(lambda m: m.tunnels.offer(name, to, who, limit=limit))
    opened = using.ask(lambda m: m.tunnels.open(service.address, listen))
    try:
        yield service, opened
    finally:
        if using.running:
            using.ask(lambda m: m.tunnels.close(opened.id))
        if offering.running:
            offering.ask(lambda m: m.tunnels.drop(name))


def dialled(view: TunnelView) -> socket.socket:
    if view.listen.startswith("unix:"):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.connect(view.listen.removeprefix("unix:"))
    else:
        made = socket.create_connection(("::1", port_of(view)), WAIT_S)
    made.settimeout(WAIT_S)
    return made


def port_of(view: TunnelView) -> int:
    return int(view.listen.rpartition(":")[2])


def whole(connection: socket.socket) -> bytes:
    """All that comes."""
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def seen(node: Node, view: TunnelView) -> TunnelView:
    return next(each for each in node.ask(lambda m: list(m.tunnels.list())) if each.id == view.id)


def offered(node: Node, service: ServiceView) -> ServiceView:
    services = node.ask(lambda m: list(m.tunnels.services()))
    return next(each for each in services if each.name == service.name)


def test_an_unmodified_http_server_and_clients(network: Network, tmp_path: Path) -> None:
    content = secrets.token_bytes(3_000_000)
    (tmp_path / "file").write_bytes(content)

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

    server = Server(("::1", 0), Files)
    serving_it = threading.Thread(target=server.serve_forever, daemon=True)
    serving_it.start()
    try:
        to = f"tcp:[::1]:{server.server_address[1]}"
        with tunnel(network.alice, network.bob, to) as (service, opened):
            url = f"http://[::1]:{port_of(opened)}/file"
            with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
                assert answer.read() == content
            curl = subprocess.run(
                ["curl", "-sS", "--max-time", "20", url], capture_output=True, check=True
            )
            assert curl.stdout == content
            eventually(lambda: seen(network.bob, opened).counters.open == 0, "both have ended")
            counters = seen(network.bob, opened).counters
            assert counters.opened == 2
            assert counters.bytes_in > 2 * len(content)
            assert offered(network.alice, service).counters.bytes_out == counters.bytes_in
    finally:
        server.shutdown()
        server.server_close()
        serving_it.join()


def test_each_direction_ends_by_itself(network: Network) -> None:
    """The client says all it has to say and ends; the server has heard the end before it says a
    thing."""

    def count(connection: socket.socket) -> None:
        heard = whole(connection)
        connection.sendall(hashlib.sha256(heard).hexdigest().encode())
        connection.shutdown(socket.SHUT_WR)

    said = secrets.token_bytes(5_000_000)
    with serving(count) as to, tunnel(network.alice, network.bob, to) as (_, opened):
        with dialled(opened) as connection:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            assert whole(connection) == hashlib.sha256(said).hexdigest().encode()


def test_the_server_may_end_first(network: Network) -> None:
    heard: list[bytes] = []
    done = threading.Event()

    def greet(connection: socket.socket) -> None:
        connection.sendall(b"welcome")
        connection.shutdown(socket.SHUT_WR)
        heard.append(whole(connection))
        done.set()

    with serving(greet) as to, tunnel(network.alice, network.bob, to) as (_, opened):
        with dialled(opened) as connection:
            assert whole(connection) == b"welcome"
            connection.sendall(b"thanks")
            connection.shutdown(socket.SHUT_WR)
            assert done.wait(WAIT_S)
    assert heard == [b"thanks"]
