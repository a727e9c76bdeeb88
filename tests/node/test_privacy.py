"""The five levels through real nodes: who may discover, and who may lease.

Alice hosts and founds. Who asks: desk, another node of alice's own; bob, whose node the audience
names; carol, a stranger of the same network; mallory, a node that was revoked.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hypermesh.assets.privacy import AccessRefused
from hypermesh.stoq.errors import PeerRevoked
from hypermesh.wire.api.asset import AssetView
from hypermesh.wire.api.privacy import PrivacyChange, PrivacyView
from hypermesh.wire.asset import AssetKind, PrivacyLevel
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.tx import IdentityRevoke

from .network import Network, eventually
from .test_leases import MIB, allocate

ALLOWED = {
    PrivacyLevel.PRIVATE: {"desk"},
    PrivacyLevel.PRIVATE_NETWORK: {"desk", "bob", "carol"},
    PrivacyLevel.P2P: {"desk", "bob"},
    PrivacyLevel.PUBLIC_NETWORK: {"desk", "bob", "carol"},
    PrivacyLevel.FULL_PUBLIC: {"desk", "bob", "carol"},
}
NO_NETWORK = {
    PrivacyLevel.PRIVATE_NETWORK: {"desk"},
    PrivacyLevel.PUBLIC_NETWORK: {"desk"},
}
WHO = ("desk", "bob", "carol", "mallory")


@pytest.fixture(scope="module")
def neighbourhood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = Network(tmp_path_factory.mktemp("p"))
    try:
        network.found("bob", "carol", "mallory")
        network.add("desk").start(network.invite(mine=True))
        network.await_acquainted()
        assert network["desk"].membership.owner == network.alice.membership.owner
        body = IdentityRevoke(network["mallory"].id, "a test")
        revoked = network.alice.submit(body, network.alice.owner_keys)
        assert revoked.code == "ok"
        yield network
    finally:
        network.end()


def share(network: Network, level: PrivacyLevel, *, named: bool = True) -> str:
    """Bring alice's memory to `level`, known everywhere; its id."""
    asset = network.alice.asset(AssetKind.MEMORY).asset
    genesis = network.alice.membership.genesis_id.hex()
    change = PrivacyChange(
        asset=asset,
        level=level,
        nodes=[network.bob.id.hex()] if named else [],
        networks=[genesis] if named else [],
    )
    network.alice.ask(lambda m: m.rest.request(PrivacyView, "PUT", "/privacy/level", change))
    height = network.alice.ask(lambda m: m.status()).height
    for name in ("desk", "bob", "carol"):
        eventually(lambda: network[name].ask(lambda m: m.status()).height >= height, "the block")  # noqa: B023
    return asset


def discovers(network: Network, who: str, asset: str) -> bool:
    """Whether `who` learns what the asset is, by asking for it."""
    path = f"/assets/{asset}"
    try:
        found = network[who].ask(lambda m: m.rest.request(AssetView, "GET", path))
    except AccessRefused:
        return False
    return found.capacity is not None and found.free is not None


def lists(network: Network, who: str, asset: str) -> bool:
    """Whether `who` finds the asset among those it may discover."""
    return asset in {each.asset for each in network[who].ask(lambda m: m.assets())}


def leases(network: Network, who: str, asset: str) -> bool:
    try:
        session = allocate(network[who], asset, MIB)
    except (AccessRefused, PeerRevoked):
        return False
    network[who].ask(lambda m: m.release(session.lease))
    return True


@pytest.mark.parametrize("level", list(PrivacyLevel))
def test_a_level_lets_in_whom_it_names(neighbourhood: Network, level: PrivacyLevel) -> None:
    asset = share(neighbourhood, level)
    for who in ("desk", "bob", "carol"):
        allowed = who in ALLOWED[level]
        seen = discovers(neighbourhood, who, asset), leases(neighbourhood, who, asset)
        assert seen == (allowed, allowed), (level, who)
        assert lists(neighbourhood, who, asset) == allowed, (level, who)


@pytest.mark.parametrize("level", sorted(NO_NETWORK))
def test_an_audience_that_names_nobody_lets_nobody_in(
    neighbourhood: Network, level: PrivacyLevel
) -> None:
    asset = share(neighbourhood, level, named=False)
    for who in ("desk", "bob", "carol"):
        allowed = who in NO_NETWORK[level]
        seen = discovers(neighbourhood, who, asset), leases(neighbourhood, who, asset)
        assert seen == (allowed, allowed), (level, who)


@pytest.mark.parametrize("level", list(PrivacyLevel))
def test_a_revoked_node_leases_nothing(neighbourhood: Network, level: PrivacyLevel) -> None:
    asset = share(neighbourhood, level)
    assert not leases(neighbourhood, "mallory", asset)


def test_below_full_public_the_chain_holds_commitments_only(neighbourhood: Network) -> None:
    asset = share(neighbourhood, PrivacyLevel.P2P)
    # Alice names bob; carol's copy of the ledger says no more than that there is something.
    network = neighbourhood
    with pytest.raises(HyperMeshError) as refused:
        network.carol.ask(lambda m: m.rest.request(AssetView, "GET", f"/assets/{asset}"))
    assert refused.value.code == "HM-ASSET-0001"
    assert refused.value.fix
