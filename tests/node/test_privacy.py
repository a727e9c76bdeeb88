"""The five levels through real nodes: who may discover, and who may lease.

Alice hosts and founds. Who asks: desk, another node of alice's own; bob, whose node the audience
names; carol, a stranger of the same network; mallory, a node that was revoked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hypermesh.assets.lease import BelowTerms, BeyondOffer, NoRoom
from hypermesh.assets.privacy import AccessRefused
from hypermesh.assets.provider import NotOffered
from hypermesh.assets.registry import NotTheOwner
from hypermesh.node.borrowing import RegionMismatch
from hypermesh.stoq.errors import PeerRevoked
from hypermesh.wire.api.privacy import PresetWord, PrivacyChange, PrivacyView
from hypermesh.wire.asset import AssetKind, ConsumerIdentity, PrivacyLevel
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.tx import IdentityRevoke

from .network import Network, Node, eventually
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
    network.alice.ask(lambda m: m.privacy.change(change))
    everywhere(network)
    return asset


def everywhere(network: Network) -> None:
    """Until all who ask have the sequencer's height."""
    height = _height(network.alice)
    for name in ("desk", "bob", "carol"):
        node = network[name]
        eventually(lambda node=node: _height(node) >= height, "the block")


def _height(node: Node) -> int:
    return node.ask(lambda m: m.network.status()).height


def discovers(network: Network, who: str, asset: str) -> bool:
    """Whether `who` learns what the asset is, by asking for it."""
    try:
        found = network[who].ask(lambda m: m.assets.get(asset))
    except AccessRefused:
        return False
    return found.capacity is not None and found.free is not None


def lists(network: Network, who: str, asset: str) -> bool:
    """Whether `who` finds the asset among those it may discover."""
    return asset in {each.asset for each in network[who].ask(lambda m: list(m.assets.list()))}


def leases(network: Network, who: str, asset: str) -> bool:
    try:
        session = allocate(network[who], asset, MIB)
    except (AccessRefused, PeerRevoked):
        return False
    network[who].ask(lambda m: m.leases.release(session.lease))
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
        network.carol.ask(lambda m: m.assets.get(asset))
    assert refused.value.code == "HM-ASSET-0001"
    assert refused.value.fix


# -- the other terms -------------------------------------------------------------------------------


def settle_on(network: Network, asset: str, **terms: Any) -> PrivacyView:
    """Set terms of alice's memory at alice's, known everywhere."""
    told = network.alice.ask(lambda m: m.privacy.change(PrivacyChange(asset, **terms)))
    everywhere(network)
    return told


DEFAULTS: dict[str, Any] = {
    "share_basis_points": 10_000,
    "concurrent_max": 64,
    "duration_ms_min": 1,
    "duration_ms_max": 86_400_000,
    "region": "",
    "attested": False,
    "bond_min": 0,
    "identity": ConsumerIdentity.VERIFIED,
}


@pytest.fixture
def shared(neighbourhood: Network) -> str:
    """Alice's memory for anybody, without further terms."""
    asset = share(neighbourhood, PrivacyLevel.FULL_PUBLIC)
    settle_on(neighbourhood, asset, **DEFAULTS)
    return asset


@pytest.mark.parametrize("level", list(PrivacyLevel))
def test_a_preview_says_what_then_happens_and_changes_nothing(
    neighbourhood: Network, shared: str, level: PrivacyLevel
) -> None:
    network = neighbourhood
    before = {each.asset: each for each in network.alice.ask(lambda m: list(m.privacy.settings()))}
    genesis = network.alice.membership.genesis_id.hex()
    wanted = PrivacyChange(shared, level, nodes=[network.bob.id.hex()], networks=[genesis])
    preview = network.alice.ask(lambda m: m.privacy.preview(wanted))
    after = {each.asset: each for each in network.alice.ask(lambda m: list(m.privacy.settings()))}
    assert before == after
    assert (preview.before, preview.after.level) == (before[shared], level)
    verdicts = {each.node: each for each in preview.requesters}
    assert preview.requesters_total == len(verdicts) == 5
    for who in ("desk", "bob", "carol"):
        verdict = verdicts[network[who].id.hex()]
        allowed = who in ALLOWED[level]
        assert (verdict.discover.allowed, verdict.lease.allowed) == (allowed, allowed)
        assert verdict.discover.was
        assert verdict.lease.reason
    mallory = verdicts[network["mallory"].id.hex()]
    assert mallory.revoked
    assert not mallory.discover.allowed
    network.alice.ask(lambda m: m.privacy.change(wanted))
    everywhere(network)
    for who in ("desk", "bob", "carol"):
        allowed = verdicts[network[who].id.hex()].lease.allowed
        assert leases(network, who, shared) == allowed, (level, who)


