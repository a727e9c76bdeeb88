"""Leases between nodes: by address alone, and every way in which one is refused."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator

import pytest

from hypermesh.stoq.errors import Fenced, GrantExpired, NoGrant
from hypermesh.wire.amount import AMOUNT_MAX
from hypermesh.wire.api.asset import AssetView
from hypermesh.wire.api.lease import LeaseView, SessionView
from hypermesh.wire.asset import AssetKind, LeaseState
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotFound
from hypermesh.wire.rpc import DescribeRequest, DescribeResponse
from hypermesh.wire.tx import LeaseOpen

from .network import Network, Node, call, dial, eventually, hm, output, problem, stoq

MIB = 1 << 20


def allocate(node: Node, asset: str, amount: int, duration_ms: int = 60_000) -> SessionView:
    """`PUT /assets/{id}/allocate` at `node`."""
    return node.ask(lambda m: m.leases.allocate(asset, amount, duration_ms=duration_ms))


def lease_of(node: Node, lease: str) -> LeaseView:
    return next(each for each in node.ask(lambda m: list(m.leases.list())) if each.lease == lease)


def balance(network: Network, node: Node) -> int:
    """Of the node's owner, as the sequencer's copy has it: the others may be a block behind."""
    owner = node.membership.owner.hex()
    return network.alice.ask(lambda m: m.accounts.get(owner)).balance


@pytest.fixture
def lent(network: Network) -> Iterator[SessionView]:
    """A MiB of carol's memory, leased by alice."""
    session = allocate(network.alice, network.carol.asset(AssetKind.MEMORY).asset, MIB)
    yield session
    network.alice.ask(lambda m: m.leases.release(session.lease))


def test_the_text_of_an_address_is_enough(network: Network) -> None:
    """Two processes that share nothing but an enrolled identity: one puts, the other gets."""
    address = network.carol.asset_address
    content = secrets.token_bytes(3 * MIB + 5)
    put = hm("memory", "put", address, "--output", "json", data=network.bob.data, stdin=content)
    lease = output(put)
    got = hm("memory", "get", address, data=network.bob.data)
    assert got.returncode == 0, problem(got)
    assert got.stdout == content
    before = balance(network, network.carol)
    done = hm("lease", "release", lease["lease"][:16], "--output", "json", data=network.bob.data)
    settled = output(done)
    assert settled["state"] == "settled"
    assert settled["paid"] + settled["fee"] + settled["refund"] == settled["escrow"]
    assert balance(network, network.carol) == before + settled["paid"]
    again = hm("memory", "get", address, data=network.bob.data)
    assert again.returncode == 5, problem(again)


@pytest.mark.parametrize(
    ("amount", "duration_ms", "code", "exit_code"),
    [
        pytest.param(0, 60_000, "HM-0002", 2, id="zero"),
        pytest.param(-1, 60_000, "HM-0002", 2, id="negative"),
        pytest.param(2**63, 60_000, "HM-0002", 2, id="beyond-an-integer"),
        pytest.param(1, 999, "HM-0002", 2, id="too-short"),
        pytest.param(1, 86_400_001, "HM-0002", 2, id="too-long"),
        pytest.param(AMOUNT_MAX, 60_000, "HM-TX-LEASE-0006", 8, id="more-than-there-is"),
        pytest.param(AMOUNT_MAX, 86_400_000, "HM-TX-LEASE-0006", 8, id="overflowing"),
    ],
)
@pytest.mark.parametrize("kind", [AssetKind.MEMORY, AssetKind.CPU])
def test_an_amount_that_cannot_be_is_refused(
    network: Network, kind: AssetKind, amount: int, duration_ms: int, code: str, exit_code: int
) -> None:
    asset = network.carol.asset(kind).asset
    before = balance(network, network.alice)
    with pytest.raises(HyperMeshError) as refused:
        allocate(network.alice, asset, amount, duration_ms)
    assert (refused.value.code, refused.value.exit_code) == (code, exit_code)
    assert refused.value.what
    assert balance(network, network.alice) == before


def test_more_than_is_free_is_refused(network: Network, lent: SessionView) -> None:
    asset = network.carol.asset(AssetKind.MEMORY)
    assert asset.free is not None
    assert asset.capacity is not None
    assert asset.free <= asset.capacity - lent.lease.amount
    with pytest.raises(HyperMeshError) as refused:
        allocate(network.bob, asset.asset, asset.free + 1)
    assert (refused.value.code, refused.value.exit_code) == ("HM-TX-LEASE-0006", 8)


def test_an_unknown_asset_is_not_found(network: Network) -> None:
    with pytest.raises(HyperMeshError) as refused:
        allocate(network.alice, "00" * 16, MIB)
    assert refused.value.exit_code == 5
    address = network.carol.asset_address
    place, _, port = address.rpartition(":")
    nowhere = f"{place[:-32]}{'0' * 32}:{port}"
    done = hm("memory", "get", nowhere, data=network.alice.data)
    assert done.returncode == 5, problem(done)


