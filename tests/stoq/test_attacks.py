"""Those who do not want an answer: floods and slow peers. Memory stays bounded, others are served.

Malformed frames and forged bindings are tested next to the code (`crates/stoq/src/hostile.rs`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint, limits
from hypermesh.stoq.open import Certificate, OpenEndpoint
from hypermesh.stoq.stream import Stream
from hypermesh.wire.errors import Overloaded
from hypermesh.wire.rpc import ALPN_ENROL, SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S, Network, eventually
from .plain import ALPN, NAME, Authority, asked, dialled, echoing

FLIGHTS = 200
UNVALIDATED_MAX = 64
"""Handshakes at once above which a client must show its address (`limits.rs`)."""
HANDSHAKES_MAX = 256
SLOW_CLIENTS = 2
WAIT_S = 60
AT_ONCE = 16
SMALLEST_MTU_BYTES = 1200
QUIET_S = 1.5
"""So long after its last packet a server has nothing to send again: its timers are stopped while it
may not send (RFC 9002 section 6.2.2.1)."""
GROWTH_BYTES_MAX = 96 * 1024 * 1024
"""Both sides of a test are one process, so this bounds the attackers too."""
RETRY = 0b1111_0000
"""The first byte of a Retry packet, but for its lowest four bits (RFC 9000 section 17.2.5)."""


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def first_flights(dialler: Endpoint, count: int) -> list[list[bytes]]:
    """The first datagrams of `count` clients that dial someone who never answers: a ClientHello
    each, which its key share makes longer than one datagram."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as silent:
        silent.bind(("::1", 0))
        silent.setblocking(False)
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
        host, port, *_ = silent.getsockname()

        async def dial() -> None:
            results = await asyncio.gather(
                *(dialler.connect_async(host, port, timeout_ms=300) for _ in range(count)),
                return_exceptions=True,
            )
            assert all(isinstance(result, errors.HandshakeTimeout) for result in results)

        asyncio.run(dial())
        flights: dict[bytes, list[bytes]] = {}
        while select.select([silent], [], [], 0.05)[0]:
            datagram = silent.recv(65_536)
            # The id that the client has drawn for the server tells the connections apart.
            flights.setdefault(datagram[6 : 6 + datagram[5]], []).append(datagram)
    # What follows the two of a ClientHello is the end of a client that has given up.
    return [datagrams[:2] for datagrams in flights.values()]


def plain_first_flight(size: int) -> bytes:
    """The first datagram of aioquic as client, of `size` bytes."""
    configuration = QuicConfiguration(
        alpn_protocols=[ALPN], server_name=NAME, max_datagram_size=size
    )
    client = QuicConnection(configuration=configuration)
    client.connect(("::1", 1), now=0.0)
    (first, _), *_ = client.datagrams_to_send(now=0.0)
    assert len(first) == size
    return first


def answered_bytes(datagrams: Iterable[bytes], server: tuple[str, int]) -> int:
    """What a server sends to an address from which nothing but `datagrams` ever came."""
    received = 0
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("::1", 0))
        for datagram in datagrams:
            stranger.sendto(datagram, server)
        while select.select([stranger], [], [], QUIET_S)[0]:
            received += len(stranger.recv(65_536))
    return received


@pytest.mark.parametrize("size", [1200, 1201, 1252, 1399, 1452, 4000])
def test_a_server_sends_three_times_what_it_got_and_no_more(size: int) -> None:
    """RFC 9000 section 8.1, with certificates that need more than that, and where whole datagrams
    do not add up to the bound."""
    authority = Authority.found()
    chain = (authority.leaf, *(Authority.found().root for _ in range(60)))
    with OpenEndpoint.bind(
        alpn=ALPN, certificate=Certificate(chain, authority.certificate.key)
    ) as server:
        received = answered_bytes([plain_first_flight(size)], server.address)
    # It uses what it may but for less than a datagram, so the bound is what stops it.
    assert 3 * size - SMALLEST_MTU_BYTES < received <= 3 * size


@pytest.mark.parametrize("count", [1, 2])
def test_nor_does_a_node(alice: Endpoint, bob: Endpoint, count: int) -> None:
    """With half of a ClientHello, and with a whole one, on loopback."""
    (flight,) = first_flights(bob, 1)
    sent = flight[:count]
    assert len(sent) == count
    assert 0 < answered_bytes(sent, alice.address) <= 3 * sum(map(len, sent))
    eventually(lambda: alice.stats().handshakes == 0 or None, "no handshake is left")


@pytest.mark.parametrize("size", [21, 25, 100, 1199, 1200])
def test_nor_where_it_knows_no_connection(alice: Endpoint, size: int) -> None:
    """Unknown versions, which it lists its own for, and unknown connections, which it resets."""
    unknown = secrets.token_bytes(size)
    long = b"\xc0\x0a\x0a\x0a\x0a\x08" + unknown[6:]
    short = b"\x40" + unknown[1:]
    for datagram in (long, short):
        assert answered_bytes([datagram] * 10, alice.address) <= 3 * 10 * size


