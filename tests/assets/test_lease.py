"""The lease table step by step: money to the unit, deadlines to the millisecond, every refusal."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.assets import lease as table
from hypermesh.assets import provider, registry
from hypermesh.assets.hosting import Hosted
from hypermesh.assets.lease import (
    FINAL_KEPT_MS,
    LEASES,
    BeyondOffer,
    EscrowTooSmall,
    NoRoom,
    NotAParty,
    OfferExpired,
    OfferForged,
    OfferMismatch,
    OutOfService,
    PrivateAsset,
    ReceiptForged,
    ReceiptMismatch,
    TooEarly,
    TooLate,
    UnknownLease,
    WrongState,
)
from hypermesh.assets.registry import HostGone, UnknownAsset
from hypermesh.caesar.token.accounts import ESCROW, FEES, Overdrawn
from hypermesh.consensus.attestation import ProofsRefused
from hypermesh.crypto.signature import sign
from hypermesh.ledger.module import InvariantBroken, Refusal
from hypermesh.wire.amount import AMOUNT_MAX
from hypermesh.wire.asset import (
    AssetState,
    Audience,
    Capability,
    Lease,
    LeaseState,
    Offer,
    Price,
    PrivacyLevel,
)
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.tx import AssetSetState, LeaseClaim, LeaseSettle

from .network import (
    CLAIM_MS,
    DURATION_MS_MAX,
    GENESIS_ID,
    LEASE_FEE,
    RESERVATION_MS,
    Network,
    keys,
    lease_of,
    offer_signature,
)
from .samples import memory, privacy_change

PRICE = Price(amount=3, per_units=10, per_ms=1000)
AMOUNT, DURATION_MS = 100, 10_000
COST = 300
"""3 nCAES x 100 units / 10 x 10 s."""
ESCROWED = COST + LEASE_FEE + 50


class Scene:
    """An asset of Alice's, and what it takes to lease it."""

    def __init__(self, level: PrivacyLevel = PrivacyLevel.FULL_PUBLIC) -> None:
        self.network = Network()
        self.record: Hosted = provider.hosted(
            self.network.alice_owner,
            memory(1000),
            PRICE,
            level=level,
            audience=Audience(nodes=[self.network.bob]),
            concurrent_max=3,
            duration_ms_max=60_000,
            randomness=bytes(range(48)),
        )
        self.network.execute(provider.registration(self.record), self.network.alice)
        self.asset = self.record.asset

    def offer(self, **changes: object) -> Offer:
        fields: dict[str, object] = {
            "genesis": GENESIS_ID,
            "asset": self.asset,
            "provider": self.network.alice,
            "consumer": self.network.bob_owner,
            "revision": 0,
            "price": PRICE,
            "amount_max": 1000,
            "duration_ms_max": 60_000,
            "expires_ms": self.network.now_ms + 60_000,
        }
        return Offer(**(fields | changes))  # type: ignore[arg-type]

    def open(self, offer: Offer | None = None, **changes: object) -> bytes:
        fields: dict[str, object] = {
            "signer": self.network.bob,
            "amount": AMOUNT,
            "duration_ms": DURATION_MS,
            "escrow": ESCROWED,
        }
        return self.network.open(offer or self.offer(), **(fields | changes))  # type: ignore[arg-type]

    def active(self) -> bytes:
        lease = self.open()
        self.network.activate(lease)
        return lease

    def lease(self, lease: bytes) -> Lease:
        return table.existing(self.network.state, lease)

    def held(self, lease: bytes, held_ms: int) -> None:
        """Bob settles with Alice's receipt."""
        receipt = self.network.receipt(lease, held_ms, self.lease(lease).epoch)
        self.network.settle(receipt, self.network.bob)

    def claimed(self, lease: bytes, held_ms: int = DURATION_MS) -> None:
        self.network.claim(self.network.receipt(lease, held_ms, self.lease(lease).epoch))


@pytest.fixture
def scene() -> Scene:
    return Scene()


