"""Certificate chains on connections: a leaf alone to whoever holds the rest, whole chains to
others, and signatures that are known from before."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections.abc import Callable

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.trustchain.certificate import (
    SERIAL_ENTROPY_BYTES,
    Validity,
    issuing_certificate,
    serial_number,
)
from hypermesh.wire.rpc import ALPN_ENROL, ALPN_NODE, ALPN_SESSION, SERVICE_ECHO

from .network import HOUR_S, Network, lasting, owner_of


def answers(dialler: Endpoint, server: Endpoint) -> None:
    with dialler.connect(*server.address) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"


def leaf_of(network: Network, keys: QuantumKeys) -> Identity:
    """A node that has nothing but its leaf to send."""
    return Identity(network.identity(keys).chain[:1], keys)


def below(network: Network, *issuers: bytes) -> TrustPolicy:
    return TrustPolicy(network=network.genesis, roots=[network.root.certificate], issuers=issuers)


@pytest.mark.parametrize("alpn", [ALPN_NODE, ALPN_SESSION])
def test_a_leaf_alone_is_enough_for_who_holds_the_rest(
    network: Network, alice_keys: QuantumKeys, bob_keys: QuantumKeys, alpn: str
) -> None:
    with (
        Endpoint.bind(policy=network.policy, identity=leaf_of(network, alice_keys)) as alice,
        Endpoint.bind(policy=network.policy, identity=leaf_of(network, bob_keys)) as bob,
        bob.connect(*alice.address, alpn=alpn) as connection,
    ):
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
        assert connection.peer_id == alice_keys.id
        assert connection.peer_owner == owner_of(alice_keys)


def test_who_joins_is_sent_the_whole_chain(
    network: Network, alice: Endpoint, alice_keys: QuantumKeys
) -> None:
    root = hashlib.sha256(network.root.certificate).digest()
    policy = TrustPolicy(network=network.genesis)
    with (
        Endpoint.bind(policy=network.policy, identity=leaf_of(network, alice_keys)) as short,
        Endpoint.bind(policy=policy, identity=None) as stranger,
    ):
        with pytest.raises(errors.CertificateMalformed):
            stranger.connect(*short.address, alpn=ALPN_ENROL, root_sha256=root)
        with stranger.connect(*alice.address, alpn=ALPN_ENROL, root_sha256=root) as connection:
            assert connection.peer_id == alice_keys.id


def reissued(network: Network, validity: Validity) -> bytes:
    """Another certificate of the same issuer."""
    serial = serial_number(secrets.token_bytes(SERIAL_ENTROPY_BYTES))
    return issuing_certificate(network.issuing.keys, network.root, "test", validity, serial)


@pytest.mark.parametrize("place", [0, 1])
def test_of_two_certificates_of_an_issuer_one_must_hold(
    network: Network, alice: Endpoint, bob: Endpoint, place: int
) -> None:
    expired = reissued(network, lasting(-60))
    issuers = [network.issuing.certificate]
    issuers.insert(place, expired)
    for endpoint in (alice, bob):
        endpoint.set_policy(below(network, *issuers))
    answers(bob, alice)
    bob.set_policy(below(network, expired))
    with pytest.raises(errors.CertificateExpired):
        bob.connect(*alice.address)


def test_an_issuer_elsewhere_with_the_same_name_is_unknown(
    network: Network, alice: Endpoint, bob_keys: QuantumKeys
) -> None:
    foreign = dataclasses.replace(Network.found(), genesis=network.genesis)
    both = TrustPolicy(
        network=network.genesis,
        roots=[network.root.certificate, foreign.root.certificate],
        issuers=[network.issuing.certificate, foreign.issuing.certificate],
    )
    with Endpoint.bind(policy=both, identity=foreign.identity(bob_keys)) as bob:
        with pytest.raises(errors.UnknownIssuer):
            bob.connect(*alice.address)
        alice.set_policy(both)
        answers(bob, alice)


Change = Callable[[Network, bytes], TrustPolicy]
CHANGES: list[tuple[Change, type[errors.PeerRefused]]] = [
    (lambda network, peer: network.policy.with_revoked([peer]), errors.PeerRevoked),
    (lambda network, _: below(network), errors.UnknownIssuer),
    (
        lambda network, _: TrustPolicy(
            network=network.genesis, issuers=[network.issuing.certificate]
        ),
        errors.UnknownIssuer,
    ),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_a_peer_that_is_known_is_judged_by_the_policy_of_now(
    network: Network,
    alice: Endpoint,
    bob: Endpoint,
    alice_keys: QuantumKeys,
    bob_keys: QuantumKeys,
    change: Change,
    reason: type[errors.PeerRefused],
) -> None:
    answers(bob, alice)
    for endpoint, peer in [(alice, bob_keys), (bob, alice_keys)]:
        endpoint.set_policy(change(network, peer.id))
        with pytest.raises(reason):
            bob.connect(*alice.address)
        endpoint.set_policy(network.policy)
    answers(bob, alice)


def test_a_known_issuer_does_not_make_an_old_leaf_young(
    network: Network, alice: Endpoint, bob: Endpoint, bob_keys: QuantumKeys
) -> None:
    answers(bob, alice)
    bob.set_identity(network.identity(bob_keys, validity=lasting(-60)))
    # Twice, and the second time its signatures are known.
    for _ in range(2):
        with pytest.raises(errors.CertificateExpired):
            bob.connect(*alice.address)
    bob.set_identity(network.identity(bob_keys, validity=lasting(HOUR_S)))
    answers(bob, alice)
