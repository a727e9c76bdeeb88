"""How fast a path is, as the side that receives counts it.

    upload      'u' | milliseconds u32, then bytes; answered by count u64 | microseconds u64
    download    'd' | milliseconds u32; answered by bytes for so long

Both over one stream each, from Python to Python: what a program reaches, not what Rust alone would.
Requests are echoed by the other side's I/O thread, one at a time.
"""

from __future__ import annotations

import struct
import time
from typing import NamedTuple

from hypermesh.stoq.connection import Connection
from hypermesh.stoq.stream import Stream
from hypermesh.wire.errors import InvalidInput, Unreachable
from hypermesh.wire.rpc import SERVICE_ECHO, SERVICE_PERF

DURATION_MS_MAX = 60_000
BLOCK_BYTES = 256 * 1024
REQUEST_BYTES = 64
REQUESTS_MAX = 100_000
_ORDER = struct.Struct(">cI")
_COUNT = struct.Struct(">QQ")
_UPLOAD, _DOWNLOAD = b"u", b"d"


class Throughput(NamedTuple):
    """Bytes that arrived, and from the first to the last of them in microseconds."""

    bytes: int
    micros: int

    @property
    def bits_per_second(self) -> int:
        return self.bytes * 8 * 1_000_000 // max(1, self.micros)


class Latency(NamedTuple):
    """Of requests of 64 bytes, one at a time, in microseconds."""

    requests: int
    p50_us: float
    p90_us: float
    p99_us: float


def serve(stream: Stream) -> None:
    """Do what a client asks for on `stream`. Raises `InvalidInput`, and what ends the stream."""
    kind, duration_ms = _ORDER.unpack(_exactly(stream, _ORDER.size))
    if duration_ms > DURATION_MS_MAX:
        raise InvalidInput(f"A measurement takes at most {DURATION_MS_MAX} ms")
    if kind == _UPLOAD:
        received = _receive(stream)
        stream.write(_COUNT.pack(*received))
    elif kind == _DOWNLOAD:
        _send(stream, duration_ms)
    else:
        raise InvalidInput(f"{kind!r} is no measurement")
    stream.finish()


def upload(connection: Connection, duration_ms: int) -> Throughput:
    """From here to there."""
    stream = connection.open_stream(SERVICE_PERF)
    stream.write(_ORDER.pack(_UPLOAD, duration_ms))
    _send(stream, duration_ms)
    stream.finish()
    return Throughput(*_COUNT.unpack(_exactly(stream, _COUNT.size)))


def download(connection: Connection, duration_ms: int) -> Throughput:
    """From there to here."""
    stream = connection.open_stream(SERVICE_PERF)
    stream.write(_ORDER.pack(_DOWNLOAD, duration_ms))
    stream.finish()
    return _receive(stream)


def latency(connection: Connection, count: int, within_ms: int) -> Latency:
    """Of up to `count` requests, as many as fit the time."""
    body = bytes(REQUEST_BYTES)
    taken: list[int] = []
    end = time.monotonic_ns() + within_ms * 1_000_000
    while len(taken) < count and (not taken or time.monotonic_ns() < end):
        begun = time.perf_counter_ns()
        connection.request(SERVICE_ECHO, body)
        taken.append(time.perf_counter_ns() - begun)
    taken.sort()
    return Latency(len(taken), *(_at(taken, share) for share in (0.50, 0.90, 0.99)))


def _at(taken: list[int], share: float) -> float:
    return taken[min(len(taken) - 1, int(len(taken) * share))] / 1000


def _send(stream: Stream, duration_ms: int) -> None:
    block = bytes(BLOCK_BYTES)
    end = time.monotonic() + duration_ms / 1000
    while time.monotonic() < end:
        stream.write(block)


def _receive(stream: Stream) -> Throughput:
    buffer = bytearray(BLOCK_BYTES)
    # The first piece starts the clock and is not counted: how long it took nobody knows.
    count, more = 0, stream.readinto(buffer)
    begun = time.perf_counter_ns()
    while more:
        more = stream.readinto(buffer)
        count += more
    return Throughput(count, (time.perf_counter_ns() - begun) // 1000)


def _exactly(stream: Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = stream.read(count - len(data))
        if not part:
            raise Unreachable("The other side ended the measurement")
        data += part
    return data
