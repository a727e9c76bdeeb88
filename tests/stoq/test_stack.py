"""IPv6 alone, and IPv4 beside it where it is asked for."""

from __future__ import annotations

import socket

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import InvalidAddress
from hypermesh.stoq.stack import Stack
from hypermesh.wire.rpc import SERVICE_ECHO

from .network import DEADLINE_S, Network

IPV4 = "127.0.0.1"
MAPPED = f"::ffff:{IPV4}"
BODY = bytes(300_000)


def bound(network: Network, keys: QuantumKeys, stack: Stack) -> Endpoint:
    return Endpoint.bind("::", policy=network.policy, identity=network.identity(keys), stack=stack)


def test_an_ipv4_peer_is_served_where_it_is_asked_for(
    network: Network, alice_keys: QuantumKeys, bob_keys: QuantumKeys
) -> None:
    with (
        bound(network, alice_keys, Stack.DUAL) as alice,
        bound(network, bob_keys, Stack.DUAL) as bob,
    ):
        _, port = alice.address
        for host in (IPV4, MAPPED):
            with bob.connect(host, port, peer=alice_keys.id) as connection:
                assert connection.request(SERVICE_ECHO, BODY) == BODY
                assert connection.stats().datagram_bytes > 9000
                # One spelling, at both ends.
                assert [each.remote for each in bob.connections()] == [(MAPPED, port)]
                assert (MAPPED, bob.address[1]) in [each.remote for each in alice.connections()]


def test_a_dual_stack_speaks_ipv6_as_ever(
    network: Network, alice_keys: QuantumKeys, bob_keys: QuantumKeys, bob: Endpoint
) -> None:
    with bound(network, alice_keys, Stack.DUAL) as alice:
        _, port = alice.address
        with bob.connect("::1", port, peer=alice_keys.id) as connection:
            assert connection.request(SERVICE_ECHO, b"x") == b"x"
            assert [host for host, _ in (each.remote for each in alice.connections())] == ["::1"]


def test_ipv4_is_refused_unless_it_is_asked_for(
    network: Network, alice_keys: QuantumKeys, bob: Endpoint
) -> None:
    """The system itself says that nobody is there."""
    with (
        bound(network, alice_keys, Stack.IPV6) as alice,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain,
    ):
        _, port = alice.address
        plain.settimeout(DEADLINE_S)
        plain.connect((IPV4, port))
        plain.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            plain.recv(1)
        for host in (IPV4, MAPPED):
            with pytest.raises(InvalidAddress):
                bob.connect(host, port)