# -- the life of a lease ---------------------------------------------------------------------------


def test_a_lease_from_opening_to_settlement(scene: Scene) -> None:
    network = scene.network
    bob, alice = network.balance(network.bob_owner), network.balance(network.alice_owner)
    lease = scene.open()
    opened = network.context.events[-1]
    assert (opened.name, opened.subject, lease_of(opened)) == (
        "lease.opened",
        lease,
        scene.lease(lease),
    )
    assert scene.lease(lease).state is LeaseState.RESERVED
    assert network.balance(network.bob_owner) == bob - ESCROWED
    network.advance(1_000)
    network.activate(lease)
    row = scene.lease(lease)
    assert (row.starts_ms, row.ends_ms) == (network.now_ms, network.now_ms + DURATION_MS)
    assert network.context.events[-1].name == "lease.activated"
    network.advance(4_000)
    scene.held(lease, 3_500)
    row = scene.lease(lease)
    assert (row.state, row.paid, row.fee) == (LeaseState.SETTLED, 105, LEASE_FEE)
    assert row.paid + row.fee + row.refund == ESCROWED
    assert lease_of(network.context.events[-1]) == row
    assert network.context.events[-1].name == "lease.settled"
    assert network.balance(network.bob_owner) == bob - 105 - LEASE_FEE
    assert network.balance(network.alice_owner) == alice + 105
    assert (network.balance(FEES), network.balance(ESCROW)) == (LEASE_FEE, 0)


def test_a_charge_is_rounded_up_once(scene: Scene) -> None:
    lease = scene.active()
    scene.network.advance(5_000)
    scene.held(lease, 1)
    assert scene.lease(lease).paid == 1


def test_the_ledgers_clock_bounds_what_a_receipt_says(scene: Scene) -> None:
    lease = scene.active()
    scene.network.advance(2_000)
    scene.held(lease, DURATION_MS)
    assert scene.lease(lease).paid == COST * 2_000 // DURATION_MS


def test_an_unused_lease_settled_at_once_costs_the_fee(scene: Scene) -> None:
    lease = scene.active()
    scene.held(lease, 0)
    row = scene.lease(lease)
    assert (row.paid, row.fee, row.refund) == (0, LEASE_FEE, ESCROWED - LEASE_FEE)


def test_the_whole_time_costs_what_the_escrow_was_made_for(scene: Scene) -> None:
    lease = scene.open(escrow=COST + LEASE_FEE)
    scene.network.activate(lease)
    scene.network.advance(DURATION_MS)
    scene.held(lease, DURATION_MS)
    row = scene.lease(lease)
    assert (row.paid, row.fee, row.refund) == (COST, LEASE_FEE, 0)


def test_the_capability_names_session_epoch_and_end(scene: Scene) -> None:
    lease = scene.active()
    row = scene.lease(lease)
    assert table.capability(lease, row) == Capability(
        lease, scene.asset, b"s" * 32, row.epoch, row.ends_ms
    )


def test_ones_own_machines_pay_each_other_and_leave_the_fee(scene: Scene) -> None:
    network = scene.network
    before = network.balance(network.alice_owner)
    lease = scene.open(scene.offer(consumer=network.alice_owner), signer=network.second)
    network.activate(lease)
    network.advance(1_000)
    network.settle(network.receipt(lease, 1_000, 1), network.second)
    assert network.balance(network.alice_owner) == before - LEASE_FEE


# -- deadlines -------------------------------------------------------------------------------------


def test_a_reservation_ends_at_its_millisecond_with_a_full_refund(scene: Scene) -> None:
    network = scene.network
    before = network.balance(network.bob_owner)
    lease = scene.open()
    assert network.deadline() == network.now_ms + RESERVATION_MS
    network.advance(RESERVATION_MS - 1)
    assert network.advance(1) == []
    assert scene.lease(lease).state is LeaseState.RESERVED
    [expired] = network.advance()
    assert (expired.name, expired.subject) == ("lease.expired", lease)
    assert lease_of(expired).refund == ESCROWED
    assert network.balance(network.bob_owner) == before
    assert registry.existing(network.state, scene.asset).leases == 0
    assert network.deadline() is None


