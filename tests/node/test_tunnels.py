"""Tunnels between real nodes: unmodified programs on both sides."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
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
    with (
        serving(count) as to,
        tunnel(network.alice, network.bob, to) as (_, opened),
        dialled(opened) as connection,
    ):
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

    with (
        serving(greet) as to,
        tunnel(network.alice, network.bob, to) as (_, opened),
        dialled(opened) as connection,
    ):
        assert whole(connection) == b"welcome"
        connection.sendall(b"thanks")
        connection.shutdown(socket.SHUT_WR)
        assert done.wait(WAIT_S)
    assert heard == [b"thanks"]


def test_a_long_duplex_session(network: Network) -> None:
    """As of a database: questions and answers of many sizes in one connection, both ways."""
    with (
        serving(echo) as to,
        tunnel(network.alice, network.bob, to) as (_, opened),
        dialled(opened) as connection,
    ):
        for size in (1, 8191, 70_000, 1, 1_000_000):
            said = secrets.token_bytes(size)
            sending = threading.Thread(target=connection.sendall, args=(said,))
            sending.start()
            heard = bytearray()
            while len(heard) < size:
                heard += connection.recv(1 << 20)
            sending.join()
            assert heard == said


def fill(connection: socket.socket, most: int) -> int:
    """How many bytes it takes until it takes no more."""
    block, sent = bytes(1 << 20), 0
    with contextlib.suppress(TimeoutError):
        while sent < most:
            sent += connection.send(block)
    return sent


def test_a_reader_that_stops_slows_the_writer(network: Network) -> None:
    """Nothing between them takes in without bound what the reader leaves."""
    go_on = threading.Event()
    taken: list[int] = []

    def stop_reading(connection: socket.socket) -> None:
        go_on.wait(WAIT_S)
        taken.append(len(whole(connection)))

    with serving(stop_reading) as to, tunnel(network.alice, network.bob, to) as (_, opened):
        with dialled(opened) as connection:
            connection.settimeout(2.0)
            sent = fill(connection, 512 << 20)
            assert sent < 128 << 20
            go_on.set()
            connection.settimeout(WAIT_S)
            connection.shutdown(socket.SHUT_WR)
            assert whole(connection) == b""
        eventually(lambda: taken == [sent], "all that was sent arrives")


def test_unix_sockets_on_both_sides(network: Network, tmp_path: Path) -> None:
    there, here = str(tmp_path / "there"), str(tmp_path / "here")
    with (
        serving(echo, socket.AF_UNIX, there) as to,
        tunnel(network.alice, network.bob, to, f"unix:{here}") as (_, opened),
    ):
        assert Path(here).stat().st_mode & 0o777 == 0o600
        with dialled(opened) as connection:
            connection.sendall(b"through two files")
            connection.shutdown(socket.SHUT_WR)
            assert whole(connection) == b"through two files"
    assert not Path(here).exists()


def test_datagrams(network: Network) -> None:
    """Two senders; each gets its own answers, of any size and each whole."""
    service = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    service.bind(("::1", 0))

    def answer() -> None:
        while True:
            datagram, sender = service.recvfrom(65535)
            if datagram == b"end":
                return
            service.sendto(datagram[::-1], sender)

    answering = threading.Thread(target=answer, daemon=True)
    answering.start()
    to = f"udp:[::1]:{service.getsockname()[1]}"
    with tunnel(network.alice, network.bob, to, "udp:[::1]:0") as (offer, opened):
        senders = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(2)]
        for number, sender in enumerate(senders):
            sender.settimeout(WAIT_S)
            sender.connect(("::1", port_of(opened)))
            for size in (1, 1200, 60_000):
                said = bytes([number]) + secrets.token_bytes(size)
                sender.send(said)
                assert sender.recv(65535) == said[::-1]
        counters = seen(network.bob, opened).counters
        assert counters.open == 2
        # The first of each goes over its stream; the last may too, as long as nobody has agreed.
        assert counters.datagrams + counters.streamed_datagrams == 6
        assert counters.datagrams > 0
        assert offered(network.alice, offer).counters.opened == 2
        for sender in senders:
            sender.close()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as last:
            last.connect(("::1", port_of(opened)))
            last.send(b"end")
            answering.join(WAIT_S)
            assert not answering.is_alive()
    service.close()


def test_two_hundred_at_once(network: Network) -> None:
    """More than the streams of one connection. All are open before the first ends."""
    together = threading.Barrier(200, timeout=60.0)
    whys: list[str] = []
    telling = threading.Lock()
    with serving(echo) as to, tunnel(network.alice, network.bob, to) as (_, opened):

        def carry(number: int) -> None:
            said = number.to_bytes(4, "big") * 1000
            with dialled(opened) as connection:
                connection.settimeout(60.0)
                connection.sendall(said)
                assert connection.recv(1)
                together.wait()
                connection.shutdown(socket.SHUT_WR)
                assert whole(connection) == said[1:]

        def one(number: int) -> None:
            try:
                carry(number)
            except (OSError, AssertionError, threading.BrokenBarrierError) as error:
                # Only the first says why: those that wait for it fail after it, because of it.
                with telling:
                    if not whys:
                        whys.append(f"{error!r}, and the tunnel says {seen(network.bob, opened)}")
                together.abort()

        with ThreadPoolExecutor(200) as pool:
            list(pool.map(one, range(200)))
        assert whys == []
        counters = seen(network.bob, opened).counters
        assert (counters.opened, counters.failed, counters.refused) == (200, 0, 0)


def test_no_more_than_the_limit(network: Network) -> None:
    with serving(echo) as to, tunnel(network.alice, network.bob, to, limit=1) as (offer, opened):
        with dialled(opened) as first:
            first.sendall(b"x")
            assert first.recv(1) == b"x"
            with dialled(opened) as second, contextlib.suppress(*RESETS):
                second.sendall(b"x")
                assert second.recv(1) == b""
        failure = eventually(lambda: seen(network.bob, opened).last_failure, "why")
        assert failure.code == "HM-0008"
        assert offered(network.alice, offer).counters.refused == 1


def refused_for(network: Network, opened: TunnelView, code: str) -> str:
    """Connect, see it end, and return why by `hm tunnel ls`."""
    with dialled(opened) as connection, contextlib.suppress(*RESETS):
        assert whole(connection) == b""
    failure = eventually(lambda: seen(network.bob, opened).last_failure, "why")
    assert failure.code == code
    return failure.why


def test_a_peer_that_may_not_is_refused_with_the_reason(network: Network) -> None:
    with serving(echo) as to, tunnel(network.alice, network.bob, to, who=Who.MINE) as (_, opened):
        assert "own nodes" in refused_for(network, opened, ServiceRefused.code)


def test_named_nodes_and_owners_may_and_others_not(network: Network) -> None:
    bob = network.bob
    with serving(echo) as to:
        for named, allowed in ((bob.id, True), (bob.membership.owner, True), (bytes(32), False)):
            name = f"s-{secrets.token_hex(4)}"
            offer = network.alice.ask(
                lambda m, n=name, who=named: m.tunnels.offer(n, to, Who.NAMED, [who.hex()])
            )
            opened = bob.ask(lambda m, a=offer.address: m.tunnels.open(a, "tcp:[::1]:0"))
            if allowed:
                with dialled(opened) as connection:
                    connection.sendall(b"x")
                    assert connection.recv(1) == b"x"
            else:
                assert "named" in refused_for(network, opened, ServiceRefused.code)
            bob.ask(lambda m, i=opened.id: m.tunnels.close(i))
            network.alice.ask(lambda m, n=name: m.tunnels.drop(n))


def test_a_target_that_is_not_there_is_told_by_name(network: Network) -> None:
    with socket.socket(socket.AF_INET6) as free:
        free.bind(("::1", 0))
        to = f"tcp:[::1]:{free.getsockname()[1]}"
        with tunnel(network.alice, network.bob, to) as (offer, opened):
            assert "refused" in refused_for(network, opened, TargetRefused.code)
            failure = offered(network.alice, offer).last_failure
            assert failure is not None
            assert failure.code == TargetRefused.code


def test_the_wrong_kind_of_socket_is_told(network: Network) -> None:
    with tunnel(network.alice, network.bob, "udp:[::1]:9") as (_, opened):
        with dialled(opened) as connection, contextlib.suppress(*RESETS):
            assert whole(connection) == b""
        failure = eventually(lambda: seen(network.bob, opened).last_failure, "why")
        assert "udp" in failure.what


def test_a_service_withdrawn_ends_what_is_open(network: Network) -> None:
    with serving(echo) as to, tunnel(network.alice, network.bob, to) as (offer, opened):
        with dialled(opened) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            network.alice.ask(lambda m: m.tunnels.drop(offer.name))
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        network.alice.ask(lambda m: m.tunnels.offer(offer.name, to, Who.NETWORK))


def test_a_reset_passes_in_both_directions(network: Network) -> None:
    """A connection that broke is never taken for one that ended."""
    heard: list[type[BaseException] | None] = []

    def hear(connection: socket.socket) -> None:
        connection.sendall(connection.recv(1))
        try:
            connection.recv(1)
            heard.append(None)
        except OSError as error:
            heard.append(type(error))

    def abort(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with serving(hear) as to, tunnel(network.alice, network.bob, to) as (_, opened):
        connection = dialled(opened)
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        eventually(lambda: heard, "the server hears of the reset")
    assert heard == [ConnectionResetError]
    with (
        serving(abort) as to,
        tunnel(network.alice, network.bob, to) as (_, opened),
        dialled(opened) as connection,
    ):
        connection.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_bad_input_is_refused_by_name(network: Network, tmp_path: Path) -> None:
    alice, bob = network.alice, network.bob
    socket_of_alice = alice.configuration.socket
    for to, error in (
        ("tcp:localhost:80", InvalidInput),
        ("tcp:[::1]:0", InvalidInput),
        ("tcp:[::1]:65536", InvalidInput),
        ("unix:relative", InvalidInput),
        (f"unix:{socket_of_alice}", Forbidden),
    ):
        with pytest.raises(error):
            alice.ask(lambda m, to=to: m.tunnels.offer("x", to))
    memory = alice.asset_address
    for address in (memory, memory.replace("hm://fd", "hm://fdff", 1), "hm://nonsense"):
        with pytest.raises(InvalidInput):
            bob.ask(lambda m, a=address: m.tunnels.open(a, "tcp:[::1]:0"))
    with tunnel(alice, bob, "tcp:[::1]:9") as (offer, opened):
        with pytest.raises(Conflict):
            alice.ask(lambda m: m.tunnels.offer(offer.name, "tcp:[::1]:9"))
        with pytest.raises(BindRefused):
            bob.ask(lambda m: m.tunnels.open(offer.address, opened.listen))
        with pytest.raises(BindRefused):
            bob.ask(lambda m: m.tunnels.open(offer.address, f"unix:{tmp_path}/no/dir"))
    with pytest.raises(NotFound):
        bob.ask(lambda m: m.tunnels.close("0" * 16))
    with pytest.raises(NotFound):
        alice.ask(lambda m: m.tunnels.drop("nothing"))


def test_both_ends_are_killed_and_come_back(shaken: Network) -> None:
    """What is open ends; what is offered and opened is there again, at the same places."""
    alice, bob = shaken.alice, shaken.bob
    with serving(echo) as to, tunnel(alice, bob, to) as (_, opened):

        def goes_through() -> bool:
            try:
                with dialled(opened) as connection:
                    connection.sendall(b"again")
                    return connection.recv(5) == b"again"
            except OSError:
                return False

        assert goes_through()
        for node in (alice, bob):
            with dialled(opened) as connection:
                connection.sendall(b"x")
                assert connection.recv(1) == b"x"
                node.kill()
                node.start()
                connection.settimeout(60.0)
                with contextlib.suppress(ConnectionResetError):
                    assert connection.recv(1) == b""
            eventually(goes_through, f"{node.name} is back and the tunnel with it", 60.0)


def test_a_peer_that_is_away_is_told_at_once(shaken: Network) -> None:
    with serving(echo) as to, tunnel(shaken.carol, shaken.bob, to) as (_, opened):
        with dialled(opened) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
        shaken.carol.kill()
        failing = eventually(lambda: _failure_of_a_new_one(shaken.bob, opened), "a reason", 30.0)
        assert failing.startswith("HM-STOQ")
        shaken.carol.start()


def _failure_of_a_new_one(node: Node, opened: TunnelView) -> str | None:
    with dialled(opened) as connection, contextlib.suppress(*RESETS):
        connection.recv(1)
    failure = seen(node, opened).last_failure
    return None if failure is None else failure.code


def test_the_command_line(network: Network, tmp_path: Path) -> None:
    from .network import hm, output

    alice, bob = network.alice, network.bob
    with serving(echo) as to:
        words = ("tunnel", "offer", "cli", "--to", to, "--for", "bob", "--output", "json")
        made = output(hm(*words, data=alice.data))
        assert made["named"] == [bob.id.hex()]
        words = ("tunnel", "open", "cli@alice", "--listen", f"unix:{tmp_path}/s")
        opened = output(hm(*words, "--output", "json", data=bob.data))
        assert opened["address"] == made["address"]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "s"))
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
        shown = hm("tunnel", "ls", data=bob.data).stdout.decode()
        assert "alice" in shown
        assert hm("tunnel", "close", f"unix:{tmp_path}/s", data=bob.data).returncode == 0
        assert hm("tunnel", "drop", "cli", data=alice.data).returncode == 0
    assert list(tmp_path.iterdir()) == []
