"""Two networks that let each other's nodes in: what is checked, what is served, when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint, Refusal
from hypermesh.stoq.trust import Agreed, TrustPolicy
from hypermesh.trustchain.certificate import Validity, cross_certificate, serial_number
from hypermesh.trustchain.federation import POLICY_REACH, node_name, zone
from hypermesh.wire.rpc import (
    ALPN_NODE,
    ALPN_PARTNER,
    SERVICE_CONTROL,
    SERVICE_ECHO,
    SERVICE_MEMORY,
    SERVICE_TRANSFER,
)

from .network import HOUR_S, Network, eventually, lasting

SERIAL = serial_number(b"c" * 19)
LONG_S = 30


def agreed(
    ours: Network,
    theirs: Network,
    *,
    names: list[str] | None = None,
    validity: Validity | None = None,
    ends_s: int | None = None,
    revoked: frozenset[bytes] = frozenset(),
) -> Agreed:
    """What lets nodes of `theirs` in at `ours`, all of them unless told."""
    cross = cross_certificate(
        theirs.issuing.certificate,
        ours.root,
        names or [zone(theirs.genesis)],
        [],
        [POLICY_REACH],
        validity or lasting(HOUR_S),
        SERIAL,
    )
    until = int(time.time()) + HOUR_S if ends_s is None else ends_s
    certificates = theirs.root.certificate, theirs.issuing.certificate
    return theirs.genesis, *certificates, cross, until, sorted(revoked)


def policy(
    ours: Network, *partners: Agreed, revoked: frozenset[bytes] = frozenset()
) -> TrustPolicy:
    return TrustPolicy(
        network=ours.genesis,
        roots=[ours.root.certificate],
        issuers=[ours.issuing.certificate],
        revoked=revoked,
        partners=partners,
    )


@pytest.fixture(scope="module")
def other() -> Network:
    return Network.found()


@pytest.fixture
def server(network: Network, other: Network, alice_keys: QuantumKeys) -> Iterator[Endpoint]:
    """Alice of the one network, which lets nodes of the other in."""
    listing = policy(network, agreed(network, other))
    with Endpoint.bind(policy=listing, identity=network.identity(alice_keys)) as endpoint:
        yield endpoint


@pytest.fixture
def visitor(network: Network, other: Network, bob_keys: QuantumKeys) -> Iterator[Endpoint]:
    """Bob of the other network, which lets nodes of the first in."""
    listing = policy(other, agreed(other, network))
    with Endpoint.bind(policy=listing, identity=other.identity(bob_keys)) as endpoint:
        yield endpoint


def dial(visitor: Endpoint, server: Endpoint) -> Connection:
    return visitor.connect(*server.address, alpn=ALPN_PARTNER, timeout_ms=LONG_S * 1000)


def refused(
    visitor: Endpoint, server: Endpoint, reason: type[errors.PeerRefused], alpn: str = ALPN_PARTNER
) -> None:
    with pytest.raises(reason):
        visitor.connect(*server.address, alpn=alpn, timeout_ms=LONG_S * 1000)

    def told() -> Refusal | None:
        """Of a connection that was not let in: one that is cut off is reported without protocol."""
        return next((each for each in server.refusals() if each.alpn == alpn), None)

    assert type(eventually(told, "the refusal is reported", LONG_S).error) is reason


def test_nodes_of_two_networks_meet_on_a_protocol_of_their_own(
    server: Endpoint, visitor: Endpoint, alice_keys: QuantumKeys
) -> None:
    with dial(visitor, server) as connection:
        assert connection.alpn == ALPN_PARTNER
        assert connection.peer_id == alice_keys.id
        assert connection.request(SERVICE_ECHO, b"hello") == b"hello"
    refused(visitor, server, errors.WrongNetwork, ALPN_NODE)


def test_a_call_says_which_network_it_comes_from(
    other: Network, server: Endpoint, visitor: Endpoint, bob_keys: QuantumKeys
) -> None:
    with dial(visitor, server) as connection, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(connection.request, SERVICE_CONTROL, b"?", timeout_ms=LONG_S * 1000)
        request = server.next_request(LONG_S * 1000)
        assert request is not None
        assert (request.peer_id, request.peer_network) == (bob_keys.id, other.genesis)
        assert request.alpn == ALPN_PARTNER
        request.reply(b"!")
        assert answer.result(LONG_S) == b"!"


def test_nothing_else_is_served(server: Endpoint, visitor: Endpoint) -> None:
    with dial(visitor, server) as connection:
        for service in (SERVICE_MEMORY, SERVICE_TRANSFER, 9):
            with pytest.raises(errors.NotForPartners, match=f"service {service}"):
                connection.request(service, b"x", timeout_ms=LONG_S * 1000)
        for service in (SERVICE_TRANSFER, SERVICE_ECHO, SERVICE_CONTROL):
            stream = connection.open_stream(service)
            stream.write(b"x")
            with pytest.raises(errors.NotForPartners):
                stream.read(1, timeout_ms=LONG_S * 1000)
        assert connection.request(SERVICE_ECHO, b"still") == b"still"
    assert server.next_request(0) is None


def test_both_networks_must_list_the_other(
    network: Network, other: Network, server: Endpoint, bob_keys: QuantumKeys
) -> None:
    with Endpoint.bind(policy=policy(other), identity=other.identity(bob_keys)) as alone:
        refused(alone, server, errors.WrongNetwork)
    server.set_policy(policy(network))
    listing = policy(other, agreed(other, network))
    with Endpoint.bind(policy=listing, identity=other.identity(bob_keys)) as endpoint:
        refused(endpoint, server, errors.WrongNetwork)


def test_a_name_that_was_not_agreed_on_is_refused(
    network: Network, other: Network, server: Endpoint, visitor: Endpoint, bob_keys: QuantumKeys
) -> None:
    name = node_name(bob_keys.id, other.genesis)
    server.set_policy(policy(network, agreed(network, other, names=[name])))
    with dial(visitor, server) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
    elsewhere = [f"{'00' * 8}.{zone(other.genesis)}"]
    server.set_policy(policy(network, agreed(network, other, names=elsewhere)))
    refused(visitor, server, errors.NameForbidden)


def test_what_is_over_or_of_another_root_is_refused(
    network: Network, other: Network, server: Endpoint, visitor: Endpoint
) -> None:
    past = int(time.time()) - 1
    third = Network.found()
    for terms, reason in (
        (agreed(network, other, ends_s=past), errors.CertificateExpired),
        (agreed(network, other, validity=lasting(-60)), errors.CertificateExpired),
        (agreed(third, other), errors.CertificateSignatureWrong),
    ):
        server.set_policy(policy(network, terms))
        refused(visitor, server, reason)


@pytest.mark.parametrize("how", ["dropped", "narrowed", "revoked", "revoked there"])
def test_what_ends_it_cuts_connections_off(
    network: Network,
    other: Network,
    server: Endpoint,
    visitor: Endpoint,
    bob_keys: QuantumKeys,
    how: str,
) -> None:
    terms = agreed(network, other)
    after, reason = {
        "dropped": (policy(network), errors.WrongNetwork),
        "narrowed": (
            policy(network, agreed(network, other, names=[f"{'00' * 8}.{zone(other.genesis)}"])),
            errors.WrongNetwork,
        ),
        "revoked": (
            policy(network, terms, revoked=frozenset({bob_keys.id})),
            errors.PeerRevoked,
        ),
        "revoked there": (
            policy(
                network,
                (*terms[:5], [bob_keys.id]),
            ),
            errors.PeerRevoked,
        ),
    }[how]
    server.set_policy(policy(network, terms))
    with dial(visitor, server) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
        server.set_policy(policy(network, terms))
        assert connection.request(SERVICE_ECHO, b"x") == b"x", "the same policy ends nothing"
        server.set_policy(policy(network, (*terms[:5], [bytes(32)])))
        assert connection.request(SERVICE_ECHO, b"x") == b"x", "others are revoked"
        server.set_policy(after)
        ended = eventually(lambda: connection.ended, "the connection is cut off", LONG_S)
        assert isinstance(ended, reason)
        cut = eventually(lambda: server.refusals() or None, "it is reported", LONG_S)
        assert [type(each.error) for each in cut] == [reason]
    again = {"narrowed": errors.NameForbidden}.get(how, reason)
    refused(visitor, server, again)


def test_it_leaves_no_ticket(server: Endpoint, visitor: Endpoint) -> None:
    for _ in range(2):
        connection, answer = visitor.connect_and_request(
            *server.address, SERVICE_ECHO, b"x", alpn=ALPN_PARTNER, timeout_ms=LONG_S * 1000
        )
        with connection:
            assert answer == b"x"
            assert not connection.resumed
            assert not connection.early
    assert server.stats().tickets_offered == 0
    assert visitor.stats().tickets_held == 0


def test_admissions_are_noted_once_asked_for(
    other: Network,
    server: Endpoint,
    visitor: Endpoint,
    alice_keys: QuantumKeys,
    bob_keys: QuantumKeys,
) -> None:
    with dial(visitor, server):
        assert server.admissions() == ([], 0)
    server.keep_admissions(2)
    visitor.keep_admissions(8)
    for _ in range(3):
        with dial(visitor, server) as connection:
            assert connection.request(SERVICE_ECHO, b"x") == b"x"
    noted, missed = server.admissions()
    assert (len(noted), missed) == (2, 1)
    last = noted[-1]
    assert (last.peer, last.network, last.alpn) == (bob_keys.id, other.genesis, ALPN_PARTNER)
    assert not last.opened
    assert len(last.chain) == 1, "the leaf alone: the rest is in the policy"
    theirs, missed = visitor.admissions()
    assert ([each.peer for each in theirs], missed) == ([alice_keys.id] * 3, 0)
    assert all(each.opened for each in theirs)
    assert server.admissions() == ([], 0)
