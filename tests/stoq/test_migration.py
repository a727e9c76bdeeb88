"""A connection whose client moves to another address, and one that others try to move."""

from __future__ import annotations

import secrets

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.wire.rpc import SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S
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