def test_the_owners_other_node_sets_the_terms_and_nobody_else(
    neighbourhood: Network, shared: str
) -> None:
    network = neighbourhood
    told = network["desk"].ask(
        lambda m: m.privacy.change(PrivacyChange(shared, share_basis_points=5_000))
    )
    assert (told.host, told.share_basis_points) == (network.alice.id.hex(), 5_000)
    everywhere(network)
    for who in ("alice", "desk"):
        settings = {
            each.asset: each for each in network[who].ask(lambda m: list(m.privacy.settings()))
        }
        assert settings[shared] == told
    for who in ("bob", "carol"):
        with pytest.raises(NotTheOwner):
            network[who].ask(lambda m: m.privacy.change(PrivacyChange(shared, PrivacyLevel.P2P)))
        with pytest.raises(NotTheOwner):
            network[who].ask(lambda m: m.privacy.preview(PrivacyChange(shared, PrivacyLevel.P2P)))


def test_the_share_bounds_what_is_lent_in_all(neighbourhood: Network, shared: str) -> None:
    network = neighbourhood
    whole = network.alice.ask(lambda m: m.assets.get(shared)).capacity
    assert whole is not None
    settle_on(network, shared, share_basis_points=10)
    limit = whole // 1000
    with pytest.raises(NoRoom):
        allocate(network.bob, shared, limit + 1)
    held = allocate(network.bob, shared, limit - MIB)
    with pytest.raises(NoRoom):
        allocate(network.carol, shared, MIB + 1)
    network.bob.ask(lambda m: m.leases.release(held.lease))


def test_durations_uses_region_and_proofs(neighbourhood: Network, shared: str) -> None:
    network = neighbourhood
    settle_on(network, shared, duration_ms_min=30_000, duration_ms_max=60_000, region="north")
    with pytest.raises(BelowTerms):
        allocate(network.bob, shared, MIB, 29_999)
    with pytest.raises(BeyondOffer):
        allocate(network.bob, shared, MIB, 60_001)
    with pytest.raises(RegionMismatch, match="north"):
        network.bob.ask(
            lambda m: m.leases.allocate(shared, MIB, duration_ms=30_000, region="south")
        )
    held = network.bob.ask(
        lambda m: m.leases.allocate(shared, MIB, duration_ms=30_000, region="north")
    )
    assert shared in {
        each.asset for each in network.carol.ask(lambda m: list(m.assets.list(region="north")))
    }
    assert not network.carol.ask(lambda m: list(m.assets.list(region="south")))
    settle_on(network, shared, concurrent_max=1)
    with pytest.raises((NoRoom, NotOffered)):
        allocate(network.carol, shared, MIB)
    network.bob.ask(lambda m: m.leases.release(held.lease))
    settle_on(network, shared, bond_min=10**15)
    with pytest.raises(AccessRefused, match="bond"):
        allocate(network.carol, shared, MIB)
    assert leases(network, "desk", shared), "the owner's own nodes owe no bond"
    settle_on(network, shared, bond_min=1, attested=True)
    assert leases(network, "carol", shared)


def test_terms_that_contradict_themselves_or_the_rules_are_refused(
    neighbourhood: Network, shared: str
) -> None:
    alice = neighbourhood.alice
    with pytest.raises(InvalidInput, match="longer"):
        alice.ask(
            lambda m: m.privacy.change(
                PrivacyChange(shared, duration_ms_min=2_000, duration_ms_max=1_000)
            )
        )
    for wrong in ({"share_basis_points": 0}, {"share_basis_points": 10_001}, {"region": "Über"}):
        with pytest.raises(InvalidInput):
            alice.ask(lambda m, wrong=wrong: m.privacy.change(PrivacyChange(shared, **wrong)))


def test_older_words(neighbourhood: Network, shared: str) -> None:
    told = settle_on(neighbourhood, shared, preset=PresetWord.PRIVATE)
    assert told.level is PrivacyLevel.PRIVATE
    told = settle_on(neighbourhood, shared, preset=PresetWord.ANONYMOUS)
    assert (told.level, told.identity) == (PrivacyLevel.PRIVATE, ConsumerIdentity.ANONYMOUS)
    told = settle_on(neighbourhood, shared, preset=PresetWord.PUBLIC)
    assert (told.level, told.identity) == (PrivacyLevel.FULL_PUBLIC, ConsumerIdentity.ANONYMOUS)
    told = settle_on(neighbourhood, shared, preset=PresetWord.VERIFIED)
    assert told.identity is ConsumerIdentity.VERIFIED
