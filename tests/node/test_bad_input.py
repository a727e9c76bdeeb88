"""What strangers, members and bearers of leases may send wrongly, on every protocol that a node
speaks. Each gets a typed answer, and the node stays up."""

from __future__ import annotations

import secrets
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypermesh.assets.lease import UnknownLease
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import sign
from hypermesh.ledger.kernel import NonceNotNext, SignatureRefused, WrongGenesis
from hypermesh.node.locators import NoLocator
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.errors import NoGrant, PeerRefused, TooLarge
from hypermesh.trustchain.ca.invitations import InvitationUnknown, InvitationUsed
from hypermesh.trustchain.enrolment import ProofRefused, enrol_request, renewal_request
from hypermesh.trustchain.invitation import InvitationExpired, InvitationUnreadable, parse
from hypermesh.wire.asset import Locator
from hypermesh.wire.codec import SIZE_MAX, Undecodable, decode, encode
from hypermesh.wire.errors import Forbidden, HyperMeshError, InvalidInput, NotFound
from hypermesh.wire.rpc import (
    ALPN_ENROL,
    ALPN_NODE,
    ALPN_SESSION,
    SERVICE_CONTROL,
    SERVICE_JOB,
    BlocksRequest,
    Call,
    DescribeRequest,
    JobLimits,
    JobRequest,
    LeaseRequest,
    ResolveRequest,
    SignedLocator,
    SubmitResponse,
)
from hypermesh.wire.tx import BankTransfer, SignedTransaction

from .network import Network, call, dial, hm, problem, ready, replaced, stoq

METHODS = {
    "ledger.submit": ALPN_NODE,
    "ledger.blocks": ALPN_NODE,
    "locator.publish": ALPN_NODE,
    "locator.resolve": ALPN_NODE,
    "asset.inspect": ALPN_NODE,
    "asset.describe": ALPN_NODE,
    "lease.activate": ALPN_NODE,
    "lease.receipt": ALPN_NODE,
    "certificate.logged": ALPN_NODE,
    "log.prove": ALPN_NODE,
    "log.cosign": ALPN_NODE,
    "log.cosigned": ALPN_NODE,
    "log.read": ALPN_NODE,
    "job.run": ALPN_SESSION,
    "enrol.request": ALPN_ENROL,
    "enrol.renew": ALPN_ENROL,
    "partner.introduction": ALPN_ENROL,
}
ALPNS = (ALPN_NODE, ALPN_ENROL, ALPN_SESSION)


@pytest.fixture(autouse=True)
def stays_up(network: Network) -> Iterator[None]:
    """After whatever a test sent, every node is ready and has failed on nothing."""
    yield
    for node in network.nodes.values():
        assert ready(node), node.name
        assert "Traceback" not in node.log


@pytest.fixture(scope="module")
def connections(network: Network) -> Iterator[dict[str, Connection]]:
    """To alice, over each protocol: as bob, as someone who would enrol, as a bearer of a lease."""
    membership = network.bob.membership
    with (
        stoq(membership) as member,
        stoq(membership, certified=False, keys=QuantumKeys.generate()) as stranger,
    ):
        yield {
            ALPN_NODE: dial(member, network.alice, ALPN_NODE),
            ALPN_ENROL: dial(stranger, network.alice, ALPN_ENROL),
            ALPN_SESSION: dial(stranger, network.alice, ALPN_SESSION),
        }


@pytest.mark.parametrize(
    ("method", "alpn"),
    [(method, alpn) for method, right in METHODS.items() for alpn in ALPNS if alpn != right],
)
def test_a_method_answers_on_its_own_protocol_only(
    connections: dict[str, Connection], method: str, alpn: str
) -> None:
    with pytest.raises(Forbidden) as refused:
        call(connections[alpn], method, None)
    assert alpn in str(refused.value)


@pytest.mark.parametrize("alpn", ALPNS)
@pytest.mark.parametrize("method", ["", "ledger", "ledger.Submit", "x" * 64])
def test_an_unknown_method_is_said_to_be_unknown(
    connections: dict[str, Connection], alpn: str, method: str
) -> None:
    with pytest.raises((NotFound, Undecodable)):
        call(connections[alpn], method, None)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "argument",
    [b"", b"\xc1", b"\x91", b"\x90", b"\xc0", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000],
    ids=["empty", "reserved", "truncated", "no-fields", "nil", "four-billion", "deep"],
)
def test_a_malformed_argument_is_refused(
    connections: dict[str, Connection], method: str, argument: bytes
) -> None:
    with pytest.raises(Undecodable):
        call(connections[METHODS[method]], method, argument)


