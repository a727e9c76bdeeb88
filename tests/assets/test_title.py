"""Change of owner: given, offered, bought, and every way in which it must not happen."""

from __future__ import annotations

import msgspec
import pytest

from hypermesh.assets import provider, registry, title
from hypermesh.assets.hosting import Hosted
from hypermesh.assets.lease import OfferMismatch, PrivateAsset
from hypermesh.assets.privacy import AccessRefused, Caller
from hypermesh.assets.registry import (
    ASSETS_PER_OWNER_MAX,
    HostGone,
    NotTheOwner,
    TooManyAssets,
    UnknownAsset,
)
from hypermesh.assets.title import (
    GIVEN_MAX,
    OFFER_MS_MAX,
    OFFERS,
    NotForSale,
    OfferChanged,
    OfferedToAnother,
    OfferOpen,
    OfferTimeRefused,
    OwnedAlready,
    ReceiverUnknown,
)
from hypermesh.caesar.token import escrow
from hypermesh.caesar.token.accounts import Overdrawn
from hypermesh.consensus.attestation import ProofsRefused
from hypermesh.ledger.module import InvariantBroken, Refusal
from hypermesh.wire.asset import (
    Asset,
    AssetState,
    Audience,
    Lease,
    LeaseState,
    Offer,
    Price,
    PrivacyLevel,
    TitleOffer,
)
from hypermesh.wire.codec import decode
from hypermesh.wire.ids import ZERO_HASH
from hypermesh.wire.tx import (
    AssetAccept,
    AssetOffer,
    AssetSetState,
    AssetTransfer,
    AssetWithdraw,
    Body,
)

from .network import GENESIS_ID, GRANT, LEASE_FEE, Network
from .samples import memory

PRICE = 5_000
DAY_MS = 24 * 60 * 60 * 1000
STRANGER = b"?" * 32


class Sale:
    """Alice owns and hosts one asset; Bob has a node, Carol an account alone."""

    def __init__(self, level: PrivacyLevel = PrivacyLevel.FULL_PUBLIC) -> None:
        self.network = Network()
        self.record: Hosted = provider.hosted(
            self.network.alice_owner,
            memory(1000),
            Price(1, 1, 1000),
            level=level,
            audience=Audience(nodes=[self.network.bob]),
            concurrent_max=4,
            duration_ms_max=60_000,
            randomness=bytes(range(48)),
        )
        self.id = self.record.asset
        self.network.execute(provider.registration(self.record), self.network.alice)
        self.total = self.network.total()

    @property
    def asset(self) -> Asset:
        return registry.existing(self.network.state, self.id)

    @property
    def open(self) -> TitleOffer | None:
        return title.open_offer(self.network.state, self.id, self.network.now_ms)

    def say(self, body: Body, signer: bytes) -> bytes:
        return self.network.execute(body, signer)

    def offer(self, *, to: bytes | None = None, for_ms: int = DAY_MS, price: int = PRICE) -> bytes:
        """Offered by Alice's node; the id of the offer."""
        end = self.network.now_ms + for_ms
        return self.say(AssetOffer(self.id, price, to, end), self.network.alice)

    def accept(self, offer: bytes, signer: bytes, price: int = PRICE) -> bytes:
        return self.say(AssetAccept(self.id, offer, price), signer)

    def lease_offer(self, consumer: bytes) -> Offer:
        return Offer(
            genesis=GENESIS_ID,
            asset=self.id,
            provider=self.network.alice,
            consumer=consumer,
            revision=self.asset.revision,
            price=Price(1, 1, 1000),
            amount_max=1000,
            duration_ms_max=60_000,
            expires_ms=self.network.now_ms + 60_000,
        )

    def lease(self, signer: bytes, consumer: bytes) -> bytes:
        return self.network.open(
            self.lease_offer(consumer), signer, amount=10, duration_ms=10_000,
            escrow=100 + LEASE_FEE,
        )  # fmt: skip


@pytest.fixture
def sale() -> Sale:
    return Sale()