def test_activation_an_instant_before_the_deadline_and_at_it(scene: Scene) -> None:
    first, second = scene.open(), scene.open()
    scene.network.advance(RESERVATION_MS - 1)
    scene.network.activate(first)
    scene.network.advance(1)
    with pytest.raises(TooLate):
        scene.network.activate(second)


def test_a_lease_ends_at_its_millisecond_and_frees_its_asset(scene: Scene) -> None:
    network = scene.network
    lease = scene.active()
    assert network.deadline() == network.now_ms + DURATION_MS
    network.advance(DURATION_MS)
    [ended] = network.advance(0)
    assert (ended.name, lease_of(ended).state) == ("lease.ended", LeaseState.ENDED)
    asset = registry.existing(network.state, scene.asset)
    assert (asset.leases, asset.committed) == (0, 0)
    assert network.deadline() == network.now_ms + CLAIM_MS
    assert network.balance(ESCROW) == ESCROWED
    scene.held(lease, DURATION_MS)
    assert scene.lease(lease).paid == COST
    assert registry.existing(network.state, scene.asset).leases == 0, "freed once"


def test_the_host_alone_claims_the_time_held_after_the_end(scene: Scene) -> None:
    network = scene.network
    lease = scene.active()
    before = network.balance(network.alice_owner)
    network.advance(DURATION_MS - 1)
    with pytest.raises(TooEarly):
        scene.claimed(lease)
    network.advance(1)
    scene.claimed(lease)
    row = scene.lease(lease)
    assert (row.state, row.paid, row.fee) == (LeaseState.CLAIMED, COST, LEASE_FEE)
    assert network.balance(network.alice_owner) == before + COST
    assert network.context.events[-1].name == "lease.claimed"
    assert registry.existing(network.state, scene.asset).leases == 0


@pytest.mark.parametrize("by", ["settle", "claim"])
def test_the_claim_window_closes_at_its_millisecond(scene: Scene, by: str) -> None:
    network = scene.network
    pay = scene.claimed if by == "claim" else (lambda lease: scene.held(lease, DURATION_MS))
    first, second = scene.active(), scene.active()
    before = network.balance(network.bob_owner)
    network.advance(DURATION_MS)
    network.advance(CLAIM_MS - 1)
    pay(first)
    network.advance(1)
    with pytest.raises(TooLate):
        pay(second)
    [expired] = network.advance()
    assert (expired.subject, lease_of(expired).refund) == (second, ESCROWED)
    assert network.balance(network.bob_owner) == before + ESCROWED + 50
    assert network.deadline() is None


def test_a_ledger_that_stood_still_costs_no_provider_its_claim(scene: Scene) -> None:
    network = scene.network
    lease = scene.active()
    network.advance(DURATION_MS + 10 * CLAIM_MS)
    [ended] = network.advance(CLAIM_MS - 1)
    assert ended.name == "lease.ended"
    scene.claimed(lease)


def test_a_block_does_a_bounded_part_of_what_is_due(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "DUE_PER_BLOCK_MAX", 2)
    leases = [scene.open() for _ in range(3)]
    scene.network.advance(RESERVATION_MS)
    assert len(scene.network.advance()) == 2
    assert scene.network.deadline() is not None
    assert len(scene.network.advance()) == 1
    assert {scene.lease(lease).state for lease in leases} == {LeaseState.EXPIRED}


def test_a_final_lease_is_shown_for_a_day_and_then_dropped(scene: Scene) -> None:
    network = scene.network
    lease = scene.active()
    scene.held(lease, 0)
    network.advance(FINAL_KEPT_MS - 1)
    network.advance(1)
    assert scene.lease(lease).state is LeaseState.SETTLED
    assert network.deadline() is None, "nobody waits for a row to be dropped"
    network.advance()
    with pytest.raises(UnknownLease):
        scene.lease(lease)
    rows = [key for key, value in network.state.writes.items() if value is not None]
    assert not [key for key in rows if key.startswith(b"lease/")]