@pytest.mark.parametrize("alpn", ALPNS)
def test_bytes_that_are_no_call_are_refused(connections: dict[str, Connection], alpn: str) -> None:
    whole = encode(Call("ledger.blocks", encode(BlocksRequest(1, 1, 0))))
    for body in (b"", b"\x00", whole[:-1], whole + b"\x00", b"\x92\xa1x\xc4\x7f"):
        with pytest.raises(InvalidInput):
            connections[alpn].request(SERVICE_CONTROL, body, timeout_ms=10_000)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=st.binary(max_size=300), alpn=st.sampled_from(ALPNS))
def test_no_bytes_at_all_bring_a_node_down(
    connections: dict[str, Connection], body: bytes, alpn: str
) -> None:
    with pytest.raises(HyperMeshError):
        connections[alpn].request(SERVICE_CONTROL, body, timeout_ms=10_000)


@pytest.mark.parametrize("alpn", ALPNS)
def test_an_oversized_message_is_refused(connections: dict[str, Connection], alpn: str) -> None:
    with pytest.raises((TooLarge, Undecodable)):
        connections[alpn].request(SERVICE_CONTROL, bytes(SIZE_MAX + 1), timeout_ms=20_000)
    with pytest.raises((TooLarge, Undecodable)):
        connections[alpn].request(SERVICE_CONTROL, b"\x91" * (SIZE_MAX - 64), timeout_ms=20_000)


@pytest.mark.parametrize("alpn", ALPNS)
def test_an_unknown_service_is_said_to_be_unknown(
    connections: dict[str, Connection], alpn: str
) -> None:
    with pytest.raises(HyperMeshError) as refused:
        connections[alpn].request(4242, b"x", timeout_ms=10_000)
    assert isinstance(refused.value, NotFound | Forbidden)


@pytest.mark.parametrize("alpn", [ALPN_NODE, ALPN_SESSION])
def test_memory_that_was_not_leased_is_not_granted(
    connections: dict[str, Connection], alpn: str
) -> None:
    region = connections[alpn].region(secrets.token_bytes(16), 1)
    with pytest.raises(NoGrant):
        region.read(0, 8)
    with pytest.raises(NoGrant):
        region.write(0, b"12345678")
    with pytest.raises(NoGrant):
        region.compare_and_swap(0, 0, 1)


@pytest.mark.parametrize(
    "request_",
    [
        BlocksRequest(0, 1, 0),
        BlocksRequest(-1, 1, 0),
        BlocksRequest(1, 0, 0),
        BlocksRequest(1, 257, 0),
        BlocksRequest(1, 1, 30_001),
        BlocksRequest(2**63, 1, 0),
    ],
    ids=str,
)
def test_a_request_for_blocks_out_of_bounds_is_refused(
    connections: dict[str, Connection], request_: BlocksRequest
) -> None:
    with pytest.raises(Undecodable):
        call(connections[ALPN_NODE], "ledger.blocks", request_)


def test_unknown_ids_are_not_found(connections: dict[str, Connection]) -> None:
    connection = connections[ALPN_NODE]
    for method in ("asset.describe", "asset.inspect"):
        with pytest.raises(NotFound):
            call(connection, method, DescribeRequest(bytes(16)))
    for method in ("lease.activate", "lease.receipt"):
        with pytest.raises(UnknownLease):
            call(connection, method, LeaseRequest(bytes(32), 0))
    with pytest.raises(NoLocator):
        call(connection, "locator.resolve", ResolveRequest(bytes(8)))


def test_a_job_without_a_lease_is_refused(
    network: Network, connections: dict[str, Connection]
) -> None:
    limits = JobLimits(100, 64 << 20, 1000, 1000)
    job = JobRequest(bytes(32), 1, "python", b"print(1)", [], b"", limits)
    with pytest.raises(UnknownLease):
        call(connections[ALPN_SESSION], "job.run", job, SERVICE_JOB)


# Replays and forgeries