# -- given -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", ["alice", "second", "alice_owner"])
def test_an_owner_gives_an_asset_away_from_any_of_its_signers(sale: Sale, signer: str) -> None:
    network = sale.network
    sale.say(AssetTransfer(sale.id, network.bob_owner), getattr(network, signer))
    assert sale.asset.owner == network.bob_owner
    assert sale.asset.host == network.alice
    event = network.context.events[-1]
    assert (event.name, event.subject) == ("asset.transferred", sale.id)
    assert decode(Asset, event.data) == sale.asset
    with pytest.raises(NotTheOwner):
        sale.say(AssetTransfer(sale.id, network.carol_owner), network.alice)
    sale.say(AssetTransfer(sale.id, network.carol_owner), network.bob)
    sale.say(AssetTransfer(sale.id, network.alice_owner), network.carol_owner)
    assert sale.asset.owner == network.alice_owner
    assert sale.asset.revision == 3


@pytest.mark.parametrize("level", PrivacyLevel)
def test_it_is_private_to_its_new_owner_and_what_it_disclosed_is_taken_back(
    level: PrivacyLevel,
) -> None:
    sale = Sale(level)
    sale.say(AssetTransfer(sale.id, sale.network.bob_owner), sale.network.alice)
    asset = sale.asset
    assert (asset.level, asset.audience_hash, asset.revision) == (
        PrivacyLevel.PRIVATE, ZERO_HASH, 1,
    )  # fmt: skip
    assert (asset.descriptor, asset.salt, asset.price) == (None, b"", None)


@pytest.mark.parametrize("level", PrivacyLevel)
def test_the_former_owner_and_its_audience_are_kept_out(level: PrivacyLevel) -> None:
    sale = Sale(level)
    network = sale.network
    before = sale.lease_offer(network.alice_owner)
    sale.say(AssetTransfer(sale.id, network.carol_owner), network.alice)
    # Its own record of the asset is still the former owner's: the ledger decides.
    for caller in (
        Caller(network.alice, network.alice_owner),
        Caller(network.bob, network.bob_owner),
    ):
        with pytest.raises(AccessRefused):
            provider.view(
                sale.id, sale.asset, sale.record, caller, frozenset(), free=1, in_use=False
            )
    own = Caller(None, network.carol_owner)
    provider.view(sale.id, sale.asset, sale.record, own, frozenset(), free=1, in_use=False)
    with pytest.raises(OfferMismatch):
        network.open(before, network.alice, amount=1, duration_ms=1000, escrow=LEASE_FEE + 1)
    with pytest.raises(PrivateAsset):
        sale.lease(network.alice, network.alice_owner)
    sale.lease(network.carol_owner, network.carol_owner)


def test_the_record_of_the_host_follows(sale: Sale) -> None:
    network = sale.network
    sale.say(AssetTransfer(sale.id, network.bob_owner), network.alice)
    after = provider.settled(sale.record, sale.asset, None)
    assert after.owner == network.bob_owner
    assert after.sharing.level is PrivacyLevel.PRIVATE
    assert after.sharing.audience == Audience()
    assert after.sharing.price == sale.record.sharing.price
    assert provider.settled(after, sale.asset, None) is after


def test_what_a_former_owner_was_about_to_set_is_forgotten(sale: Sale) -> None:
    wide = msgspec.structs.replace(sale.record.sharing, level=PrivacyLevel.FULL_PUBLIC)
    pending = provider.proposed(sale.record, wide)
    sale.say(AssetTransfer(sale.id, sale.network.bob_owner), sale.network.alice)
    assert provider.settled(pending, sale.asset, None).pending is None


def test_who_may_not_be_given_an_asset(sale: Sale) -> None:
    network = sale.network
    with pytest.raises(OwnedAlready):
        sale.say(AssetTransfer(sale.id, network.alice_owner), network.alice)
    with pytest.raises(ReceiverUnknown):
        sale.say(AssetTransfer(sale.id, STRANGER), network.alice)
    # A node is no owner, even where its owner is known.
    with pytest.raises(ReceiverUnknown):
        sale.say(AssetTransfer(sale.id, network.bob), network.alice)
    with pytest.raises(UnknownAsset):
        sale.say(AssetTransfer(b"?" * 16, network.bob_owner), network.alice)