def test_another_owner_cannot_release_a_lease(network: Network, lent: SessionView) -> None:
    network.await_agreed()
    with pytest.raises(HyperMeshError) as refused:
        network.bob.ask(lambda m: m.leases.release(lent.lease))
    assert refused.value.exit_code == 4
    assert lease_of(network.alice, lent.lease.lease).state is LeaseState.ACTIVE


def test_keys_of_another_session_reach_nothing(network: Network, lent: SessionView) -> None:
    """Bob's own lease at carol does not open alice's region."""
    other = allocate(network.bob, network.carol.asset(AssetKind.MEMORY).asset, MIB)
    try:
        with network.bob.holding(other) as region:
            stolen = region.region.connection.region(bytes.fromhex(lent.lease.lease)[:16], 1)
            with pytest.raises(NoGrant):
                stolen.read(0, 8)
            assert region.read(0, 8) == bytes(8)
    finally:
        network.bob.ask(lambda m: m.leases.release(other.lease))


def test_a_lease_ends_by_itself_and_the_provider_is_paid(network: Network) -> None:
    before = balance(network, network.carol)
    session = allocate(network.alice, network.carol.asset(AssetKind.MEMORY).asset, MIB, 1000)
    with (
        network.alice.holding(session) as region,
        pytest.raises((GrantExpired, NoGrant, Fenced)),
    ):
        eventually(lambda: region.read(0, 8) == b"never", "the grant ends", 10)
    claimed = eventually(
        lambda: _in_state(network.alice, session, LeaseState.CLAIMED), "carol claims", 15
    )
    assert claimed.paid is not None
    assert claimed.paid > 0
    assert balance(network, network.carol) == before + claimed.paid


def _in_state(node: Node, session: SessionView, state: LeaseState) -> LeaseView | None:
    lease = lease_of(node, session.lease.lease)
    return lease if lease.state is state else None


def open_only(network: Network, consumer: Node, asset: AssetView, amount: int) -> str:
    """`lease.open` by a raw transaction, and nothing after it; the lease id."""
    asset_id = bytes.fromhex(asset.asset)
    with stoq(consumer.membership) as endpoint:
        answer = call(dial(endpoint, network.carol), "asset.describe", DescribeRequest(asset_id))
    offered = decode(DescribeResponse, answer)
    escrow = offered.offer.price.cost(amount, 60_000) + 1_000_000
    body = LeaseOpen(offered.offer, offered.offer_signature, amount, 60_000, escrow, bytes(32))
    opened = consumer.submit(body, attestation=offered.attestation)
    assert opened.code == "ok", opened
    return opened.tx


def test_a_reservation_that_nobody_activates_frees_itself(network: Network) -> None:
    asset = network.carol.asset(AssetKind.MEMORY)
    before = balance(network, network.bob)
    lease = open_only(network, network.bob, asset, MIB)
    reserved = lease_of(network.bob, lease)
    assert reserved.state is LeaseState.RESERVED
    assert balance(network, network.bob) == before - reserved.escrow

    expired = eventually(
        lambda: (
            found if (found := lease_of(network.bob, lease)).state is LeaseState.EXPIRED else None
        ),
        "the reservation expires",
        40,
    )
    assert (expired.refund, expired.paid, expired.fee) == (reserved.escrow, 0, 0)
    assert balance(network, network.bob) == before
    assert network.carol.asset(AssetKind.MEMORY).free == asset.free


def test_a_provider_that_stands_still_is_named_and_costs_nothing(network: Network) -> None:
    asset = network.carol.asset(AssetKind.MEMORY)
    before = balance(network, network.bob)
    network.carol.signal(signal.SIGSTOP)
    try:
        with pytest.raises(HyperMeshError) as refused:
            allocate(network.bob, asset.asset, MIB)
    finally:
        network.carol.signal(signal.SIGCONT)
    assert refused.value.exit_code == 7
    assert network.carol.id.hex()[:16] in str(refused.value)
    assert balance(network, network.bob) == before
    session = allocate(network.bob, asset.asset, MIB)
    network.bob.ask(lambda m: m.leases.release(session.lease))


def test_malformed_addresses_are_usage_errors(network: Network) -> None:
    for text in ("", "hm://", "http://localhost", network.carol.asset_address + "x"):
        done = hm("memory", "get", text, data=network.alice.data)
        assert done.returncode == 2, (text, problem(done))


def test_a_file_that_is_too_large_for_the_asset_is_refused(network: Network) -> None:
    with network.alice.mesh() as mesh, pytest.raises((NotFound, InvalidInput, HyperMeshError)):
        mesh.memory.lease(1 << 50)
