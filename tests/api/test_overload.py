"""More than a listener takes: refused with Retry-After, cheaply, and nobody else suffers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hypermesh.http import protocol
from hypermesh.http.serving import serving
from hypermesh.node.api.application import unix_socket

ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HELLO = b"hello"


class Slow:
    """An application whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.started = 0
        self.came = asyncio.Condition()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del scope
        async with self.came:
            self.started += 1
            self.came.notify_all()
        while (await receive())["more_body"]:
            pass
        await self.go.wait()
        headers = [(b"content-length", b"%d" % len(HELLO))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": HELLO})

    async def until(self, count: int) -> None:
        async with self.came, asyncio.timeout(10):
            await self.came.wait_for(lambda: self.started >= count)


@asynccontextmanager
async def listening(app: Any, tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "s"
    async with serving(app, [unix_socket(path)]):
        yield path


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, path: Path) -> Client:
        return cls(*await asyncio.open_unix_connection(path))

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            return await self.reader.read(1) == b""

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def test_what_is_too_much_is_refused_and_not_read_before_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "UNDER_WAY_MAX", 2)

    async def scenario() -> None:
        app = Slow()
        async with listening(app, tmp_path) as path:
            served = [await Client.to(path) for _ in range(2)]
            for each in served:
                each.writer.write(ASK)
            await app.until(2)
            refused = await Client.to(path)
            started = time.monotonic()
            for _ in range(3):
                refused.writer.write(ASK)
                status, headers, body = await refused.answer()
                assert status == 503
                assert headers["retry-after"] == "1"
                assert headers["content-type"] == "application/problem+json"
                assert msgspec.json.decode(body)["code"] == "HM-0008"
            # Whoever does not wait is made to: two refusals more, two times Retry-After.
            assert time.monotonic() - started >= 2 * protocol.RETRY_AFTER_S
            assert app.started == 2
            app.go.set()
            for each in served:
                status, _, body = await each.answer()
                assert (status, body) == (200, HELLO)
            refused.writer.write(ASK)
            assert (await refused.answer())[0] == 200
            for each in (*served, refused):
                await each.close()

    asyncio.run(scenario())


def test_many_requests_in_one_piece_are_no_way_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "UNDER_WAY_MAX", 1)

    async def scenario() -> None:
        app = Slow()
        async with listening(app, tmp_path) as path:
            first = await Client.to(path)
            first.writer.write(ASK)
            await app.until(1)
            many = await Client.to(path)
            many.writer.write(ASK * 2000)
            assert (await many.answer())[0] == 503
            app.go.set()
            assert (await first.answer())[0] == 200
            assert app.started == 1
            for each in (first, many):
                await each.close()

    asyncio.run(scenario())


def test_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 3)

    async def scenario() -> None:
        app = Slow()
        app.go.set()
        async with listening(app, tmp_path) as path:
            kept = [await Client.to(path) for _ in range(3)]
            for each in kept:
                each.writer.write(ASK)
                assert (await each.answer())[0] == 200
            late = await Client.to(path)
            status, headers, _ = await late.answer()
            assert (status, headers["retry-after"]) == (503, "1")
            assert await late.ended()
            await kept.pop().close()
            await late.close()
            again = await Client.to(path)
            again.writer.write(ASK)
            assert (await again.answer())[0] == 200
            for each in (*kept, again):
                await each.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_a_request_that_does_not_come_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.2)

    async def scenario() -> None:
        async with listening(Slow(), tmp_path) as path:
            slow = await Client.to(path)
            slow.writer.write(begun)
            status, headers, body = await slow.answer()
            assert (status, headers["connection"]) == (408, "close")
            assert msgspec.json.decode(body)["code"] == "HM-API-0010"
            assert await slow.ended()
            await slow.close()

    asyncio.run(scenario())


def test_a_body_that_does_not_come_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.2)

    async def scenario() -> None:
        app = Slow()
        async with listening(app, tmp_path) as path:
            slow = await Client.to(path)
            slow.writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf")
            await app.until(1)
            assert await slow.ended()
            await slow.close()

    asyncio.run(scenario())


def test_an_answer_that_takes_long_is_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.1)

    async def scenario() -> None:
        app = Slow()
        async with listening(app, tmp_path) as path:
            patient = await Client.to(path)
            patient.writer.write(ASK)
            await app.until(1)
            loop = asyncio.get_running_loop()
            loop.call_later(0.5, app.go.set)
            assert (await patient.answer())[0] == 200
            await patient.close()

    asyncio.run(scenario())


def test_head_and_body_come_together(tmp_path: Path) -> None:
    """One system call for an answer, and one piece for its client."""

    async def scenario() -> None:
        app = Slow()
        app.go.set()
        async with listening(app, tmp_path) as path:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(ASK)
                first = await asyncio.to_thread(client.recv, 65536)
            assert first.startswith(b"HTTP/1.1 200")
            assert first.endswith(HELLO)

    asyncio.run(scenario())
