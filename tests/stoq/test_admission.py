"""Who is let in, and that both sides learn why not."""

from __future__ import annotations

import hashlib
import secrets
import socket
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

from .network import HOUR_S, Network, eventually, lasting, owner_of, refusal_of


def refused(
    dialler: Endpoint, server: Endpoint, reason: type[errors.PeerRefused], alpn: str = ALPN_NODE
) -> None:
    """`dialler` is not admitted, and both sides say `reason`."""
    with pytest.raises(reason) as raised:
        dialler.connect(*server.address, alpn=alpn)
    refusal = refusal_of(server)
    assert type(refusal.error) is reason
    assert type(raised.value) is reason
    assert refusal.alpn == alpn
    # One side found it out, the other was told, in the same words.
    texts = {raised.value.why, refusal.error.why}
    assert len([why for why in texts if why.startswith("the other side says: ")]) == 1
    assert len({why.removeprefix("the other side says: ") for why in texts}) == 1
    assert server.stats().accepted == 0


def test_both_ends_know_each_other_and_the_channel(
    alice: Endpoint, connection: Connection, alice_keys: QuantumKeys, bob_keys: QuantumKeys
) -> None:
    assert connection.peer_id == alice_keys.id
    assert connection.peer_owner == owner_of(alice_keys)
    assert connection.alpn == ALPN_NODE
    assert connection.remote == alice.address
    assert connection.ended is None
    answer = connection.request(SERVICE_ECHO, b"hello")
    assert answer == b"hello"
    assert alice.stats().accepted == 1


def test_the_key_exchange_is_post_quantum(connection: Connection) -> None:
    assert connection.negotiated_group == KEY_EXCHANGE == "X25519MLKEM768"


@pytest.mark.parametrize("alpn", [ALPN_SESSION, ALPN_ENROL])
def test_the_key_exchange_is_post_quantum_on_every_protocol(
    alice: Endpoint, bob: Endpoint, alpn: str
) -> None:
    with bob.connect(*alice.address, alpn=alpn) as connection:
        assert connection.negotiated_group == "X25519MLKEM768"


def test_the_channel_binding_is_one_for_both_and_new_each_time(
    alice: Endpoint, bob: Endpoint
) -> None:
    with bob.connect(*alice.address) as first, bob.connect(*alice.address) as second:
        seen = []
        for connection in (first, second):
            stream = connection.open_stream(SERVICE_CONTROL)
            stream.write(b"x")
            request = alice.next_request(5000)
            assert request is not None
            assert request.channel_binding == connection.channel_binding
            seen.append(request.channel_binding)
        assert seen[0] != seen[1]
        assert all(len(binding) == 32 for binding in seen)


Wrong = Callable[[Network, QuantumKeys], Identity]


def _other_network(network: Network, keys: QuantumKeys) -> Identity:
    return network.identity(keys, genesis=secrets.token_bytes(32))


def _expired(network: Network, keys: QuantumKeys) -> Identity:
    return network.identity(keys, validity=lasting(-60))


def _early(network: Network, keys: QuantumKeys) -> Identity:
    validity = lasting(2 * HOUR_S)
    later = type(validity)(validity.not_after_s - HOUR_S, validity.not_after_s)
    return network.identity(keys, validity=later)


def _foreign(network: Network, keys: QuantumKeys) -> Identity:
    return Network.found().identity(keys, genesis=network.genesis)


def _self_signed(network: Network, keys: QuantumKeys) -> Identity:
    return Identity.of_keys(keys)


def _altered(network: Network, keys: QuantumKeys) -> Identity:
    leaf, *above = network.identity(keys).chain
    return Identity((leaf[:-1] + bytes([leaf[-1] ^ 1]), *above), keys)


WRONG = [
    (_other_network, errors.WrongNetwork),
    (_expired, errors.CertificateExpired),
    (_early, errors.CertificateNotYetValid),
    (_foreign, errors.UnknownIssuer),
    (_self_signed, errors.CertificateMalformed),
    (_altered, errors.CertificateSignatureWrong),
]


@pytest.mark.parametrize(("wrong", "reason"), WRONG)
def test_a_wrong_client_is_refused(
    network: Network,
    alice: Endpoint,
    bob_keys: QuantumKeys,
    wrong: Wrong,
    reason: type[errors.PeerRefused],
) -> None:
    identity = wrong(network, bob_keys)
    with Endpoint.bind(policy=network.policy, identity=identity) as bob:
        refused(bob, alice, reason)