# -- fencing ---------------------------------------------------------------------------------------


def test_the_epoch_rises_with_every_lease_also_of_those_that_never_ran(scene: Scene) -> None:
    epochs = []
    for step in range(4):
        lease = scene.open()
        epochs.append(scene.lease(lease).epoch)
        if step % 2:
            scene.network.activate(lease)
            scene.held(lease, 0)
        else:
            scene.network.advance(RESERVATION_MS)
            scene.network.advance()
    assert epochs == [1, 2, 3, 4]


def test_a_receipt_of_another_epoch_is_refused(scene: Scene) -> None:
    first, second = scene.active(), scene.active()
    with pytest.raises(ReceiptMismatch, match="epoch"):
        scene.network.settle(scene.network.receipt(second, 0, 1), scene.network.bob)
    scene.network.settle(scene.network.receipt(first, 0, 1), scene.network.bob)


# -- opening refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"genesis": b"\x02" * 32}, OfferMismatch),
        ({"asset": b"?" * 16}, UnknownAsset),
        ({"consumer": b"?" * 32}, OfferMismatch),
        ({"revision": 1}, OfferMismatch),
        ({"price": Price(2, 10, 1000)}, OfferMismatch),
        ({"amount_max": AMOUNT - 1}, BeyondOffer),
        ({"duration_ms_max": DURATION_MS - 1}, BeyondOffer),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_an_offer_that_does_not_fit(
    scene: Scene, changes: dict[str, object], refusal: type[Refusal]
) -> None:
    with pytest.raises(refusal):
        scene.open(scene.offer(**changes))


def test_an_offer_of_a_node_that_does_not_host_the_asset(scene: Scene) -> None:
    with pytest.raises(OfferMismatch, match="does not host"):
        scene.open(scene.offer(provider=scene.network.bob))


def test_an_offer_is_good_until_its_millisecond(scene: Scene) -> None:
    now_ms = scene.network.now_ms
    scene.open(scene.offer(expires_ms=now_ms + 1))
    with pytest.raises(OfferExpired):
        scene.open(scene.offer(expires_ms=now_ms))


def test_an_offer_signed_by_another_node(scene: Scene) -> None:
    offer = scene.offer()
    with pytest.raises(OfferForged):
        scene.open(offer, signature=offer_signature("bob", offer))


@pytest.mark.parametrize("half", ["falcon", "ed25519"])
def test_half_a_signature_is_none(scene: Scene, half: str) -> None:
    offer = scene.offer()
    right, wrong = offer_signature("alice", offer), offer_signature("bob", offer)
    mixed = msgspec.structs.replace(right, **{half: getattr(wrong, half)})
    with pytest.raises(OfferForged):
        scene.open(offer, signature=mixed)


def test_an_offer_signed_for_another_purpose(scene: Scene) -> None:
    offer = scene.offer()
    signature = sign(keys("alice"), "receipt", GENESIS_ID, encode(offer))
    with pytest.raises(OfferForged):
        scene.open(offer, signature=signature)


def test_an_offer_made_to_someone_else_cannot_be_used(scene: Scene) -> None:
    with pytest.raises(OfferMismatch, match="another consumer"):
        scene.open(signer=scene.network.carol_owner)


def test_a_change_of_privacy_ends_the_offers_made_before(scene: Scene) -> None:
    offer = scene.offer()
    scene.network.execute(privacy_change(scene.record), scene.network.alice)
    with pytest.raises(OfferMismatch, match="revision"):
        scene.open(offer)
    scene.open(scene.offer(revision=1))