def test_the_number_of_assets_of_an_owner_follows_and_is_bounded(sale: Sale) -> None:
    network = sale.network
    assert (registry.owned(network.state, network.alice_owner)) == 1
    sale.say(AssetTransfer(sale.id, network.bob_owner), network.alice)
    assert registry.owned(network.state, network.alice_owner) == 0
    assert registry.owned(network.state, network.bob_owner) == 1
    registry._OWNERS.put(network.state, network.carol_owner, ASSETS_PER_OWNER_MAX)
    with pytest.raises(TooManyAssets):
        sale.say(AssetTransfer(sale.id, network.carol_owner), network.bob)


def test_gifts_leave_room_for_what_an_owner_registers_and_buys(sale: Sale) -> None:
    """Nobody is asked before being given an asset, and one whose host is gone is never got rid of:
    gifts must not keep an owner from having assets of its own."""
    network = sale.network
    registry._OWNERS.put(network.state, network.carol_owner, GIVEN_MAX - 1)
    sale.say(AssetTransfer(sale.id, network.carol_owner), network.alice)
    sale.say(AssetTransfer(sale.id, network.alice_owner), network.carol_owner)
    registry._OWNERS.put(network.state, network.carol_owner, GIVEN_MAX)
    with pytest.raises(TooManyAssets, match="given"):
        sale.say(AssetTransfer(sale.id, network.carol_owner), network.alice)
    sale.accept(sale.offer(), network.carol_owner)
    assert sale.asset.owner == network.carol_owner
    assert GIVEN_MAX < ASSETS_PER_OWNER_MAX


# -- leases that run -------------------------------------------------------------------------------


def test_a_lease_that_runs_goes_on_and_pays_whom_it_named(sale: Sale) -> None:
    network = sale.network
    lease = sale.lease(network.bob, network.bob_owner)
    network.activate(lease)
    sale.accept(sale.offer(), network.carol_owner)
    network.advance(5_000)
    before = network.balance(network.alice_owner), network.balance(network.carol_owner)
    network.settle(network.receipt(lease, 5_000, 1), network.bob)
    settled = next(
        decode(Lease, each.data) for each in network.context.events if each.name == "lease.settled"
    )
    assert (settled.state, settled.payee, settled.paid) == (
        LeaseState.SETTLED, network.alice_owner, 50,
    )  # fmt: skip
    after = network.balance(network.alice_owner), network.balance(network.carol_owner)
    assert after == (before[0] + 50, before[1])
    assert sale.asset.leases == 0
    network.advance()
    assert network.total() == sale.total


def test_a_full_asset_that_is_sold_is_still_full(sale: Sale) -> None:
    network = sale.network
    network.open(
        sale.lease_offer(network.bob_owner), network.bob, amount=1000, duration_ms=1000,
        escrow=1000 + LEASE_FEE,
    )  # fmt: skip
    assert sale.asset.state is AssetState.ALLOCATED
    sale.say(AssetTransfer(sale.id, network.carol_owner), network.alice)
    # Private, the chain knows no capacity; the host does, and its adapter holds it.
    assert (sale.asset.leases, sale.asset.committed) == (1, 1000)


# -- sold ------------------------------------------------------------------------------------------


def test_a_sale_moves_price_and_asset_in_one_transaction(sale: Sale) -> None:
    network = sale.network
    seller, buyer = network.balance(network.alice_owner), network.balance(network.bob_owner)
    offer = sale.offer()
    assert sale.open == TitleOffer(offer, network.alice_owner, PRICE, None, network.now_ms + DAY_MS)
    sale.accept(offer, network.bob)
    assert sale.asset.owner == network.bob_owner
    assert network.balance(network.alice_owner) == seller + PRICE
    assert network.balance(network.bob_owner) == buyer - PRICE
    assert sale.open is None
    assert list(escrow.escrows(network.state)) == []
    paid, sold = network.context.events[-2:]
    assert [each.name for each in network.context.events].count("title.paid") == 1
    assert (paid.name, paid.subject, sold.name) == ("title.paid", sale.id, "asset.sold")
    assert decode(tuple[bytes, bytes, int], paid.data) == (
        network.bob_owner, network.alice_owner, PRICE,
    )  # fmt: skip
    network.advance()
    assert network.total() == sale.total
    assert network.deadline_of("titles") is None


