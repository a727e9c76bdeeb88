"""Buffers of every kind, in and out: what is copied, what is held, and that all is let go again."""

from __future__ import annotations

import array
import asyncio
import ctypes
import gc
import hashlib
import mmap
import secrets
import sys
import threading
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.region import RemoteRegion
from hypermesh.stoq.stream import Stream
from hypermesh.wire.rpc import SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S, eventually

LENT_BYTES = 64 * 1024
"""Long enough to be handed down without a copy."""
SIZE = 4 << 20


def anonymous_map(data: bytes) -> mmap.mmap:
    mapped = mmap.mmap(-1, len(data))
    mapped[:] = data
    return mapped


def c_array(data: bytes) -> ctypes.Array[ctypes.c_ubyte]:
    return (ctypes.c_ubyte * len(data)).from_buffer_copy(data)


KINDS: dict[str, Callable[[bytes], object]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "view of bytes": memoryview,
    "part of a view": lambda data: memoryview(b"." + data + b".")[1:-1],
    "view of bytearray": lambda data: memoryview(bytearray(data)),
    "array": lambda data: array.array("B", data),
    "ctypes": c_array,
    "numpy": lambda data: np.frombuffer(data, dtype=np.uint8).copy(),
    "numpy, read-only": lambda data: np.frombuffer(data, dtype=np.uint8),
    "numpy of two dimensions": lambda data: np.frombuffer(data, np.uint8).reshape(2, -1).copy(),
    "mmap": anonymous_map,
}


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest) -> Callable[[bytes], object]:
    return KINDS[request.param]


@pytest.fixture(params=[10, LENT_BYTES])
def data(request: pytest.FixtureRequest) -> bytes:
    return secrets.token_bytes(request.param)


@pytest.fixture
def stream(connection: Connection) -> Stream:
    return connection.open_stream(SERVICE_ECHO)


@pytest.fixture
def remote(alice: Endpoint, connection: Connection, bob_keys: QuantumKeys) -> RemoteRegion:
    region = secrets.token_bytes(16)
    alice.regions.create(region, SIZE)
    alice.regions.grant(
        region,
        bob_keys.id,
        offset=0,
        length=SIZE,
        can_write=True,
        expires_unix_ms=2**53,
        epoch=1,
    )
    return connection.region(region, 1)


def received(stream: Stream, length: int) -> bytes:
    buffer = bytearray(length)
    assert stream.fill(buffer) == length
    return bytes(buffer)


def released(buffer: bytearray, touch: Callable[[], object]) -> None:
    """Waits until nobody holds an export of `buffer`: only then may its length change. `touch` is
    any call, which releases what the I/O thread has let go of."""

    def look() -> bool | None:
        touch()
        try:
            buffer.append(0)
        except BufferError:
            return None
        buffer.pop()
        return True

    assert eventually(look, "the release of a buffer")


def test_every_kind_goes_into_a_stream(
    stream: Stream, made: Callable[[bytes], object], data: bytes
) -> None:
    buffer = made(data)
    assert stream.write(buffer) == len(data)  # type: ignore[arg-type]
    assert received(stream, len(data)) == data
    assert stream.writev([b"<", buffer, buffer, b">"]) == 2 * len(data) + 2  # type: ignore[list-item]
    assert received(stream, 2 * len(data) + 2) == b"<" + data + data + b">"


def test_every_kind_goes_into_a_request_and_a_region(
    connection: Connection, remote: RemoteRegion, made: Callable[[bytes], object], data: bytes
) -> None:
    buffer = made(data)
    assert connection.request(SERVICE_ECHO, buffer) == data  # type: ignore[arg-type]
    assert remote.write(3, buffer) == len(data)  # type: ignore[arg-type]
    assert remote.read(3, len(data)) == data
    assert remote.scatter([(0, buffer), (1 << 20, b"x"), (1 << 21, buffer)]) == 2 * len(data) + 1  # type: ignore[list-item]
    ranges = [(0, len(data)), (1 << 20, 1), (1 << 21, len(data))]
    assert remote.gather(ranges) == data + b"x" + data


