"""The hosting node's decisions: what a caller sees, and which offers the ledger then takes."""

from __future__ import annotations

import msgspec
import pytest

from hypermesh.assets import privacy, provider, registry
from hypermesh.assets.hosting import Hosted
from hypermesh.assets.privacy import AccessRefused, Caller
from hypermesh.assets.provider import OFFER_MS, NotOffered, RecordStale
from hypermesh.wire.asset import (
    Asset,
    AssetState,
    AssetTerms,
    Audience,
    ConsumerIdentity,
    Offer,
    Price,
    PrivacyLevel,
)
from hypermesh.wire.rpc import AssetView
from hypermesh.wire.tx import AssetSetState

from .network import GENESIS_ID, LEASE_FEE, Network
from .samples import memory

PRICE = Price(amount=1, per_units=1, per_ms=1000)
NETWORK_ID = b"N" * 32
TRUSTED = frozenset({NETWORK_ID})


class House:
    """Alice hosts one asset; Bob is in its audience by name and by network."""

    def __init__(
        self, level: PrivacyLevel, identity: ConsumerIdentity = ConsumerIdentity.ANONYMOUS
    ) -> None:
        self.network = Network()
        self.record: Hosted = provider.hosted(
            self.network.alice_owner,
            memory(1000),
            PRICE,
            level=level,
            audience=Audience(nodes=[self.network.bob], networks=[NETWORK_ID]),
            identity=identity,
            concurrent_max=2,
            duration_ms_max=60_000,
            randomness=bytes(range(48)),
        )
        self.network.execute(provider.registration(self.record), self.network.alice)
        self.bob = Caller(self.network.bob, self.network.bob_owner, TRUSTED)
        self.carol = Caller(None, self.network.carol_owner)

    @property
    def asset(self) -> Asset:
        return registry.existing(self.network.state, self.record.asset)

    def offer(self, caller: Caller, free: int = 1000) -> Offer:
        return provider.offer(
            GENESIS_ID,
            self.record.asset,
            self.asset,
            self.record,
            caller,
            TRUSTED,
            free=free,
            now_ms=self.network.now_ms,
            committed=self.committed,
        )

    def change(self, level: PrivacyLevel, audience: Audience = privacy.NOBODY) -> Hosted:
        """The owner's new record, with the ledger brought up to it; the node's own stays old."""
        return self.set(level=level, audience=audience, price=Price(5, 1, 1000))

    def set(self, **terms: object) -> Hosted:
        """The owner's new record, with the ledger brought up to it; the node's own stays old."""
        sharing = msgspec.structs.replace(self.record.sharing, **{"salt": b"z" * 16, **terms})
        changed = msgspec.structs.replace(self.record, sharing=sharing)
        record = self.record
        body = provider.terms_change(record.asset, sharing, record.descriptor, record.salt)
        self.network.execute(body, self.network.alice)
        return changed

    @property
    def committed(self) -> AssetTerms | None:
        return registry.TERMS.get(self.network.state, self.record.asset)


@pytest.mark.parametrize("level", PrivacyLevel)
def test_what_the_host_offers_the_ledger_takes_and_nothing_else_is_offered(
    level: PrivacyLevel,
) -> None:
    house = House(level)
    admitted = {
        "alice": True,
        "bob": level is not PrivacyLevel.PRIVATE,
        "carol": level is PrivacyLevel.FULL_PUBLIC,
    }
    callers = {
        "alice": (Caller(house.network.second, house.network.alice_owner), house.network.second),
        "bob": (house.bob, house.network.bob),
        "carol": (house.carol, house.network.carol_owner),
    }
    for name, (caller, signer) in callers.items():
        if admitted[name]:
            offer = house.offer(caller)
            lease = house.network.open(
                offer, signer, amount=10, duration_ms=1_000, escrow=10 + LEASE_FEE
            )
            house.network.activate(lease)
            house.network.settle(house.network.receipt(lease, 0, house.asset.epoch), signer)
        else:
            with pytest.raises(AccessRefused):
                house.offer(caller)


def test_an_offer_says_what_is_free_and_holds_for_a_minute() -> None:
    house = House(PrivacyLevel.P2P)
    offer = house.offer(house.bob, free=77)
    assert (offer.amount_max, offer.duration_ms_max) == (77, 60_000)
    assert offer.expires_ms == house.network.now_ms + OFFER_MS
    assert (offer.provider, offer.consumer) == (house.network.alice, house.network.bob_owner)
    assert offer.price == PRICE


def test_nothing_free_or_out_of_service_is_not_offered() -> None:
    house = House(PrivacyLevel.P2P)
    with pytest.raises(NotOffered, match="free"):
        house.offer(house.bob, free=0)
    suspend = AssetSetState(house.record.asset, AssetState.SUSPENDED)
    house.network.execute(suspend, house.network.alice)
    with pytest.raises(NotOffered, match="suspended"):
        house.offer(house.bob)


def test_a_caller_without_an_account_gets_no_offer() -> None:
    house = House(PrivacyLevel.FULL_PUBLIC)
    with pytest.raises(AccessRefused, match="account"):
        house.offer(Caller(b"n" * 32))


def test_verified_consumers_only_where_the_owner_wants_that() -> None:
    house = House(PrivacyLevel.FULL_PUBLIC, ConsumerIdentity.VERIFIED)
    with pytest.raises(AccessRefused, match="certificate"):
        house.offer(house.carol)
    house.offer(house.bob)


def test_the_view_shows_the_descriptor_to_those_let_in_only() -> None:
    house = House(PrivacyLevel.P2P)

    def view(caller: Caller) -> AssetView:
        return provider.view(
            house.record.asset, house.asset, house.record, caller, TRUSTED, free=5, in_use=True
        )

    shown = view(house.bob)
    assert (shown.free, shown.in_use, shown.state) == (5, True, AssetState.AVAILABLE)
    assert (shown.owner, shown.host) == (house.network.alice_owner, house.network.alice)
    assert shown.descriptor == house.record.descriptor
    assert house.asset.descriptor is None
    with pytest.raises(AccessRefused):
        view(house.carol)


def test_the_ledgers_level_decides_not_the_record() -> None:
    house = House(PrivacyLevel.FULL_PUBLIC)
    changed = house.change(PrivacyLevel.PRIVATE)
    house.record = changed
    with pytest.raises(AccessRefused, match="Private"):
        house.offer(house.bob)


def test_an_audience_that_the_node_does_not_know_admits_nobody() -> None:
    house = House(PrivacyLevel.P2P)
    changed = house.change(PrivacyLevel.P2P, Audience(nodes=[b"x" * 32]))
    with pytest.raises(RecordStale):
        house.offer(house.bob)
    house.record = changed
    with pytest.raises(AccessRefused):
        house.offer(house.bob)


def test_at_full_public_the_registered_price_is_offered() -> None:
    house = House(PrivacyLevel.FULL_PUBLIC)
    house.record = house.change(PrivacyLevel.FULL_PUBLIC)
    assert house.offer(house.bob).price == Price(5, 1, 1000)
    assert house.offer(house.bob).revision == 1


@pytest.mark.parametrize("length", [0, 47, 49])
def test_an_asset_is_made_of_enough_randomness(length: int) -> None:
    with pytest.raises(ValueError, match="48"):
        provider.hosted(
            b"o" * 32,
            memory(),
            PRICE,
            level=PrivacyLevel.PRIVATE,
            concurrent_max=1,
            duration_ms_max=1,
            randomness=bytes(length),
        )