def test_at_private_only_the_owner_whatever_an_offer_says() -> None:
    scene = Scene(PrivacyLevel.PRIVATE)
    network = scene.network
    with pytest.raises(PrivateAsset):
        scene.open()
    own = scene.offer(consumer=network.alice_owner)
    lease = scene.open(own, signer=network.second)
    assert scene.lease(lease).level is PrivacyLevel.PRIVATE


@pytest.mark.parametrize(
    "level", [PrivacyLevel.PRIVATE_NETWORK, PrivacyLevel.P2P, PrivacyLevel.PUBLIC_NETWORK]
)
def test_between_private_and_public_the_hosts_offer_decides(level: PrivacyLevel) -> None:
    scene = Scene(level)
    cheap = scene.offer(price=Price(0, 1, 1))
    lease = scene.open(cheap, escrow=LEASE_FEE)
    assert scene.lease(lease).price == Price(0, 1, 1)


@pytest.mark.parametrize("state", [AssetState.SUSPENDED, AssetState.MAINTENANCE, AssetState.FAILED])
def test_an_asset_out_of_service_opens_nothing_and_lets_leases_run(
    scene: Scene, state: AssetState
) -> None:
    network = scene.network
    running, reserved = scene.active(), scene.open()
    network.execute(AssetSetState(scene.asset, state), network.alice)
    with pytest.raises(OutOfService):
        scene.open()
    network.activate(reserved)
    network.advance(1_000)
    for lease in (running, reserved):
        scene.held(lease, 1_000)
    assert registry.existing(network.state, scene.asset).state is state


def test_as_many_leases_as_the_asset_allows_at_once(scene: Scene) -> None:
    leases = [scene.open() for _ in range(3)]
    assert registry.existing(scene.network.state, scene.asset).state is AssetState.ALLOCATED
    with pytest.raises(NoRoom, match="3 leases"):
        scene.open()
    scene.network.activate(leases[0])
    scene.held(leases[0], 0)
    assert registry.existing(scene.network.state, scene.asset).state is AssetState.AVAILABLE
    scene.open()


def test_capacity_on_the_chain_is_given_out_once(scene: Scene) -> None:
    scene.open(amount=600, escrow=10_000)
    with pytest.raises(NoRoom, match="400 of 1000"):
        scene.open(amount=401, escrow=10_000)
    scene.open(amount=400, escrow=10_000)
    assert registry.existing(scene.network.state, scene.asset).state is AssetState.ALLOCATED
    with pytest.raises(NoRoom):
        scene.open(amount=1, escrow=10_000)


def test_capacity_behind_a_commitment_cannot_overflow_the_books() -> None:
    scene = Scene(PrivacyLevel.P2P)
    free = scene.offer(price=Price(0, 1, 1), amount_max=AMOUNT_MAX)
    scene.open(free, amount=AMOUNT_MAX, escrow=LEASE_FEE)
    with pytest.raises(NoRoom):
        scene.open(free, amount=1, escrow=LEASE_FEE)


def test_no_lease_is_longer_than_the_network_allows(scene: Scene) -> None:
    long = scene.offer(duration_ms_max=2**50)
    with pytest.raises(BeyondOffer, match="network"):
        scene.open(long, duration_ms=DURATION_MS_MAX + 1, escrow=100_000)
    scene.open(long, duration_ms=DURATION_MS_MAX, escrow=60 * COST + LEASE_FEE)


def test_an_escrow_one_short(scene: Scene) -> None:
    with pytest.raises(EscrowTooSmall, match="307"):
        scene.open(escrow=COST + LEASE_FEE - 1)
    scene.open(escrow=COST + LEASE_FEE)


@pytest.mark.parametrize(
    ("amount", "price"),
    [
        (AMOUNT_MAX, Price(AMOUNT_MAX, 1, 1)),
        (AMOUNT_MAX, Price(1, 1, 1)),
        (1, Price(AMOUNT_MAX - LEASE_FEE + 1, 1, DURATION_MS)),
    ],
)
def test_a_price_beyond_all_money_is_refused_not_wrapped(amount: int, price: Price) -> None:
    scene = Scene(PrivacyLevel.P2P)
    offer = scene.offer(price=price, amount_max=AMOUNT_MAX)
    with pytest.raises(EscrowTooSmall, match="more than an amount can be"):
        scene.open(offer, amount=amount, escrow=AMOUNT_MAX)


