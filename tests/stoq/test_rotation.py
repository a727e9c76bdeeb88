"""A certificate that changes under load: nobody is dropped, and newcomers see the new one."""

from __future__ import annotations

import asyncio
import threading

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.wire.rpc import SERVICE_ECHO

from .network import DEADLINE_S, Network, lasting

CONNECTIONS = 200
ROTATIONS = 50


def test_rotations_under_traffic_drop_nobody(
    network: Network, alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    connections = [bob.connect(*alice.address, peer=alice_keys.id) for _ in range(CONNECTIONS)]
    identities = [network.identity(alice_keys) for _ in range(ROTATIONS)]
    stop = threading.Event()
    failures: list[BaseException] = []
    answered = [0] * CONNECTIONS

    def talk(every: range) -> None:
        try:
            while not stop.is_set():
                for index in every:
                    body = bytes(64 + answered[index] % 1000)
                    assert connections[index].request(SERVICE_ECHO, body) == body
                    answered[index] += 1
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [
        threading.Thread(target=talk, args=(range(start, CONNECTIONS, 4),)) for start in range(4)
    ]
    for thread in threads:
        thread.start()
    try:
        for identity in identities:
            # Each rotation falls into traffic: some connection has moved on since the last.
            before = sum(answered)
            alice.set_identity(identity)
            with bob.connect(*alice.address, peer=alice_keys.id) as newcomer:
                assert newcomer.request(SERVICE_ECHO, b"new") == b"new"
            while sum(answered) == before and not failures:
                stop.wait(0.001)
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE_S)
    assert not failures, failures
    assert all(connection.ended is None for connection in connections)
    for connection in connections:
        assert connection.request(SERVICE_ECHO, b"still") == b"still"
    assert alice.stats().refused == 0
    assert alice.stats().accepted == CONNECTIONS + ROTATIONS


def test_handshakes_in_flight_survive_rotations(
    network: Network, alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    """Above 64 handshakes at once, clients are told to retry: their tokens stay good."""
    identities = [network.identity(alice_keys) for _ in range(ROTATIONS)]

    async def dial_all() -> list[Connection]:
        dials = [
            asyncio.ensure_future(bob.connect_async(*alice.address, peer=alice_keys.id))
            for _ in range(CONNECTIONS)
        ]
        for identity in identities:
            alice.set_identity(identity)
            await asyncio.sleep(0)
        return await asyncio.gather(*dials)

    connections = asyncio.run(dial_all())
    assert len(connections) == CONNECTIONS
    for connection in connections:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
    assert alice.stats().refused == 0


def test_newcomers_see_the_new_certificate_and_the_others_stay(
    network: Network, alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    """The rotation reaches new connections: an expired certificate shows that."""
    with bob.connect(*alice.address) as before:
        alice.set_identity(network.identity(alice_keys, validity=lasting(-60)))
        with pytest.raises(errors.CertificateExpired):
            bob.connect(*alice.address)
        assert before.request(SERVICE_ECHO, b"x") == b"x"
        alice.set_identity(network.identity(alice_keys))
        with bob.connect(*alice.address) as after:
            assert after.request(SERVICE_ECHO, b"x") == b"x"
        assert before.ended is None
