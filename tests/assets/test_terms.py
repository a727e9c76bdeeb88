"""All that an owner sets besides the level: on the ledger, on the host, in offers and at leases."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hypermesh.assets import address, privacy, provider, registry
from hypermesh.assets.hosting import Hosted, HostedAssets, HostingDamaged
from hypermesh.assets.lease import BelowTerms, NoRoom, OfferMismatch
from hypermesh.assets.privacy import AccessRefused, Caller
from hypermesh.assets.provider import NotOffered, RecordStale
from hypermesh.assets.registry import DisclosureMismatch, HostGone, NotTheOwner
from hypermesh.consensus.attestation import ProofsRefused
from hypermesh.wire.asset import (
    Asset,
    AssetTerms,
    Audience,
    ConsumerIdentity,
    Descriptor,
    Offer,
    Price,
    PrivacyLevel,
    Requirement,
    Sharing,
)
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.tx import AssetSetTerms, AssetTransfer

from .network import BOND, GENESIS_ID, LEASE_FEE, Network
from .samples import memory, privacy_change

CAPACITY = 1000


class Host:
    """Alice hosts one asset at P2P with Bob named, and writes down what its owner sets."""

    def __init__(self, level: PrivacyLevel = PrivacyLevel.P2P) -> None:
        self.network = Network()
        self.record: Hosted = provider.hosted(
            self.network.alice_owner,
            memory(CAPACITY),
            Price(1, 1, 1000),
            level=level,
            audience=Audience(nodes=[self.network.bob]),
            concurrent_max=4,
            duration_ms_max=60_000,
            randomness=bytes(range(48)),
        )
        self.id = self.record.asset
        self.network.execute(provider.registration(self.record), self.network.alice)
        self.bob = Caller(self.network.bob, self.network.bob_owner)

    @property
    def asset(self) -> Asset:
        return registry.existing(self.network.state, self.id)

    @property
    def committed(self) -> AssetTerms | None:
        return registry.TERMS.get(self.network.state, self.id)

    def sharing(self, **terms: object) -> Sharing:
        changed = {"salt": bytes([self.asset.revision + 1]) * 16, **terms}
        return msgspec.structs.replace(self.record.sharing, **changed)

    def body(self, **terms: object) -> AssetSetTerms:
        record = self.record
        return provider.terms_change(self.id, self.sharing(**terms), record.descriptor, record.salt)

    def set(self, **terms: object) -> None:
        """Written down first, then on the ledger, then followed."""
        self.record = provider.proposed(self.record, self.sharing(**terms))
        self.network.execute(self.body_of_pending(), self.network.alice)
        self.record = provider.settled(self.record, self.asset, self.committed)

    def body_of_pending(self) -> AssetSetTerms:
        pending = self.record.pending
        assert pending is not None
        return provider.terms_change(self.id, pending, self.record.descriptor, self.record.salt)

    def offer(self, caller: Caller | None = None, free: int = CAPACITY) -> Offer:
        return provider.offer(
            GENESIS_ID,
            self.id,
            self.asset,
            self.record,
            caller or self.bob,
            frozenset(),
            free=free,
            now_ms=self.network.now_ms,
            committed=self.committed,
        )

    def open(self, offer: Offer, amount: int = 10, duration_ms: int = 1_000) -> bytes:
        cost = offer.price.cost(amount, duration_ms) + LEASE_FEE
        return self.network.open(
            offer, self.network.bob, amount=amount, duration_ms=duration_ms, escrow=cost
        )


@pytest.fixture
def host() -> Host:
    return Host()


# -- on the ledger ---------------------------------------------------------------------------------


@pytest.mark.parametrize("level", PrivacyLevel)
def test_the_ledger_holds_what_it_enforces_and_a_commitment_to_all(level: PrivacyLevel) -> None:
    host = Host()
    host.set(
        level=level, concurrent_max=7, duration_ms_min=500, region="north", price=Price(9, 1, 1)
    )
    asset, committed = host.asset, host.committed
    public = level is PrivacyLevel.FULL_PUBLIC
    assert (asset.level, asset.concurrent_max, asset.revision) == (level, 7, 1)
    assert committed == AssetTerms(
        address.terms_commitment(host.record.sharing), 500, "north" if public else ""
    )
    assert asset.price == (Price(9, 1, 1) if public else None)
    event = host.network.context.events[-1]
    assert (event.name, decode(Asset, event.data)) == ("asset.terms", asset)


def test_nothing_else_of_the_terms_is_in_the_state_below_full_public(host: Host) -> None:
    host.set(region="somewhere", requirement=Requirement(True, 123_457), price=Price(77_777, 1, 1))
    rows = b"".join(value or b"" for value in host.network.state.writes.values())
    assert b"somewhere" not in rows
    assert encode(123_457) not in rows
    assert encode(77_777) not in rows
    assert host.record.sharing.salt not in rows


def test_two_commitments_to_the_same_terms_differ(host: Host) -> None:
    host.set()
    first = host.committed
    host.set()
    assert first is not None
    assert host.committed is not None
    assert first.commitment != host.committed.commitment


@pytest.mark.parametrize(
    ("level", "changes"),
    [
        (PrivacyLevel.PRIVATE, {"region": "north"}),
        (PrivacyLevel.PRIVATE, {"price": Price(1, 1, 1)}),
        (PrivacyLevel.P2P, {"descriptor": memory(CAPACITY)}),
        (PrivacyLevel.P2P, {"audience_hash": bytes(32)}),
        (PrivacyLevel.PRIVATE, {"audience_hash": b"x" * 32}),
        (PrivacyLevel.FULL_PUBLIC, {"price": None}),
        (PrivacyLevel.FULL_PUBLIC, {"descriptor": memory(CAPACITY + 1)}),
    ],
)
def test_what_is_disclosed_must_fit_the_level(
    host: Host, level: PrivacyLevel, changes: dict[str, object]
) -> None:
    body = msgspec.structs.replace(host.body(level=level), **changes)
    with pytest.raises(DisclosureMismatch):
        host.network.execute(body, host.network.alice)
    assert (host.asset.revision, host.committed) == (0, None)


def test_only_the_owner_sets_terms_and_only_while_the_host_has_rights(host: Host) -> None:
    network = host.network
    with pytest.raises(NotTheOwner):
        network.execute(host.body(), network.bob)
    network.lapse(network.alice)
    with pytest.raises(ProofsRefused):
        network.execute(host.body(), network.alice)
    network.attest(network.alice)
    network.execute(host.body(), network.second)
    network.revoke(network.alice)
    with pytest.raises(HostGone):
        network.execute(host.body(), network.alice_owner)


def test_the_older_change_of_privacy_takes_the_terms_back(host: Host) -> None:
    host.set(duration_ms_min=5_000)
    host.network.execute(privacy_change(host.record), host.network.alice)
    assert host.committed is None
    assert host.asset.revision == 2


def test_a_change_of_owner_takes_the_terms_back(host: Host) -> None:
    host.set(duration_ms_min=5_000)
    host.network.execute(AssetTransfer(host.id, host.network.bob_owner), host.network.alice)
    assert host.committed is None
    after = provider.settled(host.record, host.asset, host.committed)
    assert after.sharing.duration_ms_min == 1


# -- enforced at leases ----------------------------------------------------------------------------


def test_the_shortest_lease_is_the_ledgers_to_keep(host: Host) -> None:
    host.set(duration_ms_min=5_000)
    with pytest.raises(BelowTerms, match="5000"):
        host.open(host.offer(), duration_ms=4_999)
    host.open(host.offer(), duration_ms=5_000)


def test_the_longest_lease_stands_in_the_offer(host: Host) -> None:
    host.set(duration_ms_max=2_000)
    assert host.offer().duration_ms_max == 2_000


def test_uses_at_once_are_the_ledgers_to_keep(host: Host) -> None:
    host.set(concurrent_max=1)
    first, second = host.offer(), host.offer(free=900)
    host.open(first)
    with pytest.raises(NoRoom, match="as many as it allows"):
        host.open(second)
    with pytest.raises(NotOffered, match="allocated"):
        host.offer()


def test_a_change_of_any_term_voids_the_offers_made_before(host: Host) -> None:
    offer = host.offer()
    host.set(share=5_000)
    with pytest.raises(OfferMismatch, match="revision"):
        host.open(offer)
    host.open(host.offer())


@pytest.mark.parametrize(
    ("capacity", "share", "free", "lent"),
    [
        (1000, 10_000, 1000, 1000),
        (1000, 5_000, 1000, 500),
        (1000, 5_000, 600, 100),
        (1000, 5_000, 500, 0),
        (1000, 5_000, 100, 0),
        (1000, 10_000, 0, 0),
        (999, 5_000, 999, 499),
        (1, 1, 1, 0),
    ],
)
def test_the_share_bounds_all_leases_together(
    capacity: int, share: int, free: int, lent: int
) -> None:
    assert provider.lendable(capacity, share, free) == lent


def test_an_offer_is_bounded_by_the_share(host: Host) -> None:
    host.set(share=2_500)
    assert host.offer().amount_max == 250
    assert host.offer(free=800).amount_max == 50
    with pytest.raises(NotOffered, match="free"):
        host.offer(free=750)


def test_what_a_consumers_node_must_show(host: Host) -> None:
    host.set(requirement=Requirement(attested=True, bond_min=BOND))
    node, owner = host.network.bob, host.network.bob_owner
    with pytest.raises(AccessRefused, match="proofs"):
        host.offer(Caller(node, owner, bonded=BOND))
    with pytest.raises(AccessRefused, match="bond"):
        host.offer(Caller(node, owner, attested=True, bonded=BOND - 1))
    host.offer(Caller(node, owner, attested=True, bonded=BOND))
    # It is asked of consumers, not of who looks, and not of the owner's own nodes.
    view = provider.view(
        host.id, host.asset, host.record, host.bob, frozenset(),
        free=1, in_use=False, committed=host.committed,
    )  # fmt: skip
    assert view.descriptor == host.record.descriptor
    host.offer(Caller(host.network.second, host.network.alice_owner))


# -- the host's record -----------------------------------------------------------------------------


def test_pending_terms_hold_from_the_block_that_commits_to_them(host: Host) -> None:
    before = host.record
    host.record = provider.proposed(before, host.sharing(share=1_000))
    assert host.offer().amount_max == CAPACITY
    host.network.execute(host.body_of_pending(), host.network.alice)
    # The record was not rewritten yet, and what the ledger says counts already.
    assert host.offer().amount_max == 100
    after = provider.settled(host.record, host.asset, host.committed)
    assert (after.sharing.share, after.pending) == (1_000, None)


def test_other_terms_than_the_pending_ones_admit_nobody(host: Host) -> None:
    host.record = provider.proposed(host.record, host.sharing(share=1_000))
    host.network.execute(host.body(share=2_000), host.network.alice)
    with pytest.raises(RecordStale):
        host.offer()


def test_terms_that_differ_in_nothing_that_the_chain_shows_are_noticed(host: Host) -> None:
    """Same level and audience; the price alone differs, behind the commitment."""
    host.set()
    sharing = msgspec.structs.replace(host.record.sharing, price=Price(2, 1, 1000))
    host.record = msgspec.structs.replace(host.record, sharing=sharing)
    with pytest.raises(RecordStale, match="other terms"):
        host.offer()


def test_terms_that_contradict_themselves_are_not_written_down(host: Host) -> None:
    with pytest.raises(InvalidInput, match="longer"):
        provider.proposed(host.record, host.sharing(duration_ms_min=9, duration_ms_max=8))
    privacy.check(host.sharing(duration_ms_min=8, duration_ms_max=8))


class FirstHosted(msgspec.Struct, frozen=True, array_like=True):
    """A record as the first version wrote it, member by member."""

    asset: bytes
    owner: bytes
    id_nonce: bytes
    descriptor: Descriptor
    salt: bytes
    level: PrivacyLevel
    audience: Audience
    audience_salt: bytes
    identity: ConsumerIdentity
    price: Price
    concurrent_max: int
    duration_ms_max: int


def first(number: int = 1) -> FirstHosted:
    return FirstHosted(
        bytes([number]) * 16, b"o" * 32, b"n" * 16, memory(5), b"s" * 16, PrivacyLevel.P2P,
        Audience(nodes=[b"b" * 32]), b"u" * 16, ConsumerIdentity.VERIFIED, Price(1, 2, 3), 4, 5,
    )  # fmt: skip


def test_records_of_the_first_version_are_read_and_written_in_the_present_form(
    tmp_path: Path,
) -> None:
    path = tmp_path / "hosted"
    path.write_bytes(encode([first(1), first(2)]))
    store = HostedAssets(path)
    assert len(store) == 2
    record = store.get(bytes([1]) * 16)
    assert record is not None
    assert record.pending is None
    assert (record.owner, record.id_nonce, record.salt) == (b"o" * 32, b"n" * 16, b"s" * 16)
    assert record.sharing == Sharing(
        PrivacyLevel.P2P, Audience(nodes=[b"b" * 32]), ConsumerIdentity.VERIFIED, Requirement(),
        Price(1, 2, 3), 10_000, 4, 1, 5, "", b"u" * 16,
    )  # fmt: skip
    store.put(record)
    assert list(HostedAssets(path)) == list(store)
    assert path.read_bytes() == encode(list(store))


def test_records_of_the_first_version_that_are_damaged_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "hosted"
    path.write_bytes(encode([first()])[:-1])
    with pytest.raises(HostingDamaged):
        HostedAssets(path)
