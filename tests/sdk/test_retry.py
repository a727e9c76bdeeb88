"""What is asked again, and what is not: decided, and done over a real socket."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.sdk.call import Call
from hypermesh.sdk.rest import AsyncRest, NodeNotRunning, Rest
from hypermesh.sdk.retry import (
    ATTEMPTS_MAX,
    PAUSE_S_MAX,
    STILL_ANSWERED,
    ConnectionBroke,
    pause_s,
    retry_after_s,
)
from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.errors import Conflict, HyperMeshError, NotFound, Overloaded, Unreachable

READ = Call(int, "GET", "/")
WRITE = Call(int, "POST", "/", {"a": 1})
KEYED = Call(int, "POST", "/", {"a": 1}, once=True)


@given(st.integers(1, 20), st.floats(0, 1), st.sampled_from([READ, WRITE, KEYED]))
def test_pauses_are_bounded_and_so_are_attempts(
    attempt: int, chance: float, call: Call[int]
) -> None:
    pause = pause_s(call, ConnectionBroke(), attempt, chance)
    assert (pause is None) == (attempt >= ATTEMPTS_MAX or call is WRITE)
    assert pause is None or 0 <= pause <= PAUSE_S_MAX


def test_only_what_may_pass_is_asked_again() -> None:
    assert pause_s(READ, NotFound(), 1, 0.5) is None
    assert pause_s(READ, Unreachable(), 1, 0.5) is None
    assert pause_s(READ, NodeNotRunning(), 1, 0.5) is None
    assert pause_s(READ, Overloaded(), 1, 0.5) is not None
    assert pause_s(WRITE, Overloaded(), 1, 0.5, 1.0) is None
    still = Conflict()
    still.code = STILL_ANSWERED
    assert pause_s(KEYED, still, 1, 0.5) is None
    assert pause_s(KEYED, still, 2, 0.5) is not None


def test_what_the_node_asks_for_is_the_least_that_is_waited() -> None:
    assert pause_s(READ, HyperMeshError(), 1, 0.0, 1.0) == 1.0
    assert pause_s(READ, HyperMeshError(), 1, 1.0, 1.0) > 1.0  # type: ignore[operator]
    assert pause_s(READ, HyperMeshError(), 1, 0.0, PAUSE_S_MAX + 1) is None
    assert retry_after_s("2") == 2.0
    for none in (None, "", "-1", "1.5", "Sat, 21 Nov 2026 10:00:00 GMT", "²"):
        assert retry_after_s(none) is None


BUSY = msgspec.json.encode(ProblemDetails.of(Overloaded("Busy")))


class Script:
    """A node that does for each request what the script says: hang up, or answer so."""

    def __init__(self, path: Path, steps: list[str]) -> None:
        self.path = path
        self.steps = steps
        self.heads: list[bytes] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while outer.steps:
                    head = outer.read(self.rfile)
                    if not head:
                        return
                    outer.heads.append(head)
                    step = outer.steps.pop(0)
                    if step == "hang up":
                        return
                    status, _, content = step.partition(" ")
                    self.wfile.write(outer.answer(status, content))

        self.server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self.server.daemon_threads = True

    @staticmethod
    def read(stream: object) -> bytes:
        head, length = b"", 0
        while True:
            line: bytes = stream.readline()  # type: ignore[attr-defined]
            if line in (b"\r\n", b""):
                break
            head += line
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        stream.read(length)  # type: ignore[attr-defined]
        return head

    @staticmethod
    def answer(status: str, content: str) -> bytes:
        body = BUSY if status == "503" else content.encode()
        after = b"retry-after: 0\r\n" if status == "503" else b""
        length = b"content-length: %d\r\n" % len(body)
        return b"HTTP/1.1 " + status.encode() + b" x\r\n" + after + length + b"\r\n" + body

    def keys(self) -> list[bytes]:
        return [
            line.split(b":")[1].strip()
            for head in self.heads
            for line in head.lower().splitlines()
            if line.startswith(b"idempotency-key:")
        ]


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    script = Script(tmp_path / "s", [])
    thread = threading.Thread(target=script.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield script
    script.server.shutdown()
    script.server.server_close()
    thread.join()


def run(path: Path, call: Call[int], *, twin: bool) -> int:
    if not twin:
        rest = Rest(path)
        try:
            return rest.run(call)
        finally:
            rest.close()

    async def work() -> int:
        rest = AsyncRest(path)
        try:
            return await rest.run(call)
        finally:
            await rest.close()

    return asyncio.run(work())


both = pytest.mark.parametrize("twin", [False, True], ids=["sync", "async"])


@both
def test_a_read_survives_a_broken_connection_and_a_busy_node(script: Script, twin: bool) -> None:
    script.steps = ["hang up", "503", "200 7"]
    assert run(script.path, READ, twin=twin) == 7
    assert len(script.heads) == 3


@both
def test_a_write_is_sent_once(script: Script, twin: bool) -> None:
    script.steps = ["hang up", "200 7"]
    with pytest.raises(ConnectionBroke, match="went away during POST"):
        run(script.path, WRITE, twin=twin)
    assert len(script.heads) == 1
    assert script.keys() == []


@both
def test_a_keyed_write_is_asked_again_under_the_same_key(script: Script, twin: bool) -> None:
    script.steps = ["hang up", "200 7", "200 8"]
    assert run(script.path, KEYED, twin=twin) == 7
    first, again = script.keys()
    assert first == again
    assert run(script.path, KEYED, twin=twin) == 8
    assert script.keys()[2] != first


@both
def test_a_node_that_stays_away_is_given_up(script: Script, twin: bool) -> None:
    script.steps = ["hang up"] * 10
    with pytest.raises(ConnectionBroke):
        run(script.path, READ, twin=twin)
    assert len(script.heads) == ATTEMPTS_MAX


@both
def test_where_nothing_listens(tmp_path: Path, twin: bool) -> None:
    with pytest.raises(NodeNotRunning, match="hm up"):
        run(tmp_path / "none", READ, twin=twin)


@both
def test_a_node_that_says_nothing_is_too_late(tmp_path: Path, twin: bool) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with pytest.raises(Unreachable, match=r"within 0\.2 s"):
            run(tmp_path / "s", Call(int, "GET", "/", timeout_s=0.2), twin=twin)


def test_threads_share_one_client(script: Script) -> None:
    script.steps = ["200 7"] * 40
    rest = Rest(script.path)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(rest.run(READ) for _ in range(5)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rest.close()
    assert found == [7] * 40