def transfer(network: Network, nonce: int = -1) -> bytes:
    """A transaction of bob's, signed and not sent."""
    body = BankTransfer(network.carol.membership.owner, 1, "")
    with network.bob.mesh() as mesh:
        return network.bob.signed(mesh, body, network.bob.membership.keys, nonce=nonce)


def test_a_replayed_transaction_is_applied_once(
    network: Network, connections: dict[str, Connection]
) -> None:
    """Whoever replays it, and over whatever connection, gets the result of the first."""
    entry = transfer(network)
    owner = network.carol.membership.owner.hex()
    before = network.alice.ask(lambda m: m.accounts.get(owner)).balance
    first = decode(SubmitResponse, call(connections[ALPN_NODE], "ledger.submit", entry))
    with stoq(network.carol.membership) as endpoint:
        again = call(dial(endpoint, network.alice), "ledger.submit", entry)
    repeated = decode(SubmitResponse, again)
    assert (repeated.height, repeated.index, repeated.result) == (
        first.height,
        first.index,
        first.result,
    )
    assert network.alice.ask(lambda m: m.accounts.get(owner)).balance == before + 1


def test_forged_transactions_are_refused(
    network: Network, connections: dict[str, Connection]
) -> None:
    connection = connections[ALPN_NODE]
    signed = decode(SignedTransaction, transfer(network))
    more = replaced(
        signed,
        transaction=replaced(
            signed.transaction, body=replaced(signed.transaction.body, amount=1_000_000)
        ),
    )
    elsewhere = replaced(signed, transaction=replaced(signed.transaction, genesis=bytes(32)))
    ahead = decode(SignedTransaction, transfer(network, nonce=10_000))
    for forged, error in (
        (more, SignatureRefused),
        (elsewhere, WrongGenesis),
        (ahead, NonceNotNext),
    ):
        with pytest.raises(error):
            call(connection, "ledger.submit", forged)


def test_a_node_cannot_publish_the_place_of_another(
    network: Network, connections: dict[str, Connection]
) -> None:
    genesis = network.bob.membership.genesis_id
    keys = network.bob.membership.keys
    own = Locator(keys.id, ["::1"], 1, 2**52, 2**52, "bob")
    stolen = replaced(own, node=network.carol.id)
    for locator, keys_ in ((stolen, keys), (own, network.carol.membership.keys)):
        record = SignedLocator(locator, sign(keys_, "locator", genesis, encode(locator)))
        with pytest.raises(HyperMeshError) as refused:
            call(connections[ALPN_NODE], "locator.publish", record)
        assert refused.value.status in (400, 403, 422)


@pytest.mark.parametrize(
    "changes",
    [
        {"hosts": ["victim.example"]},
        {"hosts": ["::1", "ff02::1"]},
        {"hosts": ["::ffff:192.0.2.1"]},
        {"hosts": ["::1", "::ffff:127.0.0.1"]},
        {"hosts": ["::1", "0::1", "::1", "::1"]},
        {"name": "bob\x1b]0;root\x07"},
    ],
)
def test_a_node_cannot_send_others_anywhere(
    network: Network, connections: dict[str, Connection], changes: dict[str, object]
) -> None:
    keys, genesis = network.bob.membership.keys, network.bob.membership.genesis_id
    locator = replaced(Locator(keys.id, ["::1"], 1, 2**52, 2**52, "bob"), **changes)
    record = SignedLocator(locator, sign(keys, "locator", genesis, encode(locator)))
    with pytest.raises(InvalidInput):
        call(connections[ALPN_NODE], "locator.publish", record)


def test_an_enrolment_is_worthless_on_another_connection(network: Network) -> None:
    invitation = parse(network.invite())
    keys, owner = QuantumKeys.generate(), QuantumKeys.generate()
    with stoq(network.bob.membership, certified=False, keys=keys) as endpoint:
        first = dial(endpoint, network.alice, ALPN_ENROL)
        captured = enrol_request(invitation, first.channel_binding, keys, owner)
        second = dial(endpoint, network.alice, ALPN_ENROL)
        with pytest.raises(ProofRefused):
            call(second, "enrol.request", captured)
    with (
        stoq(network.bob.membership, certified=False, keys=QuantumKeys.generate()) as endpoint,
        pytest.raises(ProofRefused),
    ):
        call(dial(endpoint, network.alice, ALPN_ENROL), "enrol.request", captured)


