"""Byte streams."""

from __future__ import annotations

import asyncio
import secrets
import threading

import pytest

from hypermesh.crypto.digest import digest
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.stream import Stream
from hypermesh.wire.errors import Forbidden
from hypermesh.wire.rpc import SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S

BULK_BYTES = 32 << 20


def read_all(stream: Stream) -> bytes:
    parts = []
    while part := stream.read():
        parts.append(part)
    return b"".join(parts)


def accept(alice: Endpoint, connection: Connection) -> tuple[Stream, Stream]:
    """A stream seen from bob, and from the service at alice."""
    opened = connection.open_stream(SERVICE_CONTROL)
    opened.write(b"hello")
    request = alice.next_request(5000)
    assert request is not None
    assert request.body == b""
    accepted = request.stream
    assert accepted is not None
    assert accepted.read() == b"hello"
    return opened, accepted


def test_bulk_comes_back_the_same(connection: Connection) -> None:
    data = secrets.token_bytes(BULK_BYTES)
    stream = connection.open_stream(SERVICE_ECHO)

    def send() -> None:
        view = memoryview(data)
        for at in range(0, BULK_BYTES, 1 << 20):
            stream.write(view[at : at + (1 << 20)])
        stream.finish()

    sender = threading.Thread(target=send)
    sender.start()
    received = read_all(stream)
    sender.join(DEADLINE_S)
    assert digest("test", received) == digest("test", data)


def test_bulk_on_an_event_loop(connection: Connection) -> None:
    data = secrets.token_bytes(4 << 20)

    async def scenario() -> bytes:
        stream = await connection.open_stream_async(SERVICE_ECHO)

        async def send() -> None:
            await stream.write_async(data)
            await stream.finish_async()

        sending = asyncio.create_task(send())
        parts = []
        while part := await stream.read_async():
            parts.append(part)
        await sending
        return b"".join(parts)

    assert digest("test", asyncio.run(scenario())) == digest("test", data)


def test_both_directions_end_by_themselves(alice: Endpoint, connection: Connection) -> None:
    opened, accepted = accept(alice, connection)
    opened.finish()
    assert accepted.read() == b""
    assert accepted.read() == b""
    accepted.write(b"answer")
    accepted.finish()
    assert read_all(opened) == b"answer"
    with pytest.raises(errors.StreamReset):
        opened.write(b"x")
    with pytest.raises(errors.StreamReset):
        opened.finish()


def test_reading_into_a_buffer(alice: Endpoint, connection: Connection) -> None:
    opened, accepted = accept(alice, connection)
    accepted.write(b"0123456789")
    buffer = bytearray(b"..........")
    assert opened.readinto(memoryview(buffer)[:4]) == 4
    assert buffer == b"0123......"
    with pytest.raises(BufferError):
        opened.readinto(b"read-only")
    with pytest.raises(BufferError):
        opened.readinto(memoryview(buffer)[::2])


def test_a_service_may_refuse_a_stream(alice: Endpoint, connection: Connection) -> None:
    opened = connection.open_stream(SERVICE_CONTROL)
    opened.write(b"hello")
    request = alice.next_request(5000)
    assert request is not None
    request.refuse(Forbidden("not you"))
    with pytest.raises(Forbidden, match="not you"):
        opened.read()


def test_a_stream_takes_no_answer(alice: Endpoint, connection: Connection) -> None:
    opened = connection.open_stream(SERVICE_CONTROL)
    opened.write(b"hello")
    request = alice.next_request(5000)
    assert request is not None
    with pytest.raises(errors.MalformedFrame):
        request.reply(b"")
    stream = request.stream
    assert stream is not None
    stream.finish()
    assert opened.read() == b""


def test_a_dropped_stream_tells_the_peer(alice: Endpoint, connection: Connection) -> None:
    opened = connection.open_stream(SERVICE_CONTROL)
    opened.write(b"hello")
    request = alice.next_request(5000)
    assert request is not None
    del request
    with pytest.raises(errors.Unanswered):
        opened.read()


def test_a_part_is_not_taken_for_the_whole(alice: Endpoint, connection: Connection) -> None:
    opened, accepted = accept(alice, connection)
    accepted.write(b"a part")
    del accepted
    with pytest.raises(errors.StreamReset):
        read_all(opened)


def test_silence_times_out_and_the_stream_lives(alice: Endpoint, connection: Connection) -> None:
    opened, accepted = accept(alice, connection)
    with pytest.raises(errors.TimedOut):
        opened.read(timeout_ms=20)
    accepted.write(b"late")
    assert opened.read() == b"late"


def test_a_stream_keeps_its_connection(alice: Endpoint, bob: Endpoint) -> None:
    stream = bob.connect(*alice.address).open_stream(SERVICE_ECHO)
    stream.write(b"hello")
    stream.finish()
    assert read_all(stream) == b"hello"