@pytest.mark.parametrize(("wrong", "reason"), WRONG)
def test_a_wrong_server_is_refused(
    network: Network,
    bob: Endpoint,
    alice_keys: QuantumKeys,
    wrong: Wrong,
    reason: type[errors.PeerRefused],
) -> None:
    identity = wrong(network, alice_keys)
    with Endpoint.bind(policy=network.policy, identity=identity) as alice:
        refused(bob, alice, reason)


def test_a_revoked_client_is_refused(
    network: Network, alice: Endpoint, bob: Endpoint, bob_keys: QuantumKeys
) -> None:
    alice.set_policy(network.policy.with_revoked([bob_keys.id]))
    refused(bob, alice, errors.PeerRevoked)


def test_a_revoked_server_is_refused(
    network: Network, alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    bob.set_policy(network.policy.with_revoked([alice_keys.id]))
    refused(bob, alice, errors.PeerRevoked)


def test_revoking_a_client_ends_its_live_connections(
    network: Network,
    alice: Endpoint,
    connection: Connection,
    bob_keys: QuantumKeys,
) -> None:
    assert connection.request(SERVICE_ECHO, b"x") == b"x"
    alice.set_policy(network.policy.with_revoked([bob_keys.id]))
    with pytest.raises(errors.PeerRevoked, match="the other side says"):
        connection.request(SERVICE_ECHO, b"x")
    assert isinstance(connection.ended, errors.PeerRevoked)
    refusal = refusal_of(alice)
    assert isinstance(refusal.error, errors.PeerRevoked)
    assert refusal.peer == bob_keys.id
    eventually(lambda: alice.stats().connections == 0 or None, "no connection is left")


def test_revoking_a_server_ends_the_live_connections_to_it(
    network: Network,
    alice: Endpoint,
    bob: Endpoint,
    connection: Connection,
    alice_keys: QuantumKeys,
    bob_keys: QuantumKeys,
) -> None:
    bob.set_policy(network.policy.with_revoked([alice_keys.id]))
    with pytest.raises(errors.PeerRevoked):
        connection.request(SERVICE_ECHO, b"x")
    assert isinstance(connection.ended, errors.PeerRevoked)
    refusal = refusal_of(alice)
    assert isinstance(refusal.error, errors.PeerRevoked)
    assert refusal.peer == bob_keys.id


def test_revoking_one_leaves_the_others(
    network: Network, alice: Endpoint, connection: Connection
) -> None:
    alice.set_policy(network.policy.with_revoked([secrets.token_bytes(32)]))
    assert connection.request(SERVICE_ECHO, b"x") == b"x"


def test_a_revocation_can_be_taken_back(
    network: Network, alice: Endpoint, bob: Endpoint, bob_keys: QuantumKeys
) -> None:
    alice.set_policy(network.policy.with_revoked([bob_keys.id]))
    refused(bob, alice, errors.PeerRevoked)
    alice.set_policy(network.policy)
    with bob.connect(*alice.address) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"


def test_another_peer_than_the_one_asked_for_is_refused(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    # All 32 bytes count: the first 31 agree.
    wanted = alice_keys.id[:31] + bytes([alice_keys.id[31] ^ 1])
    with pytest.raises(errors.WrongPeer):
        bob.connect(*alice.address, peer=wanted)
    assert isinstance(refusal_of(alice).error, errors.WrongPeer)


def test_nobody_without_a_certificate_gets_in(network: Network, alice: Endpoint) -> None:
    with Endpoint.bind(policy=network.policy, identity=None) as nobody:
        refused(nobody, alice, errors.CertificateMissing)
        refused(nobody, alice, errors.CertificateMissing, ALPN_SESSION)


def test_a_session_is_known_by_its_keys(network: Network, alice: Endpoint) -> None:
    keys = QuantumKeys.generate()
    with (
        Endpoint.bind(policy=network.policy, identity=Identity.of_keys(keys)) as bearer,
        bearer.connect(*alice.address, alpn=ALPN_SESSION) as connection,
    ):
        stream = connection.open_stream(SERVICE_CONTROL)
        stream.write(b"x")
        request = alice.next_request(5000)
        assert request is not None
        assert (request.peer_id, request.peer_owner) == (keys.id, None)
        assert request.alpn == ALPN_SESSION


class TestEnrolment:
    def root_of(self, network: Network) -> bytes:
        return hashlib.sha256(network.root.certificate).digest()

    def test_a_stranger_reaches_the_network_its_token_names(
        self, network: Network, alice: Endpoint
    ) -> None:
        policy = TrustPolicy(network=network.genesis)
        with (
            Endpoint.bind(policy=policy, identity=None) as stranger,
            stranger.connect(
                *alice.address, alpn=ALPN_ENROL, root_sha256=self.root_of(network)
            ) as connection,
        ):
            stream = connection.open_stream(SERVICE_CONTROL)
            stream.write(b"x")
            request = alice.next_request(5000)
            assert request is not None
            assert (request.peer_id, request.peer_owner) == (None, None)
            assert request.channel_binding == connection.channel_binding

    def test_one_who_has_keys_proves_them(self, network: Network, alice: Endpoint) -> None:
        keys = QuantumKeys.generate()
        policy = TrustPolicy(network=network.genesis)
        with (
            Endpoint.bind(policy=policy, identity=Identity.of_keys(keys)) as stranger,
            stranger.connect(
                *alice.address, alpn=ALPN_ENROL, root_sha256=self.root_of(network)
            ) as connection,
        ):
            stream = connection.open_stream(SERVICE_CONTROL)
            stream.write(b"x")
            request = alice.next_request(5000)
            assert request is not None
            assert request.peer_id == keys.id

    def test_another_root_is_refused(self, network: Network, alice: Endpoint) -> None:
        policy = TrustPolicy(network=network.genesis)
        with Endpoint.bind(policy=policy, identity=None) as stranger:
            with pytest.raises(errors.UnknownIssuer):
                stranger.connect(*alice.address, alpn=ALPN_ENROL, root_sha256=bytes(32))
            assert isinstance(refusal_of(alice).error, errors.UnknownIssuer)

    def test_a_server_of_another_network_under_the_same_root_cannot_bind(
        self, network: Network, alice: Endpoint
    ) -> None:
        policy = TrustPolicy(network=secrets.token_bytes(32))
        with Endpoint.bind(policy=policy, identity=None) as stranger:
            with pytest.raises(errors.BindingFailed, match="FALCON"):
                stranger.connect(*alice.address, alpn=ALPN_ENROL, root_sha256=self.root_of(network))
            assert isinstance(refusal_of(alice).error, errors.BindingFailed)

    def test_a_pinned_root_counts_for_enrolment_only(
        self, network: Network, alice: Endpoint, bob_keys: QuantumKeys
    ) -> None:
        policy = TrustPolicy(network=network.genesis)
        with (
            Endpoint.bind(policy=policy, identity=network.identity(bob_keys)) as bob,
            pytest.raises(errors.UnknownIssuer),
        ):
            bob.connect(*alice.address, root_sha256=self.root_of(network))


def test_a_renewed_identity_counts_from_the_next_connection_on(
    network: Network, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    with Endpoint.bind(policy=network.policy, identity=_expired(network, alice_keys)) as alice:
        refused(bob, alice, errors.CertificateExpired)
        alice.set_identity(network.identity(alice_keys))
        with bob.connect(*alice.address, peer=alice_keys.id) as connection:
            assert connection.request(SERVICE_ECHO, b"x") == b"x"
            alice.set_identity(_expired(network, alice_keys))
            assert connection.request(SERVICE_ECHO, b"y") == b"y"


def test_an_endpoint_without_identity_accepts_nobody_until_it_has_one(
    network: Network, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    with Endpoint.bind(policy=network.policy, identity=None) as alice:
        with pytest.raises(errors.HandshakeTimeout):
            bob.connect(*alice.address, timeout_ms=300)
        alice.set_identity(network.identity(alice_keys))
        bob.connect(*alice.address).close()


def test_silence_is_a_handshake_timeout(bob: Endpoint) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as silent:
        silent.bind(("::1", 0))
        with pytest.raises(errors.HandshakeTimeout):
            bob.connect("::1", silent.getsockname()[1], timeout_ms=200)


def test_addresses_are_ipv6(network: Network, bob: Endpoint) -> None:
    with pytest.raises(errors.InvalidAddress):
        bob.connect("127.0.0.1", 1)
    with pytest.raises(errors.InvalidAddress):
        Endpoint.bind("0.0.0.0", policy=network.policy, identity=None)  # noqa: S104


def test_a_port_in_use_is_said_so(network: Network, alice: Endpoint) -> None:
    with pytest.raises(errors.BindRefused, match="in use"):
        Endpoint.bind(*alice.address, policy=network.policy, identity=None)


def test_keys_and_certificate_must_belong_together(
    network: Network, alice_keys: QuantumKeys, bob_keys: QuantumKeys
) -> None:
    chain = network.identity(alice_keys).chain
    with pytest.raises(errors.InvalidIdentity):
        Identity(chain, bob_keys)
    with pytest.raises(errors.InvalidIdentity):
        Identity((), bob_keys)
    with pytest.raises(errors.InvalidIdentity):
        Identity((b"no certificate",), bob_keys)