def test_a_renewal_is_for_members_only(network: Network) -> None:
    keys = QuantumKeys.generate()
    genesis = network.bob.membership.genesis_id
    with stoq(network.bob.membership, certified=False, keys=keys) as endpoint:
        connection = dial(endpoint, network.alice, ALPN_ENROL)
        request = renewal_request(genesis, connection.channel_binding, keys)
        with pytest.raises(HyperMeshError) as refused:
            call(connection, "enrol.renew", request)
        assert refused.value.code.startswith("HM-TRUST-")


def test_a_token_is_good_once(network: Network) -> None:
    """The same machine may repeat itself; another one is told that the token was used."""
    invitation = parse(network.invite())
    owner = QuantumKeys.generate()
    first, second = QuantumKeys.generate(), QuantumKeys.generate()
    chains = []
    for _ in range(2):
        with stoq(network.bob.membership, certified=False, keys=first) as endpoint:
            connection = dial(endpoint, network.alice, ALPN_ENROL)
            request = enrol_request(invitation, connection.channel_binding, first, owner)
            chains.append(call(connection, "enrol.request", request))
    assert chains[0] == chains[1]
    with stoq(network.bob.membership, certified=False, keys=second) as endpoint:
        connection = dial(endpoint, network.alice, ALPN_ENROL)
        request = enrol_request(invitation, connection.channel_binding, second, owner)
        with pytest.raises(InvitationUsed):
            call(connection, "enrol.request", request)


def test_a_token_that_nobody_made_is_unknown(network: Network) -> None:
    invitation = replaced(parse(network.invite()), secret=secrets.token_bytes(16))
    keys = QuantumKeys.generate()
    with stoq(network.bob.membership, certified=False, keys=keys) as endpoint:
        connection = dial(endpoint, network.alice, ALPN_ENROL)
        request = enrol_request(
            invitation, connection.channel_binding, keys, QuantumKeys.generate()
        )
        with pytest.raises(InvitationUnknown):
            call(connection, "enrol.request", request)


def test_an_expired_token_is_refused_on_both_sides(network: Network, tmp_path: Path) -> None:
    token = network.invite()
    invitation = parse(token)
    stale = str(replaced(invitation, expires_s=1_000_000_000))
    done = hm("join", stale, data=tmp_path)
    assert InvitationExpired.code in problem(done)
    assert "hm invite" in problem(done)

    # A joining machine whose own clock is wrong: the authority's decides.
    with sqlite3.connect(network.alice.data / "invitations.sqlite", timeout=10) as database:
        database.execute("UPDATE invitations SET expires_s = 1000000000 WHERE request IS NULL")
    database.close()
    keys = QuantumKeys.generate()
    with stoq(network.bob.membership, certified=False, keys=keys) as endpoint:
        connection = dial(endpoint, network.alice, ALPN_ENROL)
        request = enrol_request(
            invitation, connection.channel_binding, keys, QuantumKeys.generate()
        )
        with pytest.raises((InvitationExpired, InvitationUnknown)):
            call(connection, "enrol.request", request)


@pytest.mark.parametrize(
    "spoil",
    [lambda token: token[:-9], lambda token: f"{token}a", lambda token: token[:4], str.upper],
    ids=["cut", "longer", "empty", "upper-case"],
)
def test_a_spoiled_token_is_unreadable(
    network: Network, tmp_path: Path, spoil: Callable[[str], str]
) -> None:
    done = hm("join", spoil(network.invite()), data=tmp_path)
    assert InvitationUnreadable.code in problem(done)
    assert done.returncode == 2


# Before any call


def test_keys_without_a_certificate_are_no_member(network: Network) -> None:
    with (
        stoq(network.bob.membership, certified=False) as endpoint,
        pytest.raises(PeerRefused),
    ):
        dial(endpoint, network.alice, ALPN_NODE)


def test_garbage_on_the_socket_is_ignored(network: Network) -> None:
    port = network.alice.configuration.settings.stoq_port
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as garbage:
        for size in (0, 1, 20, 1200, 1472, 60_000):
            for first in (b"\x00", b"\x40", b"\xc0", b"\xff"):
                garbage.sendto((first + secrets.token_bytes(size))[: size or 1], ("::1", port))
