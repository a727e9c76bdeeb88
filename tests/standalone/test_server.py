"""`stoq-server` as a process, and its clients."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hypermesh.standalone.authority import own_keys
from hypermesh.standalone.client import Client, connected
from hypermesh.standalone.errors import PinChanged, ServerUnknown, SettingsInvalid
from hypermesh.standalone.peers import Server, parse_server
from hypermesh.standalone.settings import settled
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import KEY_EXCHANGE, Endpoint
from hypermesh.stoq.errors import Draining, NotAuthorized, PeerRefused, UnknownIssuer
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.stoq.tunnel import Tunnel
from hypermesh.wire.errors import Forbidden
from hypermesh.wire.ids import AssetId
from hypermesh.wire.rpc import ALPN_ENROL, SERVICE_CONTROL, SERVICE_ECHO, SERVICE_PERF

WAIT_S = 60.0


@dataclass
class Running:
    """One server and the keys that it lets in."""

    process: subprocess.Popen[str]
    data: Path
    keys: Path
    place: Server
    pin: str

    def hm(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "hypermesh.cli.main", "stoq", *words, "--keys", str(self.keys)],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def json(self, *words: str) -> dict[str, Any]:
        done = self.hm(*words, "--output", "json")
        assert done.returncode == 0, done.stderr.decode()
        read: dict[str, Any] = json.loads(done.stdout)
        return read

    def authorise(self, *ids: bytes) -> None:
        """Let in these alone, from now on."""
        (self.data / "authorized_peers").write_text("".join(f"{each.hex()}\n" for each in ids))
        self.process.send_signal(signal.SIGHUP)

    def connected(self) -> contextlib.AbstractContextManager[Any]:
        return connected(self.keys, self.place, bytes.fromhex(self.pin))


def eventually(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not look():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def serving(
    data: Path, keys: Path, *flags: str, listen: tuple[str, ...] = ("--listen", "[::1]:0")
) -> Iterator[Running]:
    data.mkdir(exist_ok=True, mode=0o700)
    (data / "authorized_peers").write_text(f"{own_keys(keys).id.hex()} a comment\n")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "hypermesh.standalone.server"),
            *("--data", str(data), *listen, *flags),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = dict(process.stdout.readline().split() for _ in range(3))
        yield Running(process, data, keys, parse_server(said["listen"]), said["pin"])
    finally:
        process.kill()
        process.wait()
        process.stdout.close() if process.stdout else None


@contextlib.contextmanager
def echoing() -> Iterator[str]:
    """A TCP service of another make that returns what it gets."""
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)

    def echo(accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            while data := accepted.recv(65536):
                accepted.sendall(data)
            accepted.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                threading.Thread(target=echo, args=(accepted,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"tcp:[::1]:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(WAIT_S)


@contextlib.contextmanager
def tunnelling(
    limit: int,
) -> Iterator[tuple[Tunnel, Callable[[Connection, AssetId], socket.socket]]]:
    """A tunnel, and what forwards a new local socket over it; all sockets are closed in the end."""
    tunnel = Tunnel(limit)
    with contextlib.ExitStack() as open_sockets:

        def carried(connection: Connection, service: AssetId) -> socket.socket:
            near, far = socket.socketpair()
            open_sockets.enter_context(near)
            near.settimeout(WAIT_S)
            tunnel.forward(connection, far, service)
            return near

        yield tunnel, carried
        tunnel.close()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("q")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Running]:
    with (
        echoing() as to,
        serving(directory / "server", directory / "client", "--offer", f"echo={to}") as running,
    ):
        yield running


def test_a_client_with_the_pin_is_answered(server: Running) -> None:
    with server.connected() as (client, connection):
        assert connection.request(SERVICE_ECHO, b"hello") == b"hello"
        assert connection.negotiated_group == KEY_EXCHANGE
        assert client.pin.hex() == server.pin


def test_without_the_pin_nothing_is_believed(server: Running, tmp_path: Path) -> None:
    with pytest.raises(ServerUnknown):
        Client(tmp_path, server.place, None)
    with pytest.raises(PeerRefused), connected(tmp_path, server.place, bytes(32)):
        pass
    assert not (tmp_path / "known_servers").exists()


def test_a_pin_is_kept_and_another_is_refused(server: Running) -> None:
    with server.connected():
        pass
    client = Client(server.keys, server.place, None)
    client.connect().close()
    client.close()
    with pytest.raises(PinChanged):
        Client(server.keys, server.place, bytes(32))


def test_another_server_at_its_place_is_found_out(server: Running, tmp_path: Path) -> None:
    """It has the same file of peers and its own root."""
    with (
        serving(tmp_path / "other", server.keys) as other,
        pytest.raises(UnknownIssuer),
        connected(tmp_path / "c", other.place, bytes.fromhex(server.pin)),
    ):
        pass


def test_a_key_that_is_not_let_in_is_told_so(server: Running, tmp_path: Path) -> None:
    with (
        pytest.raises(NotAuthorized) as refused,
        connected(tmp_path, server.place, bytes.fromhex(server.pin)),
    ):
        pass
    assert own_keys(tmp_path).id.hex()[:16] in refused.value.why


def test_a_stranger_gets_the_certificates_and_no_more(server: Running, tmp_path: Path) -> None:
    pin = bytes.fromhex(server.pin)
    identity = Identity.of_keys(own_keys(tmp_path))
    with (
        Endpoint.bind("::1", policy=TrustPolicy(network=pin), identity=identity) as endpoint,
        endpoint.connect(*server.place, alpn=ALPN_ENROL, root_sha256=pin) as connection,
    ):
        assert connection.request(SERVICE_CONTROL, b"")
        with pytest.raises(Forbidden):
            connection.request(SERVICE_ECHO, b"")
        stream = connection.open_stream(SERVICE_PERF)
        stream.write(b"d\0\0\0\1")
        with pytest.raises(Forbidden):
            stream.read()


def test_keys_are_let_in_and_thrown_out_while_it_runs(server: Running, tmp_path: Path) -> None:
    mine, other = own_keys(server.keys).id, own_keys(tmp_path).id
    pin = bytes.fromhex(server.pin)

    def let_in() -> bool:
        try:
            with connected(tmp_path, server.place, pin):
                return True
        except PeerRefused:
            return False

    assert not let_in()
    server.authorise(mine, other)
    eventually(let_in, "the other key is let in")
    with connected(tmp_path, server.place, pin) as (_, connection):
        server.authorise(mine)
        eventually(lambda: connection.ended is not None, "its connection ends")
    eventually(lambda: not let_in(), "the other key is not let in any more")
    with server.connected() as (_, connection):
        assert connection.request(SERVICE_ECHO, b"x") == b"x"


def test_the_commands(server: Running) -> None:
    place = str(server.place)
    assert server.json("id")["id"] == own_keys(server.keys).id.hex()
    pinged = server.json("ping", place, "--pin", server.pin, "--count", "2")
    assert pinged["key_exchange"] == KEY_EXCHANGE
    assert len(pinged["answers_us"]) == 2
    measured = server.json("perf", place, "--for", "300ms")
    assert measured["up_bits_per_second"] > 0
    assert measured["down_bits_per_second"] > 0
    assert measured["requests"]["p50_us"] > 0
    said = b"through a pipe" * 10_000
    joined = server.hm("connect", place, "echo", stdin=said)
    assert (joined.returncode, joined.stdout) == (0, said)
    refused = server.hm("connect", place, "nothing", stdin=b"")
    assert refused.returncode == 5
    assert b"HM-0004" in refused.stderr


def test_a_tunnel(server: Running, tmp_path: Path) -> None:
    place = f"unix:{tmp_path}/s"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "hypermesh.cli.main", "stoq", "tunnel", str(server.place)),
            *("echo", "--listen", place, "--pin", server.pin, "--keys", str(server.keys)),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert place.encode() in process.stdout.readline()
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(WAIT_S)
                connection.connect(f"{tmp_path}/s")
                connection.sendall(b"x" * 100_000)
                connection.shutdown(socket.SHUT_WR)
                heard = b""
                while part := connection.recv(65536):
                    heard += part
                assert heard == b"x" * 100_000
        process.terminate()
        assert process.wait(WAIT_S) == 0
        assert not Path(f"{tmp_path}/s").exists()
    finally:
        process.kill()
        process.wait()
        process.stdout.close() if process.stdout else None


def test_it_keeps_its_identity_and_drains(tmp_path: Path) -> None:
    """SIGTERM: what is open may end; who asks for more is told why there is none."""
    data, keys = tmp_path / "s", tmp_path / "k"

    def draining(ask: Callable[[], object]) -> bool:
        try:
            ask()
        except Draining:
            return True
        return False

    with echoing() as to, serving(data, keys, "--offer", f"echo={to}") as running:
        pin = running.pin
        with running.connected() as (client, connection), tunnelling(2) as (tunnel, carried):
            service = client.service(connection, "echo")
            near = carried(connection, service)
            near.sendall(b"x")
            assert near.recv(1) == b"x"
            running.process.send_signal(signal.SIGTERM)
            eventually(lambda: draining(lambda: connection.request(SERVICE_ECHO, b"")), "drain")
            assert draining(lambda: client.connect().close())
            late = carried(connection, service)
            assert late.recv(1) == b""
            assert tunnel.last is not None
            assert isinstance(tunnel.last.error, Draining)
            assert running.process.poll() is None
            near.sendall(b"still here")
            assert near.recv(10) == b"still here"
            near.shutdown(socket.SHUT_WR)
            assert near.recv(1) == b""
            assert running.process.wait(WAIT_S) == 0
    with serving(data, keys) as again:
        assert again.pin == pin


def test_what_stays_open_is_cut_off_in_the_end(tmp_path: Path) -> None:
    with (
        echoing() as to,
        serving(tmp_path / "s", tmp_path / "k", "--offer", f"e={to}", "--drain", "0.5") as running,
        running.connected() as (client, connection),
        tunnelling(1) as (_, carried),
    ):
        near = carried(connection, client.service(connection, "e"))
        near.sendall(b"x")
        assert near.recv(1) == b"x"
        running.process.terminate()
        assert running.process.wait(WAIT_S) == 0
        assert near.recv(1) == b""


def test_a_mistake_ends_with_the_exit_code_of_its_kind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hypermesh.standalone.server", "--data", str(tmp_path)]
    done = subprocess.run(
        [*command, "--config", "/nowhere.toml"], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 3
    assert b"HM-ALONE-0003" in done.stderr
    assert subprocess.run([*command, "--help"], capture_output=True, check=True).stdout
    assert list(tmp_path.iterdir()) == []


def test_ipv4_is_served_where_the_settings_say_so(tmp_path: Path) -> None:
    data, keys = tmp_path / "s", tmp_path / "k"
    config = tmp_path / "settings.toml"
    peers = f'authorized_peers = "{data}/authorized_peers"'
    config.write_text(f'listen = "[::]:0"\nstack = "dual"\n{peers}\n')
    with serving(data, keys, "--config", str(config), listen=()) as running:
        here = running.place._replace(host="127.0.0.1")
        found = running.json("ping", str(here), "--pin", running.pin)
        assert found["server"] == str(here)
        with connected(keys, here, bytes.fromhex(running.pin)) as (_, connection):
            assert connection.request(SERVICE_ECHO, b"x") == b"x"
        running.process.terminate()
        assert running.process.wait(WAIT_S) == 0


def test_a_stack_that_nobody_knows_is_a_mistake(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text('stack = "ipv4"\n')
    with pytest.raises(SettingsInvalid, match="ipv4"):
        settled(tmp_path, config, None, [])
