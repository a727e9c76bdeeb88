"""The socket: order, limits, and which failure ends what."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypermesh.ledger.engines.comet import messages as abci
from hypermesh.ledger.engines.comet.abci import (
    CONNECTIONS_MAX,
    MESSAGE_BYTES_MAX,
    Server,
    frame,
    read_message,
)
from hypermesh.ledger.engines.comet.errors import EngineStopped
from hypermesh.ledger.engines.comet.protobuf import decode_one, encode_one, varint

DEADLINE_S = 10.0


class Bug(Exception):
    """What an application with a bug raises."""


class Answers:
    """Echoes; fails where a query asks it to."""

    def answer(self, request: object) -> object:
        match request:
            case abci.RequestEcho():
                return abci.ResponseEcho(request.message)
            case abci.RequestFlush():
                return abci.ResponseFlush()
            case abci.RequestQuery():
                raise Bug("as asked")
            case abci.RequestCommit():
                return abci.ResponseCommit()
        raise AssertionError(request)


class Client:
    """One connection, as the engine has it."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(str(path))
        self._stream = self.socket.makefile("rb")

    def send(self, *requests: object) -> None:
        for request in requests:
            self.socket.sendall(frame(encode_one(abci.REQUEST_NUMBERS, request)))

    def receive(self) -> object | None:
        data = read_message(self._stream)
        return None if data is None else decode_one(abci.RESPONSES, data)

    def call(self, request: object) -> object | None:
        self.send(request)
        return self.receive()

    def close(self) -> None:
        self._stream.close()
        self.socket.close()


class Ended:
    """Where the server reports that it cannot go on."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self._event = threading.Event()

    def __call__(self, failure: BaseException) -> None:
        self.failures.append(failure)
        self._event.set()

    def wait(self) -> BaseException:
        assert self._event.wait(DEADLINE_S)
        return self.failures[0]


@pytest.fixture
def ended() -> Ended:
    return Ended()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "abci.sock"


@pytest.fixture
def server(path: Path, ended: Ended) -> Iterator[Server]:
    serving = Server(path, Answers(), ended)
    serving.start()
    yield serving
    serving.stop()


@pytest.fixture
def connect(server: Server, path: Path) -> Iterator[Callable[[], Client]]:
    clients: list[Client] = []

    def connected() -> Client:
        clients.append(Client(path))
        return clients[-1]

    yield connected
    for client in clients:
        client.close()


def test_responses_come_in_the_order_of_requests(connect: Callable[[], Client]) -> None:
    client = connect()
    texts = [f"message {number}" for number in range(200)]
    client.send(*map(abci.RequestEcho, texts), abci.RequestFlush())
    assert [client.receive() for _ in texts] == [abci.ResponseEcho(text) for text in texts]
    assert client.receive() == abci.ResponseFlush()


def test_four_connections_are_served_side_by_side(connect: Callable[[], Client]) -> None:
    clients = [connect() for _ in range(4)]
    for number, client in enumerate(reversed(clients)):
        assert client.call(abci.RequestEcho(str(number))) == abci.ResponseEcho(str(number))


def test_the_socket_is_its_owners_alone(server: Server, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


MALFORMED = {
    "no request": frame(b""),
    "an unknown request": frame(b"\x22\x00"),
    "no protobuf": frame(b"\xff\xff"),
    "too long": varint(MESSAGE_BYTES_MAX + 1),
    "a length without end": b"\xff" * 10,
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_input_closes_its_connection_alone(
    connect: Callable[[], Client], ended: Ended, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = connect(), connect()
    bad.socket.sendall(data)
    assert bad.receive() is None
    assert good.call(abci.RequestEcho("still here")) == abci.ResponseEcho("still here")
    assert ended.failures == []
    assert "an ABCI connection is closed" in caplog.text


@pytest.mark.parametrize("data", [b"\x80", varint(5) + b"\x0a"], ids=["length", "message"])
def test_a_stream_that_ends_within_a_message_closes_its_connection(
    connect: Callable[[], Client], ended: Ended, data: bytes
) -> None:
    good, bad = connect(), connect()
    bad.socket.sendall(data)
    bad.socket.shutdown(socket.SHUT_WR)
    assert bad.receive() is None
    assert good.call(abci.RequestFlush()) == abci.ResponseFlush()
    assert ended.failures == []


def test_losing_the_connection_for_blocks_is_reported(
    connect: Callable[[], Client], ended: Ended
) -> None:
    blocks, other = connect(), connect()
    assert blocks.call(abci.RequestCommit()) == abci.ResponseCommit()
    assert other.call(abci.RequestFlush()) == abci.ResponseFlush()
    other.close()
    assert ended.failures == []
    blocks.close()
    failure = ended.wait()
    assert isinstance(failure, EngineStopped)
    assert "connection for blocks is lost: the engine closed it" in str(failure)


def test_malformed_input_on_the_connection_for_blocks_is_said(
    connect: Callable[[], Client], ended: Ended
) -> None:
    blocks = connect()
    blocks.call(abci.RequestCommit())
    blocks.socket.sendall(frame(b"\xff"))
    assert blocks.receive() is None
    assert "connection for blocks is lost: The message is not an ABCI" in str(ended.wait())


def test_a_bug_of_the_application_is_told_to_the_engine_and_ends_it(
    connect: Callable[[], Client], ended: Ended
) -> None:
    client = connect()
    assert client.call(abci.RequestQuery(b"")) == abci.ResponseException("Bug: as asked")
    assert client.receive() is None
    assert isinstance(ended.wait(), Bug)


def test_one_connection_too_many_is_closed(connect: Callable[[], Client]) -> None:
    clients = [connect() for _ in range(CONNECTIONS_MAX)]
    for client in clients:
        client.call(abci.RequestFlush())
    assert connect().receive() is None
    assert clients[0].call(abci.RequestFlush()) == abci.ResponseFlush()


def test_stopping_is_no_failure(path: Path, ended: Ended) -> None:
    server = Server(path, Answers(), ended)
    server.start()
    client = Client(path)
    client.call(abci.RequestCommit())
    server.stop()
    assert client.receive() is None
    client.close()
    assert ended.failures == []
    assert not path.exists()


def test_a_server_that_never_started_can_be_stopped(path: Path, ended: Ended) -> None:
    path.write_text("someone else's")
    Server(path, Answers(), ended).stop()
    assert path.exists()
