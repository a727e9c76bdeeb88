"""Many operations in one call, and many calls at once: order, bounds, failures, cancelled tasks."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hypermesh import _native
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.region import RemoteRegion
from hypermesh.stoq.request import Request
from hypermesh.stoq.stream import Stream
from hypermesh.wire.errors import Conflict
from hypermesh.wire.rpc import SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S, eventually, eventually_async
from .service import serving

LIMITS = dict(_native.stoq_limits())
SIZE = 8 << 20


@pytest.fixture
def remote(alice: Endpoint, connection: Connection, bob_keys: QuantumKeys) -> RemoteRegion:
    region = secrets.token_bytes(16)
    alice.regions.create(region, SIZE)
    grant(alice, region, bob_keys, can_write=True, length=SIZE)
    return connection.region(region, 1)


def grant(
    alice: Endpoint, region: bytes, keys: QuantumKeys, *, can_write: bool, length: int
) -> None:
    alice.regions.grant(
        region,
        keys.id,
        offset=0,
        length=length,
        can_write=can_write,
        expires_unix_ms=2**53,
        epoch=1,
    )


def bodies(count: int) -> list[bytes]:
    """Of all lengths from nothing to more than one packet; no two alike."""
    return [b"%d:" % n + bytes(n * 37 % 3000) for n in range(count)]


def test_answers_come_in_the_order_of_the_bodies(connection: Connection) -> None:
    sent = bodies(1000)
    assert connection.request_many(SERVICE_ECHO, sent) == sent
    assert connection.request_many(SERVICE_ECHO, []) == []
    assert connection.request_many(SERVICE_ECHO, [b""]) == [b""]


def test_answers_come_in_order_on_an_event_loop(connection: Connection) -> None:
    sent = bodies(1000)

    async def scenario() -> list[list[bytes]]:
        calls = [connection.request_many_async(SERVICE_ECHO, sent[n:]) for n in range(4)]
        return await asyncio.gather(*calls)

    for n, answers in enumerate(asyncio.run(scenario())):
        assert answers == sent[n:]


def test_a_slow_answer_does_not_change_the_order(alice: Endpoint, connection: Connection) -> None:
    held: list[Request] = []

    def answer(request: Request) -> None:
        if request.body == b"0":
            held.append(request)
            return
        request.reply(request.body)
        if request.body == b"99":
            held.pop().reply(b"0")

    sent = [b"%d" % n for n in range(100)]
    with serving(alice, answer):
        assert connection.request_many(SERVICE_CONTROL, sent) == sent


def test_requests_in_flight_are_bounded(alice: Endpoint, connection: Connection) -> None:
    bound = LIMITS["streams_max"]
    calls = ThreadPoolExecutor(1)
    result = calls.submit(connection.request_many, SERVICE_CONTROL, [b"x"] * (2 * bound))
    taken: list[Request] = []
    while (request := alice.next_request(500)) is not None:
        taken.append(request)
    # The peer may lag behind with the leave for a new stream in place of one that has ended.
    assert bound * 3 // 4 <= len(taken) <= bound
    while taken:
        taken.pop().reply(b"y")
        while not result.done() and (request := alice.next_request(20)) is not None:
            taken.append(request)
            assert len(taken) <= bound
    assert result.result(DEADLINE_S) == [b"y"] * (2 * bound)
    calls.shutdown()


def test_the_first_failure_ends_a_batch_as_its_own_class(
    alice: Endpoint, connection: Connection
) -> None:
    def answer(request: Request) -> None:
        if request.body == b"7":
            request.refuse(Conflict("seven"))
        else:
            request.reply(request.body)

    sent = [b"%d" % n for n in range(500)]
    with serving(alice, answer):
        with pytest.raises(Conflict, match="seven"):
            connection.request_many(SERVICE_CONTROL, sent)

        async def scenario() -> None:
            await connection.request_many_async(SERVICE_CONTROL, sent)

        with pytest.raises(Conflict, match="seven"):
            asyncio.run(scenario())
        assert connection.request_many(SERVICE_CONTROL, [b"1", b"2"]) == [b"1", b"2"]
        with pytest.raises(errors.TooLarge):
            connection.request_many(SERVICE_CONTROL, [b"1", bytes(LIMITS["body_bytes_max"] + 1)])


def test_a_batch_has_one_time_limit(alice: Endpoint, connection: Connection) -> None:
    with pytest.raises(errors.TimedOut):
        connection.request_many(SERVICE_CONTROL, [b"x"] * 3, timeout_ms=50)


def test_places_are_gathered_and_scattered_in_their_order(remote: RemoteRegion) -> None:
    content = secrets.token_bytes(SIZE)
    remote.write(0, content)
    # More than one operation's worth, of all lengths, overlapping and out of order.
    ranges = [(n * 7919 % (SIZE - 5000), n * 13 % 5000) for n in range(2500)]
    expected = b"".join(content[at : at + length] for at, length in ranges)
    assert remote.gather(ranges) == expected
    buffer = bytearray(len(expected) + 7)
    assert remote.gather_into(ranges, buffer) == len(expected)
    assert buffer == expected + bytes(7)

    parts = [(n * 3000, secrets.token_bytes(n % 3000)) for n in range(2500)]
    assert remote.scatter(parts) == sum(len(part) for _, part in parts)
    image = bytearray(content)
    for at, part in parts:
        image[at : at + len(part)] = part
    assert hashlib.sha256(remote.read(0, SIZE)).digest() == hashlib.sha256(image).digest()
    assert remote.gather([]) == b""
    assert remote.scatter([]) == 0
    assert remote.gather([(5, 0), (SIZE, 0)]) == b""


def test_the_same_on_an_event_loop(remote: RemoteRegion) -> None:
    async def scenario() -> None:
        content = secrets.token_bytes(1 << 20)
        assert await remote.write_async(5, content) == len(content)
        assert await remote.read_async(5, len(content)) == content
        buffer = bytearray(1000)
        assert await remote.readinto_async(6, buffer) == 1000
        assert buffer == content[1:1001]
        ranges = [(n * 100 + 5, 50) for n in range(3000)]
        expected = b"".join(content[n * 100 : n * 100 + 50] for n in range(3000))
        assert await remote.gather_async(ranges) == expected
        whole = bytearray(len(expected))
        assert await remote.gather_into_async(ranges, whole) == len(expected)
        assert whole == expected
        assert await remote.scatter_async([(0, b"\1"), (8, whole)]) == len(whole) + 1
        assert await remote.read_async(8, len(whole)) == expected
        assert await remote.compare_and_swap_async(0, 1, 9) != 1
        word = await remote.fetch_add_async(0, 2)
        assert await remote.fetch_add_async(0, 0) == word + 2
        assert await remote.compare_and_swap_async(0, word + 2, 9) == word + 2
        assert await remote.fetch_add_async(0, 0) == 9

    asyncio.run(scenario())


def test_no_place_outside_a_grant_is_touched(
    alice: Endpoint, connection: Connection, remote: RemoteRegion, bob_keys: QuantumKeys
) -> None:
    remote.write(0, b"\1" * 4096)
    grant(alice, remote.region, bob_keys, can_write=True, length=2048)
    with pytest.raises(errors.OutOfRange):
        remote.gather([(0, 10), (2040, 9)])
    with pytest.raises(errors.OutOfRange):
        remote.scatter([(0, b"22"), (2047, b"22")])
    with pytest.raises(errors.OutOfRange):
        remote.gather([(2**64 - 1, 1)])
    with pytest.raises(errors.OutOfRange):
        remote.gather([(0, 2**63), (0, 2**63)])
    with pytest.raises(errors.OutOfRange):
        remote.gather_into([(0, 10)], bytearray(9))
    assert remote.gather([(0, 2)]) == b"\1\1"
    grant(alice, remote.region, bob_keys, can_write=False, length=4096)
    with pytest.raises(errors.ReadOnly):
        remote.scatter([(0, b"22")])
    assert remote.gather([(0, 2), (2047, 2)]) == b"\1\1\1\1"
    alice.regions.revoke(remote.region, bob_keys.id)
    with pytest.raises(errors.NoGrant):
        remote.gather([(0, 1)])
    with pytest.raises(errors.NoGrant):
        connection.region(bytes(16), 1).scatter([(0, b"x")])


def test_threads_hammer_one_connection(
    alice: Endpoint, connection: Connection, remote: RemoteRegion
) -> None:
    def requests(worker: int) -> None:
        for n in range(100):
            body = b"%d %d" % (worker, n) * (n + 1)
            assert connection.request(SERVICE_ECHO, body) == body
            assert connection.request_many(SERVICE_ECHO, [body, b"", body]) == [body, b"", body]

    def streams(worker: int) -> None:
        for n in range(10):
            data = bytes([worker, n]) * 50_000
            stream = connection.open_stream(SERVICE_ECHO)
            stream.writev([data[:10], bytearray(data[10:20]), memoryview(data)[20:]])
            stream.finish()
            buffer = bytearray(len(data) + 1)
            assert stream.fill(buffer) == len(data)
            assert buffer[:-1] == data

    def memory(worker: int) -> None:
        base = worker * 100_000 // 8 * 8
        for n in range(50):
            data = bytes([worker, n]) * 10_000
            remote.write(base, data)
            assert remote.gather([(base, 10_000), (base + 10_000, 10_000)]) == data
            remote.fetch_add(SIZE - 8, 1)

    work = [requests, streams, memory]
    with ThreadPoolExecutor(9) as pool:
        done = [pool.submit(work[n % 3], n) for n in range(9)]
        for result in done:
            result.result(60)
    assert remote.fetch_add(SIZE - 8, 0) == 3 * 50


def test_two_readers_share_a_stream_and_lose_nothing(connection: Connection) -> None:
    stream = connection.open_stream(SERVICE_ECHO)
    data = b"x" * (4 << 20)

    def count(_: int) -> int:
        buffer, total = bytearray(10_000), 0
        while read := stream.readinto(buffer):
            assert buffer[:read] == b"x" * read
            total += read
        return total

    with ThreadPoolExecutor(3) as pool:
        counts = pool.map(count, range(2))
        stream.write(data)
        stream.finish()
        assert sum(counts) == len(data)


def test_a_cancelled_task_gives_its_call_up(
    alice: Endpoint, connection: Connection, remote: RemoteRegion
) -> None:
    async def scenario() -> None:
        stream = await connection.open_stream_async(SERVICE_CONTROL)
        buffer = bytearray(1 << 20)
        calls = [
            connection.request_async(SERVICE_CONTROL, b"x"),
            connection.request_many_async(SERVICE_CONTROL, [b"x"] * 50),
            stream.fill_async(buffer),
        ]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await stream.write_async(b"hello")
        await eventually_async(lambda: alice.stats().requests_unanswered == 52, "all are under way")
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(result, asyncio.CancelledError)
            for result in await asyncio.gather(*tasks, return_exceptions=True)
        )
        # A call cut short at any moment leaves the connection as it was.
        for microseconds in range(0, 3000, 100):
            sending = asyncio.ensure_future(remote.write_async(0, bytearray(1 << 20)))
            await asyncio.sleep(microseconds / 1e6)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        assert await connection.request_async(SERVICE_ECHO, b"alive") == b"alive"

        async def let_go() -> None:
            while True:
                try:
                    buffer.append(0)
                except BufferError:
                    await connection.request_async(SERVICE_ECHO, b"")
                else:
                    return

        await asyncio.wait_for(let_go(), DEADLINE_S)

    asyncio.run(scenario())
    requests_unanswered = eventually(
        lambda: alice.stats().requests_unanswered or None, "the requests that were given up"
    )
    assert requests_unanswered <= 52


def test_a_slow_reader_holds_back_its_writer(alice: Endpoint, connection: Connection) -> None:
    """Neither end's memory grows with what is written and not read."""
    total = 64 << 20
    written = 0

    async def scenario() -> None:
        nonlocal written
        stream = await connection.open_stream_async(SERVICE_CONTROL)
        part = bytes(1 << 20)

        async def write() -> None:
            nonlocal written
            for _ in range(total // len(part)):
                await stream.write_async(part)
                written += len(part)
            await stream.finish_async()

        writing = asyncio.ensure_future(write())
        (request,) = await alice.next_requests()
        accepted = request.stream
        assert accepted is not None
        await eventually_async(
            lambda: connection.why().waits_for == "receiver", "the writer stands"
        )
        # The window of the stream and what the sender keeps, a part in hand each.
        assert written <= 16 << 20
        assert not writing.done()
        buffer, received = bytearray(1 << 20), 0
        while read := await accepted.fill_async(buffer):
            received += read
        await writing
        assert received == total

    asyncio.run(scenario())


def main_waits() -> bool:
    """Whether the main thread sleeps in a call of ours: three looks in a row, for it sleeps for a
    moment whenever it waits for the interpreter."""
    main = threading.main_thread()
    for _ in range(3):
        frame = sys._current_frames()[main.ident or 0]
        state = Path(f"/proc/self/task/{main.native_id}/stat").read_text().rpartition(")")[2]
        if "hypermesh/stoq" not in frame.f_code.co_filename or state.split()[0] != "S":
            return False
        time.sleep(0.002)
    return True


def test_a_key_interrupts_a_wait(alice: Endpoint, connection: Connection) -> None:
    def interrupt() -> None:
        eventually(lambda: main_waits() or None, "the call waits")
        os.kill(os.getpid(), signal.SIGINT)

    def stuck_stream() -> Stream:
        return connection.open_stream(SERVICE_CONTROL)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for call in (
            lambda: connection.request(SERVICE_CONTROL, b"x"),
            lambda: connection.request_many(SERVICE_CONTROL, [b"x"] * 10),
            lambda: stuck_stream().read(),
            lambda: stuck_stream().write(bytes(64 << 20)),
            lambda: alice.next_request(60_000) and stuck_stream().fill(bytearray(9)),
        ):
            key = threading.Thread(target=interrupt)
            key.start()
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                call()
            assert time.monotonic() - began < DEADLINE_S
            key.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert connection.request(SERVICE_ECHO, b"alive") == b"alive"