def retries_at(flood: socket.socket) -> int:
    """How many of the packets that have come there ask for a retry."""
    count = 0
    while select.select([flood], [], [], 0)[0]:
        count += (flood.recv(65_536)[0] & 0xF0) == RETRY
    return count


def test_a_flood_of_handshakes_leaves_room_for_others(
    network: Network, alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    *flights, late = first_flights(bob, FLIGHTS + 1)
    assert len(flights) > 2 * UNVALIDATED_MAX
    before = resident_bytes()
    retries = 0
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as flood:
        flood.bind(("::1", 0))
        for flight in flights:
            for datagram in flight:
                flood.sendto(datagram, alice.address)
            # At once, or the answers to the first ones leave no room for these.
            retries += retries_at(flood)
            assert alice.stats().handshakes <= HANDSHAKES_MAX
        eventually(lambda: alice.stats().handshakes >= UNVALIDATED_MAX or None, "the flood")
        # A true client gets in, by way of a retry.
        with bob.connect(*alice.address, peer=alice_keys.id) as connection:
            assert connection.request(SERVICE_ECHO, b"x") == b"x"
        assert alice.stats().handshakes >= UNVALIDATED_MAX, "the flood is still there"
        retries += retries_at(flood)

        def one_more() -> int | None:
            """There is room now for the answer, which others' answers may have had no room for."""
            for datagram in late:
                flood.sendto(datagram, alice.address)
            return retries_at(flood) or None

        retries += eventually(one_more, "it is asked for a retry")
    assert retries
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    eventually(lambda: alice.stats().handshakes == 0 or None, "the flood is forgotten")
    assert alice.stats().accepted == 1


def test_a_flood_of_datagrams_changes_nothing(alice: Endpoint, connection: Connection) -> None:
    before = resident_bytes()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as flood:
        for round_ in range(50):
            for _ in range(200):
                flood.sendto(secrets.token_bytes(1200), alice.address)
                # With the head of an Initial packet of version 1.
                flood.sendto(b"\xc3\x00\x00\x00\x01\x08" + secrets.token_bytes(1200), alice.address)
            body = bytes([round_])
            assert connection.request(SERVICE_ECHO, body) == body
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    assert connection.ended is None
    eventually(lambda: alice.stats().handshakes == 0 or None, "no handshake is left")


def test_slow_streams_hold_their_own_connection_and_no_other(
    network: Network, alice: Endpoint, bob: Endpoint, connection: Connection
) -> None:
    """Streams that begin and never go on: one peer may have so many of them."""
    streams = limits()["streams_max"]
    before = resident_bytes()
    with Endpoint.bind(
        policy=network.policy, identity=network.identity(QuantumKeys.generate())
    ) as slow, slow.connect(*alice.address) as attacker:  # fmt: skip
        held: list[Stream] = []

        def open_all() -> None:
            for _ in range(streams + 1):
                held.append(attacker.open_stream(SERVICE_CONTROL, timeout_ms=200))
                held[-1].write(b"x")

        with pytest.raises(errors.TimedOut):
            open_all()
        assert streams // 2 < len(held) <= streams
        for _ in range(100):
            assert connection.request(SERVICE_ECHO, b"x") == b"x"
        assert alice.stats().requests_unanswered <= limits()["pending_requests_max"]
    assert resident_bytes() - before < GROWTH_BYTES_MAX


def test_slow_streams_of_a_foreign_client_hold_nobody_else() -> None:
    """aioquic, which does not share our manners: connections with all the streams that it may have,
    each begun and never ended, while a client of ours is served."""
    authority = Authority.found()
    streams = limits()["streams_max"]
    before = resident_bytes()
    opened: list[int] = []

    async def slow(address: tuple[str, int], under_way: threading.Event) -> None:
        async with contextlib.AsyncExitStack() as clients:
            for _ in range(SLOW_CLIENTS):
                client = await clients.enter_async_context(dialled(address, authority))
                client.is_deaf = True
                for _ in range(2 * streams):
                    # Beyond what it may have, aioquic holds them back.
                    number = client._quic.get_next_available_stream_id()
                    client._quic.send_stream_data(number, b"x")
                client.transmit()
                await client.ping()
                opened.append(len(client._quic._streams))
            under_way.set()
            await asyncio.to_thread(served.wait, DEADLINE_S)

    served, under_way = threading.Event(), threading.Event()
    with (
        OpenEndpoint.bind(alpn=ALPN, certificate=authority.certificate) as server,
        OpenEndpoint.bind(alpn=ALPN, roots=[authority.root]) as ours,
        echoing(server) as seen,
        ThreadPoolExecutor(1) as attackers,
    ):
        attack = attackers.submit(lambda: asyncio.run(slow(server.address, under_way)))
        try:
            assert under_way.wait(DEADLINE_S), attack.exception(0)
            with ours.connect(*server.address, NAME) as connection:
                for round_ in range(20):
                    payload = bytes([round_]) * 10_000
                    assert asked(connection, payload) == payload
            assert len(seen.connections) == SLOW_CLIENTS + 1
            # No more than the bound of each were let through to the application.
            assert seen.streams <= SLOW_CLIENTS * streams + 20
            assert seen.streams >= SLOW_CLIENTS * streams // 2
        finally:
            served.set()
        attack.result(DEADLINE_S)
    assert opened == [2 * streams] * SLOW_CLIENTS
    assert resident_bytes() - before < GROWTH_BYTES_MAX


def test_many_connections_of_one_peer_leave_room_for_others(
    network: Network, alice: Endpoint, bob: Endpoint
) -> None:
    """Requests that nobody answers fill the peer's share of the queue; beyond it they are refused
    by name, and others are served."""
    share = limits()["pending_of_peer_max"]
    assert share < limits()["pending_requests_max"]

    async def flood(attackers: list[Connection]) -> list[object]:
        asked = [
            attacker.request_async(SERVICE_CONTROL, b"x", timeout_ms=3000)
            for attacker in attackers
            for _ in range(100)
        ]
        flooding = asyncio.gather(*asked, return_exceptions=True)
        with Endpoint.bind(
            policy=network.policy, identity=network.identity(QuantumKeys.generate())
        ) as carol, await carol.connect_async(*alice.address) as other:  # fmt: skip
            deadline = time.monotonic() + DEADLINE_S
            while alice.stats().requests_unanswered < share:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.005)
            for _ in range(20):
                assert await other.request_async(SERVICE_ECHO, b"x") == b"x"
        return await flooding

    attackers = [bob.connect(*alice.address) for _ in range(8)]
    results = asyncio.run(flood(attackers))
    refused = sum(isinstance(result, Overloaded) for result in results)
    assert refused == 8 * 100 - share
    assert alice.stats().requests_unanswered <= share


