"""Tickets save certificates, and nothing of the admission."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import KEY_EXCHANGE, Endpoint
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.wire.rpc import (
    ALPN_ENROL,
    ALPN_NODE,
    ALPN_SESSION,
    SERVICE_CONTROL,
    SERVICE_ECHO,
)

from .network import Network, eventually, lasting, refusal_of


def works(connection: Connection) -> None:
    assert connection.request(SERVICE_ECHO, b"x") == b"x"


def acquainted(dialler: Endpoint, server: Endpoint, alpn: str = ALPN_NODE) -> None:
    """A first connection, which leaves each side a ticket."""
    held = dialler.stats().tickets_held
    with dialler.connect(*server.address, alpn=alpn) as connection:
        assert not connection.resumed
        eventually(lambda: dialler.stats().tickets_held > held or None, "a ticket")


def test_the_second_connection_resumes_and_proves_as_much(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys, bob_keys: QuantumKeys
) -> None:
    acquainted(bob, alice)
    with bob.connect(*alice.address) as connection:
        assert connection.resumed
        assert connection.peer_id == alice_keys.id
        assert connection.negotiated_group == KEY_EXCHANGE
        works(connection)
        stream = connection.open_stream(SERVICE_CONTROL)
        stream.write(b"x")
        request = alice.next_request(5000)
        assert request is not None
        assert request.peer_id == bob_keys.id
        assert request.channel_binding == connection.channel_binding
    assert alice.stats().resumed == 1
    assert alice.stats().accepted == 2


def test_each_connection_has_its_own_binding(alice: Endpoint, bob: Endpoint) -> None:
    acquainted(bob, alice)
    seen = set()
    for _ in range(3):
        with bob.connect(*alice.address) as connection:
            assert connection.resumed
            seen.add(connection.channel_binding)
            eventually(lambda: bob.stats().tickets_held or None, "the next ticket")
    assert len(seen) == 3


def test_a_named_peer_is_resumed_as_that_peer_only(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys, bob_keys: QuantumKeys
) -> None:
    with bob.connect(*alice.address, peer=alice_keys.id):
        eventually(lambda: bob.stats().tickets_held or None, "a ticket")
    with bob.connect(*alice.address, peer=alice_keys.id) as connection:
        assert connection.resumed
    with pytest.raises(errors.WrongPeer):
        bob.connect(*alice.address, peer=bob_keys.id)


def test_a_session_resumes_and_a_stranger_does_not(network: Network, alice: Endpoint) -> None:
    keys = QuantumKeys.generate()
    with Endpoint.bind(policy=network.policy, identity=Identity.of_keys(keys)) as bearer:
        acquainted(bearer, alice, ALPN_SESSION)
        with bearer.connect(*alice.address, alpn=ALPN_SESSION) as connection:
            assert connection.resumed
    with Endpoint.bind(policy=network.policy, identity=None) as stranger:
        before = alice.stats().tickets_offered
        for _ in range(2):
            with stranger.connect(*alice.address, alpn=ALPN_ENROL) as connection:
                assert not connection.resumed
        assert stranger.stats().tickets_held == 0
        assert alice.stats().tickets_offered == before


def test_a_ticket_serves_one_protocol(alice: Endpoint, bob: Endpoint) -> None:
    acquainted(bob, alice)
    with bob.connect(*alice.address, alpn=ALPN_SESSION) as connection:
        assert not connection.resumed


Change = Callable[[Network, Endpoint, QuantumKeys], None]


def _revoke(network: Network, endpoint: Endpoint, other: QuantumKeys) -> None:
    endpoint.set_policy(network.policy.with_revoked([other.id]))


def _disown(network: Network, endpoint: Endpoint, other: QuantumKeys) -> None:
    policy = Network.found().policy
    endpoint.set_policy(
        TrustPolicy(network=network.genesis, roots=policy.roots, issuers=policy.issuers)
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [(_revoke, errors.PeerRevoked), (_disown, errors.UnknownIssuer)],
    ids=["revoked", "issuer no longer believed"],
)
@pytest.mark.parametrize("side", ["server", "client"])
def test_whoever_may_not_come_may_not_resume(
    network: Network,
    alice: Endpoint,
    bob: Endpoint,
    alice_keys: QuantumKeys,
    bob_keys: QuantumKeys,
    side: str,
    change: Change,
    reason: type[errors.PeerRefused],
) -> None:
    acquainted(bob, alice)
    if side == "server":
        change(network, alice, bob_keys)
        assert alice.stats().tickets_offered == 0
    else:
        change(network, bob, alice_keys)
        assert bob.stats().tickets_held == 0
    with pytest.raises(reason):
        bob.connect(*alice.address)
    assert isinstance(refusal_of(alice).error, reason)
    assert alice.stats().resumed == 0


def test_revoking_another_leaves_the_tickets(
    network: Network, alice: Endpoint, bob: Endpoint
) -> None:
    acquainted(bob, alice)
    alice.set_policy(network.policy.with_revoked([bytes(32)]))
    bob.set_policy(network.policy.with_revoked([bytes(32)]))
    with bob.connect(*alice.address) as connection:
        assert connection.resumed


@pytest.mark.parametrize("side", ["server", "client"])
def test_another_certificate_ends_the_tickets(
    network: Network, alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys,
    bob_keys: QuantumKeys, side: str,
) -> None:  # fmt: skip
    acquainted(bob, alice)
    if side == "server":
        alice.set_identity(network.identity(alice_keys))
        assert alice.stats().tickets_offered == 0
    else:
        bob.set_identity(network.identity(bob_keys))
        assert bob.stats().tickets_held == 0
    with bob.connect(*alice.address) as connection:
        assert not connection.resumed
        works(connection)


def test_another_process_knows_no_ticket(
    network: Network, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    identity = network.identity(alice_keys)
    alice = Endpoint.bind(policy=network.policy, identity=identity)
    acquainted(bob, alice)
    host, port = alice.address
    alice.close()
    # The socket is free once nothing holds the endpoint.
    del alice
    with (
        Endpoint.bind(host, port, policy=network.policy, identity=identity),
        bob.connect(host, port) as connection,
    ):
        assert not connection.resumed
        works(connection)


@pytest.mark.parametrize("side", ["server", "client"])
def test_a_ticket_ends_with_the_certificate(
    network: Network, alice_keys: QuantumKeys, bob_keys: QuantumKeys, side: str
) -> None:
    ends_s = int(time.time()) + 3
    short = network.identity(
        alice_keys if side == "server" else bob_keys, validity=lasting(ends_s - int(time.time()))
    )
    long = network.identity(bob_keys if side == "server" else alice_keys)
    server, client = (short, long) if side == "server" else (long, short)
    with (
        Endpoint.bind(policy=network.policy, identity=server) as alice,
        Endpoint.bind(policy=network.policy, identity=client) as bob,
    ):
        acquainted(bob, alice)
        eventually(lambda: time.time() > ends_s + 1 or None, "the end of the certificate")
        with pytest.raises(errors.CertificateExpired):
            bob.connect(*alice.address)
        assert isinstance(refusal_of(alice).error, errors.CertificateExpired)
        assert alice.stats().resumed == 0


def test_tickets_of_one_peer_are_bounded(alice: Endpoint, bob: Endpoint) -> None:
    connections = [bob.connect(*alice.address) for _ in range(12)]
    assert alice.stats().tickets_offered <= 4
    assert bob.stats().tickets_held <= 4
    for connection in connections:
        works(connection)


def test_keys_change_under_traffic_and_both_sides_keep_up(
    alice: Endpoint, connection: Connection
) -> None:
    binding = connection.channel_binding
    payload = bytes(range(256)) * 4096
    for count in range(1, 6):
        connection.update_keys()
        assert connection.request(SERVICE_ECHO, payload) == payload
        assert connection.key_updates == count
        # The next change waits until the peer has confirmed this one, and for three probe times.
        eventually(lambda: _changeable(connection, payload), "the end of the change")
    assert connection.channel_binding == binding
    assert alice.stats().accepted == 1


def _changeable(connection: Connection, payload: bytes) -> bool | None:
    before = connection.key_updates
    connection.update_keys()
    assert connection.request(SERVICE_ECHO, payload) == payload
    return connection.key_updates > before or None
