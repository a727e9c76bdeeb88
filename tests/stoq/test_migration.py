"""A connection whose client moves to another address, and one that others try to move."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.wire.rpc import SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S, eventually
from .wire import wire


def test_a_connection_survives_another_address_and_keeps_its_binding(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys, bob_keys: QuantumKeys
) -> None:
    payload = secrets.token_bytes(300_000)
    with wire(alice.address) as path, bob.connect(*path.address, peer=alice_keys.id) as connection:
        binding = connection.channel_binding
        for _ in range(3):
            assert connection.request(SERVICE_ECHO, payload) == payload
            path.move()
            assert connection.request(SERVICE_ECHO, payload) == payload
        stream = connection.open_stream(SERVICE_CONTROL)
        stream.write(b"x")
        request = alice.next_request(DEADLINE_S * 1000)
        assert request is not None
        assert request.peer_id == bob_keys.id
        assert request.channel_binding == binding == connection.channel_binding
    assert alice.stats().accepted == 1
    assert alice.stats().refused == 0


def test_packets_of_others_move_nothing(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    """From another address: noise in the shape of this connection's packets, and true packets of
    it, sent again. The server goes on talking to where the client is."""
    with wire(alice.address) as path, bob.connect(*path.address, peer=alice_keys.id) as connection:
        for size in range(30, 1200, 30):
            caught = path.caught[-1]
            shaped = caught[:9] + secrets.token_bytes(size)
            for datagram in (caught, shaped, secrets.token_bytes(size)):
                path.inject(datagram)
                # It would not arrive if the server had turned to the stranger.
                assert connection.request(SERVICE_ECHO, b"x") == b"x"
        assert connection.ended is None
        assert alice.stats().accepted == 1


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_an_endpoint_moves_its_own_socket_under_a_transfer(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    payload = secrets.token_bytes(4 << 20)
    with bob.connect(*alice.address, peer=alice_keys.id) as connection:
        binding = connection.channel_binding
        held = descriptors()
        with ThreadPoolExecutor(1) as pool:
            for _ in range(5):
                before, received = bob.address, connection.stats().bytes_received
                echo = pool.submit(connection.request, SERVICE_ECHO, payload)
                half = received + len(payload) // 8
                eventually(lambda: connection.stats().bytes_received > half or None, "half")  # noqa: B023
                assert bob.rebind() == bob.address != before
                assert echo.result(DEADLINE_S) == payload
        # What moved is the one connection there is, with all that it was.
        (seen,) = alice.connections()
        assert seen.remote == bob.address
        assert connection.channel_binding == binding
        assert connection.ended is None
        assert alice.stats().accepted == 1
        assert descriptors() <= held + 1


def test_what_others_opened_ends_when_an_endpoint_moves(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    with bob.connect(*alice.address, peer=alice_keys.id) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
        before = alice.address
        assert alice.rebind() != before
        with pytest.raises(errors.ConnectionClosed, match="moved to another port"):
            connection.request(SERVICE_ECHO, b"x")
    with bob.connect(*alice.address, peer=alice_keys.id) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
    with pytest.raises(errors.BindRefused):
        alice.rebind(bob.address[1])
    with bob.connect(*alice.address, peer=alice_keys.id) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"


def test_a_closed_endpoint_does_not_move(alice: Endpoint) -> None:
    alice.close()
    with pytest.raises(errors.EndpointClosed):
        alice.rebind()
