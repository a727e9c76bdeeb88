"""Datagrams and streams one way: framing, bounds, what is dropped, who is told."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from contextlib import ExitStack, suppress
from functools import partial

import pytest

from hypermesh import _native
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.datagram import Datagram, Received
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.request import Request
from hypermesh.stoq.stream import Stream
from hypermesh.wire.errors import Forbidden
from hypermesh.wire.rpc import ALPN_ENROL, SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S, Network, eventually, owner_of

LIMITS = dict(_native.stoq_limits())


def arrived(endpoint: Endpoint, count: int) -> list[Datagram]:
    """The next `count` datagrams. On loopback, slowly sent, none is lost."""
    taken: list[Datagram] = []

    def look() -> bool | None:
        taken.extend(endpoint.next_datagrams(20))
        return True if len(taken) >= count else None

    assert eventually(look, f"{count} datagrams")
    return taken


def test_a_datagram_reaches_its_service_and_an_answer_its_sender(
    alice: Endpoint, connection: Connection, bob_keys: QuantumKeys
) -> None:
    # Until both ends know what the path takes.
    path = connection.stats
    eventually(lambda: path().datagram_bytes > 60_000 or None, "the path")
    longest = connection.datagram_bytes_max
    assert longest is not None
    for body in (b"", b"x", secrets.token_bytes(longest)):
        connection.send_datagram(SERVICE_CONTROL, body)
        (datagram,) = arrived(alice, 1)
        assert (datagram.service, datagram.body) == (SERVICE_CONTROL, body)
        assert (datagram.peer_id, datagram.peer_owner) == (bob_keys.id, owner_of(bob_keys))
        assert datagram.alpn == "hm/1"
        assert datagram.reply(body[::-1])
        assert connection.datagrams() == [Received(SERVICE_CONTROL, body[::-1])]
    with pytest.raises(errors.TooLarge):
        connection.send_datagram(SERVICE_CONTROL, bytes(longest + 1))
    stats = alice.datagram_stats()
    assert (stats.received, stats.dropped, stats.waiting) == (3, 0, 0)
    assert connection.datagram_stats() == (3, 3, 0)


def test_the_echo_sends_them_back(connection: Connection) -> None:
    sent = [b"%d" % n for n in range(100)]
    for body in sent:
        connection.send_datagram(SERVICE_ECHO, body)
    back: list[bytes] = []

    def look() -> bool | None:
        back.extend(received.body for received in connection.datagrams(timeout_ms=5000))
        return True if len(back) == len(sent) else None

    assert eventually(look, "all echoes")
    assert sorted(back) == sorted(sent)
    with pytest.raises(errors.TimedOut):
        connection.datagrams(timeout_ms=20)


def test_the_same_on_an_event_loop(alice: Endpoint, connection: Connection) -> None:
    async def scenario() -> None:
        async def serve() -> None:
            served = 0
            while served < 50:
                for datagram in await alice.next_datagrams_async():
                    datagram.reply(datagram.body.upper())
                    served += 1

        serving = asyncio.ensure_future(serve())
        for n in range(50):
            await connection.send_datagram_async(SERVICE_CONTROL, b"a%d" % n)
        back: list[bytes] = []
        while len(back) < 50:
            back += [received.body for received in await connection.datagrams_async()]
        assert sorted(back) == sorted(b"A%d" % n for n in range(50))
        await serving

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))


def test_a_flood_drowns_only_itself(
    alice: Endpoint, bob: Endpoint, connection: Connection, alice_keys: QuantumKeys
) -> None:
    bound = LIMITS["datagrams_of_peer_max"]
    for n in range(3 * bound):
        connection.send_datagram(SERVICE_CONTROL, b"%d" % n + bytes(1000))
    connection.request(SERVICE_ECHO, b"behind them")
    eventually(
        lambda: True if alice.datagram_stats().received == 3 * bound else None,
        "the flood",
    )
    stats = alice.datagram_stats()
    assert stats.waiting == bound
    assert stats.dropped == 2 * bound
    with bob.connect(*alice.address, peer=alice_keys.id) as other:
        other.send_datagram(SERVICE_CONTROL, b"other")
        taken = arrived(alice, bound + 1)
    assert taken[-1].body == b"other"
    assert taken[0].body.startswith(b"0\0")
    # What was taken makes room again.
    connection.send_datagram(SERVICE_CONTROL, b"after")
    assert arrived(alice, 1)[0].body == b"after"


def received(endpoint: Endpoint, count: int) -> bool | None:
    return endpoint.datagram_stats().received == count or None


def test_a_flood_over_many_connections_leaves_room_for_others(
    network: Network, alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    """So many connections that their shares would fill the whole list."""
    of_one, of_all = LIMITS["datagrams_of_peer_max"], LIMITS["datagrams_waiting_max"]
    with ExitStack() as stack:
        for _ in range(of_all // of_one + 1):
            flood = stack.enter_context(bob.connect(*alice.address, peer=alice_keys.id))
            before = alice.datagram_stats().received
            for _ in range(of_one):
                flood.send_datagram(SERVICE_CONTROL, b"flood")
            wanted = before + of_one
            eventually(partial(received, alice, wanted), "its part of the flood")
        # The largest number that is at most twice what is left besides it.
        share = 2 * (of_all + 1) // 3
        eventually(lambda: alice.datagram_stats().waiting == share or None, "its share waits")
        identity = network.identity(QuantumKeys.generate())
        carol = stack.enter_context(Endpoint.bind(policy=network.policy, identity=identity))
        other = stack.enter_context(carol.connect(*alice.address, peer=alice_keys.id))
        other.send_datagram(SERVICE_CONTROL, b"other")
        taken = arrived(alice, share + 1)
        assert taken[-1].body == b"other"


def test_what_nobody_takes_is_bounded_and_counted(connection: Connection) -> None:
    count, size = 400, 10_000
    for n in range(count):
        connection.send_datagram(SERVICE_ECHO, n.to_bytes(2, "big") + bytes(size))
        if n % 20 == 0:
            connection.request(SERVICE_ECHO, b"slowly")
    eventually(
        lambda: True if connection.datagram_stats().received == count else None, "all echoes"
    )
    taken: list[Received] = []
    with suppress(errors.TimedOut):
        while True:
            taken += connection.datagrams(timeout_ms=50)
    assert 0 < sum(len(received.body) for received in taken) <= 1 << 20
    assert connection.datagram_stats().dropped == count - len(taken)
    # The newest are kept.
    assert taken[-1].body[:2] == (count - 1).to_bytes(2, "big")


def test_a_stranger_sends_none(network: Network, alice: Endpoint, bob: Endpoint) -> None:
    root = hashlib.sha256(network.root.certificate).digest()
    with bob.connect(*alice.address, alpn=ALPN_ENROL, root_sha256=root) as stranger:
        stranger.send_datagram(SERVICE_CONTROL, b"x")
        stream = stranger.open_unidirectional(SERVICE_CONTROL)
        stream.write(b"x")
        assert alice.next_datagrams(100) == []
        assert alice.next_request(100) is None
        assert alice.datagram_stats().received == 0


def test_a_closed_endpoint_ends_the_wait(alice: Endpoint) -> None:
    alice.close()
    with pytest.raises(errors.EndpointClosed):
        alice.next_datagrams(1000)
    with pytest.raises(errors.EndpointClosed):
        asyncio.run(alice.next_datagrams_async())


def one_way(alice: Endpoint, connection: Connection) -> tuple[Stream, Request]:
    stream = connection.open_unidirectional(SERVICE_CONTROL)
    stream.write(b"hello")
    request = alice.next_request(5000)
    assert request is not None
    return stream, request


def test_a_stream_one_way(alice: Endpoint, connection: Connection, bob_keys: QuantumKeys) -> None:
    stream, request = one_way(alice, connection)
    assert request.is_unidirectional
    assert (request.service, request.peer_id) == (SERVICE_CONTROL, bob_keys.id)
    accepted = request.stream
    assert accepted is not None
    data = os.urandom(1 << 20)
    asyncio.run(stream.write_async(data))
    stream.finish()
    buffer = bytearray(len(data) + 5)
    assert accepted.fill(buffer) == len(buffer)
    assert buffer == b"hello" + data
    assert accepted.read() == b""
    assert stream.read() == b""
    with pytest.raises(errors.StreamReset):
        accepted.write(b"back")
    with pytest.raises(errors.MalformedFrame):
        request.reply(b"")


def test_a_stream_both_ways_says_so(alice: Endpoint, connection: Connection) -> None:
    stream = connection.open_stream(SERVICE_CONTROL)
    stream.write(b"x")
    request = alice.next_request(5000)
    assert request is not None
    assert not request.is_unidirectional


@pytest.mark.parametrize("how", ["refused", "dropped"])
def test_a_refused_stream_one_way_stops_its_writer(
    alice: Endpoint, connection: Connection, how: str
) -> None:
    stream, request = one_way(alice, connection)
    if how == "refused":
        request.refuse(Forbidden("no"))
    del request

    def look() -> type[Exception] | None:
        try:
            stream.write(b"more")
        except (errors.Unanswered, errors.StreamReset) as error:
            return type(error)
        return None

    expected = errors.Unanswered if how == "refused" else errors.StreamReset
    assert eventually(look, "the stop") is expected


def test_a_cut_stream_one_way_is_not_taken_for_whole(
    alice: Endpoint, connection: Connection
) -> None:
    stream, request = one_way(alice, connection)
    accepted = request.stream
    assert accepted is not None
    assert accepted.read() == b"hello"
    del stream
    with pytest.raises(errors.StreamReset):
        accepted.read()


def test_streams_one_way_are_bounded(alice: Endpoint, connection: Connection) -> None:
    held = [one_way(alice, connection) for _ in range(LIMITS["streams_unidirectional_max"])]
    with pytest.raises(errors.TimedOut):
        connection.open_unidirectional(SERVICE_CONTROL, timeout_ms=50)
    assert connection.request(SERVICE_ECHO, b"others go on") == b"others go on"
    while held:
        stream, request = held.pop()
        stream.finish()
        accepted = request.stream
        assert accepted is not None
        while accepted.read():
            pass
    connection.open_unidirectional(SERVICE_CONTROL)


def test_a_higher_priority_goes_first(alice: Endpoint, connection: Connection) -> None:
    """Two streams compete for one connection; the second and more urgent one overtakes."""
    size = 24 << 20
    low_service, high_service = 0x1001, 0x1002

    async def scenario() -> dict[int, int]:
        low = await connection.open_unidirectional_async(low_service)
        high = await connection.open_unidirectional_async(high_service)
        low.set_priority(-1)
        high.set_priority(1)
        writing = [asyncio.ensure_future(stream.write_async(bytes(size))) for stream in (low, high)]
        counts: dict[int, int] = {}

        async def read(request: Request) -> None:
            stream, counts[request.service] = request.stream, 0
            assert stream is not None
            while counts[request.service] < size:
                counts[request.service] += len(await stream.read_async())

        requests: list[Request] = []
        while len(requests) < 2:
            requests += await alice.next_requests()
        done, rest = await asyncio.wait(
            [asyncio.ensure_future(read(request)) for request in requests],
            return_when=asyncio.FIRST_COMPLETED,
        )
        when_first = counts.copy()
        await asyncio.gather(*done, *rest, *writing)
        return when_first

    counts = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert counts[high_service] == size
    assert counts[low_service] < size
    with pytest.raises(OverflowError):
        connection.open_unidirectional(SERVICE_CONTROL).set_priority(2**31)