def test_an_escrow_that_the_consumer_does_not_have(scene: Scene) -> None:
    before = registry.existing(scene.network.state, scene.asset)
    with pytest.raises(Overdrawn):
        scene.open(escrow=10**12)
    assert registry.existing(scene.network.state, scene.asset) == before


# -- wrong parties, wrong times --------------------------------------------------------------------


def test_only_the_host_activates(scene: Scene) -> None:
    lease = scene.open()
    for other in (scene.network.bob, scene.network.second, scene.network.alice_owner):
        with pytest.raises(NotAParty):
            scene.network.activate(lease, other)


def test_only_the_consumer_settles_and_only_the_host_claims(scene: Scene) -> None:
    network = scene.network
    lease = scene.active()
    network.advance(DURATION_MS)
    receipt = network.receipt(lease, DURATION_MS, 1)
    for other in (network.alice, network.carol_owner):
        with pytest.raises(NotAParty):
            network.settle(receipt, other)
    for other in (network.bob, network.second, network.alice_owner):
        with pytest.raises(NotAParty):
            network.claim(receipt, other)


def test_every_step_has_its_state(scene: Scene) -> None:
    network = scene.network
    lease = scene.open()
    receipt = network.receipt(lease, 0, 1)
    with pytest.raises(WrongState, match="reserved"):
        network.settle(receipt, network.bob)
    with pytest.raises(WrongState, match="reserved"):
        network.claim(receipt)
    network.activate(lease)
    with pytest.raises(WrongState, match="active"):
        network.activate(lease)
    network.settle(receipt, network.bob)
    for again in (
        lambda: network.activate(lease),
        lambda: network.settle(receipt, network.bob),
        lambda: network.claim(receipt),
    ):
        with pytest.raises(WrongState, match="settled"):
            again()


def test_an_unknown_lease(scene: Scene) -> None:
    receipt = scene.network.receipt(b"?" * 32, 0, 1)
    for step in (
        lambda: scene.network.activate(b"?" * 32),
        lambda: scene.network.settle(receipt, scene.network.bob),
        lambda: scene.network.claim(receipt),
    ):
        with pytest.raises(UnknownLease):
            step()


@pytest.mark.parametrize(
    "changes", [{"genesis": b"\x02" * 32}, {"epoch": 2}, {"held_ms": DURATION_MS + 1}]
)
def test_a_receipt_that_does_not_fit(scene: Scene, changes: dict[str, object]) -> None:
    network = scene.network
    lease = scene.active()
    network.advance(DURATION_MS)
    receipt = msgspec.structs.replace(network.receipt(lease, DURATION_MS, 1), **changes)
    with pytest.raises(ReceiptMismatch):
        network.settle(receipt, network.bob)
    with pytest.raises(ReceiptMismatch):
        network.claim(receipt)


def test_a_receipt_that_the_host_did_not_sign(scene: Scene) -> None:
    network = scene.network
    lease = scene.active()
    network.advance(DURATION_MS)
    receipt = network.receipt(lease, 0, 1)
    with pytest.raises(ReceiptForged):
        network.settle(receipt, network.bob, host="bob")
    signed_less = sign(keys("alice"), "receipt", GENESIS_ID, encode(receipt))
    more = msgspec.structs.replace(receipt, held_ms=DURATION_MS)
    with pytest.raises(ReceiptForged):
        network.execute(LeaseSettle(more, signed_less), network.bob)
    with pytest.raises(ReceiptForged):
        network.execute(LeaseClaim(more, signed_less), network.alice)


# -- a lapsed or revoked host ----------------------------------------------------------------------