def test_bodies_that_wait_leave_room_for_those_of_others(
    network: Network, alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    """Large requests that nobody answers, one more than there is room for in all: their peer gets a
    part of it, and another one sends as large ones."""
    body = bytes(limits()["body_bytes_max"])
    room = limits()["pending_bytes_max"] // len(body)

    async def ask(attacker: Connection) -> bool:
        """Whether it is refused."""
        try:
            await attacker.request_async(SERVICE_CONTROL, body, timeout_ms=1000 * WAIT_S)
        except Overloaded:
            return True
        except errors.ConnectionClosed:
            return False
        raise AssertionError("nobody answers")

    async def flood(attackers: list[Connection]) -> list[bool]:
        asking = [asyncio.create_task(ask(each)) for each in attackers]
        deadline = time.monotonic() + WAIT_S

        def over() -> bool:
            """Each of them has its place, or knows that it gets none."""
            refused = sum(each.done() for each in asking)
            return alice.stats().requests_waiting + refused == len(asking)

        while not over():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)
        identity = network.identity(QuantumKeys.generate())
        with (
            Endpoint.bind(policy=network.policy, identity=identity) as carol,
            await carol.connect_async(*alice.address, peer=alice_keys.id) as other,
        ):
            assert await other.request_async(SERVICE_ECHO, body, timeout_ms=1000 * WAIT_S) == body
        for attacker in attackers:
            attacker.close()
        return await asyncio.gather(*asking)

    attackers = [bob.connect(*alice.address, peer=alice_keys.id) for _ in range(room + 1)]
    refused = asyncio.run(flood(attackers))
    held = refused.count(False)
    # The largest number that is at most twice what is left besides it.
    assert held * 3 <= 2 * (room + 1) < (held + 1) * 3


@pytest.mark.long
def test_a_flood_of_connections_leaves_room_for_others(
    network: Network, alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    """Of strangers, who need no certificate for it, from one network: they get two thirds of what
    there is for all strangers, and members are let in as ever."""
    share = 2 * (limits()["outsiders_max"] + 1) // 3
    held: list[Connection] = []

    async def flood(stranger: Endpoint) -> int:
        """Connections until so many in a row are refused."""
        refused = 0
        while refused == 0:
            asked = [
                stranger.connect_async(*alice.address, alpn=ALPN_ENROL, timeout_ms=1000 * WAIT_S)
                for _ in range(AT_ONCE)
            ]
            for each in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(each, Connection):
                    held.append(each)
                else:
                    assert isinstance(each, Overloaded), each
                    refused += 1
        return refused

    with Endpoint.bind(policy=network.policy, identity=None) as stranger:
        assert asyncio.run(flood(stranger))
        assert len(held) == share
        assert alice.stats().connections == share
        with bob.connect(*alice.address, peer=alice_keys.id) as connection:
            assert connection.request(SERVICE_ECHO, b"x") == b"x"
        assert all(each.ended is None for each in held)