@pytest.mark.parametrize("kind", ["bytearray", "array", "ctypes", "numpy", "mmap"])
def test_every_writable_kind_is_filled(
    stream: Stream, remote: RemoteRegion, kind: str, data: bytes
) -> None:
    stream.write(data)
    buffer = KINDS[kind](bytes(len(data)))
    assert stream.fill(buffer) == len(data)  # type: ignore[arg-type]
    assert bytes(buffer) == data  # type: ignore[call-overload]
    remote.write(0, data)
    buffer = KINDS[kind](bytes(len(data)))
    assert remote.readinto(0, buffer) == len(data)  # type: ignore[arg-type]
    assert bytes(buffer) == data  # type: ignore[call-overload]
    buffer = KINDS[kind](bytes(len(data)))
    halves = [(len(data) // 2, len(data) - len(data) // 2), (0, len(data) // 2)]
    assert remote.gather_into(halves, buffer) == len(data)  # type: ignore[arg-type]
    assert bytes(buffer) == data[len(data) // 2 :] + data[: len(data) // 2]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "scattered", [memoryview(b"0123456789")[::2], np.arange(10)[::2], np.eye(3)[:, 0]]
)
def test_a_buffer_with_gaps_is_refused(
    connection: Connection, stream: Stream, remote: RemoteRegion, scattered: memoryview
) -> None:
    for call in (
        lambda: stream.write(scattered),
        lambda: stream.writev([b"x", scattered]),
        lambda: connection.request(SERVICE_ECHO, scattered),
        lambda: connection.request_many(SERVICE_ECHO, [b"x", scattered]),
        lambda: remote.write(0, scattered),
        lambda: remote.scatter([(0, scattered)]),
    ):
        with pytest.raises(BufferError):
            call()


@pytest.mark.parametrize(
    "fixed", [b"0123456789", memoryview(b"0123456789"), np.frombuffer(b"0123456789", np.uint8)]
)
def test_a_read_only_buffer_is_not_filled(
    stream: Stream, remote: RemoteRegion, fixed: memoryview
) -> None:
    async def filled() -> int:
        return await stream.fill_async(fixed)

    for call in (
        lambda: stream.readinto(fixed),
        lambda: stream.fill(fixed),
        lambda: remote.readinto(0, fixed),
        lambda: remote.gather_into([(0, 1)], fixed),
        lambda: asyncio.run(filled()),
    ):
        with pytest.raises(BufferError):
            call()


def test_what_exports_no_buffer_is_refused(connection: Connection, stream: Stream) -> None:
    with pytest.raises(TypeError):
        stream.write("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        connection.request(SERVICE_ECHO, 5)  # type: ignore[arg-type]


def test_a_buffer_may_change_as_soon_as_a_write_returns(alice: Endpoint, stream: Stream) -> None:
    # More than the windows hold at once, so that much is unsent when a copy would be too late.
    parts = [secrets.token_bytes(LENT_BYTES) for _ in range(64)]
    buffer = bytearray(LENT_BYTES)
    sum_of = hashlib.sha256

    def send() -> None:
        for part in parts:
            buffer[:] = part
            stream.write(buffer)
        buffer.clear()
        stream.finish()

    sender = threading.Thread(target=send)
    sender.start()
    came = received(stream, LENT_BYTES * len(parts))
    sender.join(DEADLINE_S)
    assert sum_of(came).digest() == sum_of(b"".join(parts)).digest()
    assert not buffer


def test_bytes_are_held_until_they_are_acknowledged_and_no_longer(
    alice: Endpoint, connection: Connection
) -> None:
    stream = connection.open_stream(SERVICE_CONTROL)
    data = secrets.token_bytes(LENT_BYTES)
    before = sys.getrefcount(data)
    stream.write(data)
    request = alice.next_request(5000)
    assert request is not None
    accepted = request.stream
    assert accepted is not None
    assert received(accepted, LENT_BYTES) == data

    def look() -> bool | None:
        connection.request(SERVICE_ECHO, b"")
        return True if sys.getrefcount(data) == before else None

    assert eventually(look, "the release of acknowledged bytes")


@pytest.mark.parametrize("end", ["stream", "connection", "endpoint"])
def test_what_ends_with_bytes_on_the_way_releases_them(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys, end: str
) -> None:
    connection = bob.connect(*alice.address, peer=alice_keys.id)
    other = bob.connect(*alice.address, peer=alice_keys.id)
    # Nobody reads at the other end, so that the window fills and stays full.
    stream = connection.open_stream(SERVICE_CONTROL)
    data = secrets.token_bytes(32 << 20)
    before = sys.getrefcount(data)
    with pytest.raises(errors.TimedOut):
        stream.write(data, timeout_ms=200)
    if end == "stream":
        del stream
    elif end == "connection":
        connection.close()
        del stream, connection
    else:
        bob.close()

    def look() -> bool | None:
        if end != "endpoint":
            other.request(SERVICE_ECHO, b"")
        return True if sys.getrefcount(data) == before else None

    assert eventually(look, f"the release after the end of the {end}")


def test_a_lent_buffer_is_free_when_the_call_returns(
    connection: Connection, remote: RemoteRegion
) -> None:
    for _ in range(20):
        buffer = bytearray(LENT_BYTES)
        remote.write(0, buffer)
        buffer.extend(b"x")
        remote.scatter([(0, buffer), (1 << 20, buffer)])
        buffer.extend(b"x")
        connection.request(SERVICE_ECHO, buffer)
        buffer.extend(b"x")
        remote.readinto(0, buffer)
        buffer.extend(b"x")


def test_a_refused_write_releases_its_buffer(remote: RemoteRegion) -> None:
    buffer = bytearray(SIZE)
    with pytest.raises(errors.OutOfRange):
        remote.write(1, buffer)
    released(buffer, lambda: remote.read(0, 1))


def test_ten_thousand_writes_leave_nothing(connection: Connection, remote: RemoteRegion) -> None:
    stream = connection.open_stream(SERVICE_ECHO)
    lent, small, into = bytes(16 * 1024), bytearray(100), bytearray(16 * 1024 + 100)

    def rounds(count: int) -> None:
        for _ in range(count):
            stream.write(lent)
            stream.write(small)
            assert stream.fill(into) == len(into)
            remote.write(0, small)
        connection.request(SERVICE_ECHO, b"")
        gc.collect()

    rounds(100)
    references = sys.getrefcount(lent), sys.getrefcount(small), sys.getrefcount(into)
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    rounds(5000)
    grown = tracemalloc.take_snapshot().compare_to(before, "filename")
    tracemalloc.stop()
    assert sum(line.size_diff for line in grown) < 64 * 1024

    def look() -> bool | None:
        connection.request(SERVICE_ECHO, b"")
        now = sys.getrefcount(lent), sys.getrefcount(small), sys.getrefcount(into)
        return True if now == references else None

    assert eventually(look, "all references")
    released(small, lambda: None)
    released(into, lambda: None)


def test_what_came_is_not_lost_where_fill_runs_out_of_time(
    alice: Endpoint, connection: Connection
) -> None:
    opened = connection.open_stream(SERVICE_CONTROL)
    opened.write(b"hello")
    request = alice.next_request(5000)
    assert request is not None
    accepted = request.stream
    assert accepted is not None
    buffer = bytearray(8)
    assert accepted.fill(buffer, timeout_ms=200) == 5
    assert buffer[:5] == b"hello"
    with pytest.raises(errors.TimedOut):
        accepted.fill(buffer, timeout_ms=20)
    opened.write(b"12345678")
    opened.finish()
    assert accepted.fill(buffer) == 8
    assert accepted.fill(buffer) == 0
    assert accepted.fill(bytearray()) == 0