def test_every_step_needs_the_hosts_attestation(scene: Scene) -> None:
    network = scene.network
    opened, active = scene.open(), scene.active()
    network.lapse(network.alice)
    receipt = network.receipt(active, 0, 2)
    for step in (
        scene.open,
        lambda: network.activate(opened),
        lambda: network.settle(receipt, network.bob),
        lambda: network.claim(receipt),
    ):
        with pytest.raises(ProofsRefused) as refused:
            step()
        assert refused.value.failures
    with pytest.raises(ProofsRefused) as refused:
        scene.open(attestation=network.bundle(network.bob))
    assert "space" in refused.value.failures


def test_a_host_that_attests_again_in_time_is_paid(scene: Scene) -> None:
    network = scene.network
    lease = scene.active()
    network.lapse(network.alice)
    network.advance(DURATION_MS)
    network.advance(CLAIM_MS - 1)
    network.attest(network.alice)
    scene.claimed(lease)
    assert scene.lease(lease).paid == COST


def test_a_host_that_stays_away_earns_nothing(scene: Scene) -> None:
    network = scene.network
    before = network.balance(network.bob_owner)
    reserved, active = scene.open(), scene.active()
    network.lapse(network.alice)
    for step in (DURATION_MS, CLAIM_MS, 1):
        network.advance(step)
    for lease in (reserved, active):
        assert scene.lease(lease).state is LeaseState.EXPIRED
    assert network.balance(network.bob_owner) == before


def test_a_revoked_host_opens_activates_and_earns_nothing(scene: Scene) -> None:
    network = scene.network
    before = network.balance(network.bob_owner)
    reserved, active = scene.open(), scene.active()
    network.revoke(network.alice)
    receipt = network.receipt(active, 0, 2)
    for step in (
        scene.open,
        lambda: network.activate(reserved),
        lambda: network.settle(receipt, network.bob),
        lambda: network.claim(receipt),
    ):
        with pytest.raises(HostGone):
            step()
    for milliseconds in (DURATION_MS, CLAIM_MS, 1):
        network.advance(milliseconds)
    assert network.balance(network.bob_owner) == before


# -- genesis, invariants ---------------------------------------------------------------------------


def test_a_genesis_whose_waits_could_not_be_written(scene: Scene) -> None:
    context = scene.network.context
    waits = msgspec.structs.replace(context.genesis.leases, claim_ms=2**53 + 1)
    genesis = msgspec.structs.replace(context.genesis, leases=waits)
    broken = type(context)(context.state, GENESIS_ID, genesis, 0, context.time_ms, context.previous)
    with pytest.raises(InvalidInput):
        table.Leases().begin(broken)


def test_a_deadline_without_its_lease_is_found(scene: Scene) -> None:
    lease = scene.open()
    LEASES.delete(scene.network.state, lease)
    with pytest.raises(InvariantBroken):
        table.Leases().check(scene.network.context)


def test_refusals_have_codes_of_their_own() -> None:
    codes = [
        each.code
        for each in vars(table).values()
        if isinstance(each, type) and issubclass(each, Refusal) and each is not Refusal
    ]
    assert len(codes) == len(set(codes)) == 16
    assert all(code.startswith("HM-TX-LEASE-") for code in codes)


@given(
    st.integers(0, 2**63 - 1), st.integers(1, 2**53), st.integers(1, 2**53),
    st.integers(0, 2**63 - 1), st.integers(0, 2**53), st.integers(0, 2**53),
)  # fmt: skip
def test_a_price_is_exact_rounded_up_and_grows_with_time(
    amount: int, per_units: int, per_ms: int, units: int, held_ms: int, longer_ms: int
) -> None:
    price = Price(amount, per_units, per_ms)
    cost = price.cost(units, held_ms)
    assert (cost - 1) * per_units * per_ms < amount * units * held_ms <= cost * per_units * per_ms
    if longer_ms >= held_ms:
        assert price.cost(units, longer_ms) >= cost