def test_an_offer_changes_nothing_else(sale: Sale) -> None:
    before = sale.asset
    sale.offer()
    assert sale.asset == before
    sale.lease(sale.network.bob, sale.network.bob_owner)


def test_an_asset_is_sold_once(sale: Sale) -> None:
    network = sale.network
    offer = sale.offer()
    sale.accept(offer, network.bob)
    with pytest.raises(NotForSale):
        sale.accept(offer, network.carol_owner)
    with pytest.raises(OwnedAlready):
        sale.accept(offer, network.bob)
    with pytest.raises(NotTheOwner):
        sale.offer()
    with pytest.raises(NotTheOwner):
        sale.say(AssetTransfer(sale.id, network.carol_owner), network.alice)
    assert sale.asset.owner == network.bob_owner


def test_what_is_for_sale_is_neither_offered_twice_nor_given_away(sale: Sale) -> None:
    network = sale.network
    sale.offer()
    with pytest.raises(OfferOpen):
        sale.offer(price=1)
    with pytest.raises(OfferOpen):
        sale.say(AssetTransfer(sale.id, network.bob_owner), network.alice)
    sale.say(AssetWithdraw(sale.id), network.second)
    assert network.context.events[-1].name == "asset.withdrawn"
    sale.say(AssetTransfer(sale.id, network.bob_owner), network.alice)


def test_a_withdrawn_offer_is_not_accepted_and_a_new_one_not_under_its_id(sale: Sale) -> None:
    first = sale.offer()
    sale.say(AssetWithdraw(sale.id), sale.network.alice)
    with pytest.raises(NotForSale):
        sale.accept(first, sale.network.bob)
    with pytest.raises(NotForSale):
        sale.say(AssetWithdraw(sale.id), sale.network.alice)
    second = sale.offer()
    with pytest.raises(OfferChanged):
        sale.accept(first, sale.network.bob)
    sale.accept(second, sale.network.bob)


@pytest.mark.parametrize("price", [PRICE - 1, PRICE + 1])
def test_the_price_is_the_one_that_the_buyer_saw(sale: Sale, price: int) -> None:
    offer = sale.offer()
    with pytest.raises(OfferChanged, match=str(PRICE)):
        sale.accept(offer, sale.network.bob, price=price)
    assert sale.asset.owner == sale.network.alice_owner


def test_only_the_named_buyer_buys(sale: Sale) -> None:
    network = sale.network
    offer = sale.offer(to=network.carol_owner)
    with pytest.raises(OfferedToAnother):
        sale.accept(offer, network.bob)
    sale.accept(offer, network.carol_owner)
    assert sale.asset.owner == network.carol_owner


def test_what_is_not_ones_own_is_neither_offered_nor_withdrawn_nor_bought_from_oneself(
    sale: Sale,
) -> None:
    network = sale.network
    with pytest.raises(NotTheOwner):
        sale.say(AssetOffer(sale.id, 1, None, network.now_ms + 1), network.bob)
    offer = sale.offer()
    with pytest.raises(NotTheOwner):
        sale.say(AssetWithdraw(sale.id), network.bob)
    for own in (network.alice, network.second, network.alice_owner):
        with pytest.raises(OwnedAlready):
            sale.accept(offer, own)


def test_to_whom_an_asset_cannot_be_offered(sale: Sale) -> None:
    with pytest.raises(ReceiverUnknown):
        sale.offer(to=STRANGER)
    with pytest.raises(OwnedAlready):
        sale.offer(to=sale.network.alice_owner)


def test_who_cannot_pay_does_not_buy_and_loses_nothing(sale: Sale) -> None:
    network = sale.network
    offer = sale.offer(price=GRANT * 10)
    before = network.balance(network.bob_owner)
    with pytest.raises(Overdrawn):
        sale.accept(offer, network.bob, price=GRANT * 10)
    assert network.balance(network.bob_owner) == before
    assert (sale.asset.owner, sale.asset.revision) == (network.alice_owner, 0)
    assert sale.open is not None
    assert list(escrow.escrows(network.state)) == []
    network.advance()


# -- its time --------------------------------------------------------------------------------------


@pytest.mark.parametrize("for_ms", [0, -1, OFFER_MS_MAX + 1])
def test_when_an_offer_cannot_end(sale: Sale, for_ms: int) -> None:
    with pytest.raises(OfferTimeRefused):
        sale.offer(for_ms=for_ms)


def test_the_last_instant_of_an_offer(sale: Sale) -> None:
    offer = sale.offer(for_ms=100)
    sale.network.advance(99)
    sale.accept(offer, sale.network.bob)


def test_an_offer_is_void_from_its_end_on_and_the_block_lets_it_go(sale: Sale) -> None:
    network = sale.network
    offer = sale.offer(for_ms=100)
    assert network.deadline_of("titles") == network.now_ms + 100
    network.advance(100)
    with pytest.raises(NotForSale):
        sale.accept(offer, network.bob)
    events = network.advance()
    assert [(each.name, each.subject) for each in events] == [("asset.offer_expired", sale.id)]
    assert OFFERS.get(network.state, sale.id) is None
    assert network.deadline_of("titles") is None
    sale.offer()


def test_one_block_lets_go_of_so_many_offers_and_the_next_goes_on(
    sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(title, "DUE_PER_BLOCK_MAX", 1)
    network = sale.network
    other = provider.hosted(
        network.alice_owner, memory(5), Price(1, 1, 1), level=PrivacyLevel.PRIVATE,
        concurrent_max=1, duration_ms_max=1, randomness=b"7" * 48,
    )  # fmt: skip
    network.execute(provider.registration(other), network.alice)
    sale.offer(for_ms=10)
    sale.say(AssetOffer(other.asset, 1, None, network.now_ms + 20), network.alice)
    network.advance(50)
    assert [each.subject for each in network.advance()] == [sale.id]
    assert [each.subject for each in network.advance()] == [other.asset]


# -- standing --------------------------------------------------------------------------------------


def test_nothing_of_it_happens_while_the_host_has_no_rights(sale: Sale) -> None:
    network = sale.network
    offer = sale.offer()
    network.lapse(network.alice)
    for body, signer in (
        (AssetTransfer(sale.id, network.bob_owner), network.alice),
        (AssetOffer(sale.id, 1, None, network.now_ms + 1), network.alice),
        (AssetWithdraw(sale.id), network.alice),
        (AssetAccept(sale.id, offer, PRICE), network.bob),
    ):
        with pytest.raises(ProofsRefused):
            sale.say(body, signer)
    network.attest(network.alice)
    network.revoke(network.alice)
    with pytest.raises(HostGone):
        sale.accept(offer, network.bob)
    assert sale.asset.owner == network.alice_owner


def test_the_attestation_named_is_the_hosts_and_not_the_buyers(sale: Sale) -> None:
    network = sale.network
    offer = sale.offer()
    with pytest.raises(ProofsRefused):
        network.execute(
            AssetAccept(sale.id, offer, PRICE), network.bob, network.bundle(network.bob)
        )


def test_a_state_set_by_the_seller_is_the_buyers_to_change(sale: Sale) -> None:
    network = sale.network
    sale.say(AssetSetState(sale.id, AssetState.SUSPENDED), network.alice)
    sale.accept(sale.offer(), network.bob)
    assert sale.asset.state is AssetState.SUSPENDED
    with pytest.raises(NotTheOwner):
        sale.say(AssetSetState(sale.id, AssetState.AVAILABLE), network.alice)
    sale.say(AssetSetState(sale.id, AssetState.AVAILABLE), network.bob)


# -- the checker -----------------------------------------------------------------------------------


def test_an_offer_that_outlives_its_owner_stops_the_ledger(sale: Sale) -> None:
    """Planted: a change of owner that forgets the offer."""
    sale.offer()
    registry.pass_on(sale.network.state, sale.id, sale.network.bob_owner)
    with pytest.raises(InvariantBroken, match="offer"):
        sale.network.advance()


def test_refusals_have_codes_of_their_own() -> None:
    codes = [
        each.code
        for each in vars(title).values()
        if isinstance(each, type) and issubclass(each, Refusal) and each is not Refusal
    ]
    assert len(codes) == len(set(codes)) == 7
    assert all(code.startswith("HM-TX-TITLE-") for code in codes)
