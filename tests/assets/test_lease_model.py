"""Any history of leases against a model that knows none of the tables: a list of leases, and one
rule a line. After every step the two agree on every balance and on who holds what; at the end
nothing is left open."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hypermesh.assets import lease as table
from hypermesh.assets import provider, registry
from hypermesh.caesar.token import escrow
from hypermesh.caesar.token.accounts import ESCROW
from hypermesh.ledger.module import Refusal
from hypermesh.wire.asset import (
    AssetState,
    Audience,
    LeaseState,
    Offer,
    Price,
    PrivacyLevel,
)
from hypermesh.wire.tx import AssetSetState

from .network import CLAIM_MS, GENESIS_ID, LEASE_FEE, RESERVATION_MS, Network
from .samples import memory

PRICE = Price(amount=7, per_units=3, per_ms=1000)
CAPACITY, CONCURRENT = 100, 3
OFFERED_MS = 20_000


@dataclass
class Held:
    """A lease as the model sees it."""

    asset: int
    consumer: bytes
    amount: int
    duration_ms: int
    escrow: int
    opened_ms: int
    epoch: int
    state: str = "reserved"
    started_ms: int = 0
    ended_ms: int = 0

    @property
    def live(self) -> bool:
        return self.state in ("reserved", "active")


class LeaseMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.network = network = Network()
        self.assets = []
        self.in_service = [True, True]
        self.epochs = [0, 0]
        self.leases: dict[bytes, Held] = {}
        self.attested = True
        for number, level in enumerate((PrivacyLevel.FULL_PUBLIC, PrivacyLevel.P2P)):
            record = provider.hosted(
                network.alice_owner,
                memory(CAPACITY),
                PRICE,
                level=level,
                audience=Audience(nodes=[network.bob]),
                concurrent_max=CONCURRENT,
                duration_ms_max=OFFERED_MS,
                randomness=bytes([number]) * 48,
            )
            network.execute(provider.registration(record), network.alice)
            self.assets.append(record.asset)
        self.offers = {
            (asset, consumer): Offer(
                GENESIS_ID,
                self.assets[asset],
                network.alice,
                consumer,
                0,
                PRICE,
                CAPACITY,
                OFFERED_MS,
                2**52,
            )
            for asset in (0, 1)
            for consumer in (network.bob_owner, network.carol_owner)
        }
        self.money = {
            owner: network.balance(owner)
            for owner in (network.alice_owner, network.bob_owner, network.carol_owner)
        }
        self.supply = network.total()

    # -- the model ---------------------------------------------------------------------------------

    def live(self, asset: int) -> list[Held]:
        return [held for held in self.leases.values() if held.asset == asset and held.live]

    def end_of_block(self) -> None:
        for held in self.leases.values():
            now = self.network.now_ms
            if held.state == "reserved" and now >= held.opened_ms + RESERVATION_MS:
                held.state = "expired"
                self.money[held.consumer] += held.escrow
            elif held.state == "active" and now >= held.started_ms + held.duration_ms:
                held.state, held.ended_ms = "ended", now
            elif held.state == "ended" and now >= held.ended_ms + CLAIM_MS:
                held.state = "expired"
                self.money[held.consumer] += held.escrow

    def pay(self, held: Held, held_ms: int, state: str) -> None:
        real_ms = min(held_ms, self.network.now_ms - held.started_ms)
        cost = math.ceil(7 * held.amount * real_ms / (3 * 1000))
        self.money[self.network.alice_owner] += cost
        self.money[held.consumer] += held.escrow - cost - LEASE_FEE
        held.state = state

    def payable(self, held: Held) -> bool:
        in_window = self.network.now_ms < held.ended_ms + CLAIM_MS
        return held.state == "active" or (held.state == "ended" and in_window)

    def pick(self, index: int) -> tuple[bytes, Held]:
        return list(self.leases.items())[index % len(self.leases)]

    # -- steps -------------------------------------------------------------------------------------

    @rule(
        asset=st.integers(0, 1),
        who=st.sampled_from(["bob", "carol"]),
        amount=st.sampled_from([1, 33, 34, 50, 51, CAPACITY, CAPACITY + 1]),
        duration_ms=st.sampled_from([1, 3_000, OFFERED_MS, OFFERED_MS + 1]),
        spare=st.sampled_from([-1, 0, 5]),
    )
    def open(self, asset: int, who: str, amount: int, duration_ms: int, spare: int) -> None:
        consumer = self.network.bob_owner if who == "bob" else self.network.carol_owner
        escrowed = max(0, math.ceil(7 * amount * duration_ms / 3000) + LEASE_FEE + spare)
        live = self.live(asset)
        committed = sum(held.amount for held in live)
        fits = (
            self.attested
            and self.in_service[asset]
            and len(live) < CONCURRENT
            and (asset == 1 or committed + amount <= CAPACITY)
            and amount <= CAPACITY
            and duration_ms <= OFFERED_MS
            and spare >= 0
            and escrowed <= self.money[consumer]
        )

        def act() -> bytes:
            return self.network.open(
                self.offers[asset, consumer],
                consumer,
                amount=amount,
                duration_ms=duration_ms,
                escrow=escrowed,
            )

        if not fits:
            with pytest.raises(Refusal):
                act()
            return
        self.epochs[asset] += 1
        self.money[consumer] -= escrowed
        self.leases[act()] = Held(
            asset,
            consumer,
            amount,
            duration_ms,
            escrowed,
            self.network.now_ms,
            self.epochs[asset],
        )

    @precondition(lambda self: self.leases)
    @rule(index=st.integers(0, 50))
    def activate(self, index: int) -> None:
        lease_id, held = self.pick(index)
        in_time = self.network.now_ms < held.opened_ms + RESERVATION_MS
        if self.attested and held.state == "reserved" and in_time:
            self.network.activate(lease_id)
            held.state, held.started_ms = "active", self.network.now_ms
        else:
            with pytest.raises(Refusal):
                self.network.activate(lease_id)

    @precondition(lambda self: self.leases)
    @rule(index=st.integers(0, 50), held_ms=st.integers(0, OFFERED_MS + 1))
    def settle(self, index: int, held_ms: int) -> None:
        lease_id, held = self.pick(index)
        receipt = self.network.receipt(lease_id, held_ms, held.epoch)
        if self.attested and self.payable(held) and held_ms <= held.duration_ms:
            self.network.settle(receipt, held.consumer)
            self.pay(held, held_ms, "settled")
        else:
            with pytest.raises(Refusal):
                self.network.settle(receipt, held.consumer)

    @precondition(lambda self: self.leases)
    @rule(index=st.integers(0, 50), short_ms=st.integers(-1, 100))
    def claim(self, index: int, short_ms: int) -> None:
        lease_id, held = self.pick(index)
        held_ms = max(0, held.duration_ms - short_ms)
        receipt = self.network.receipt(lease_id, held_ms, held.epoch)
        ended = self.network.now_ms >= held.started_ms + held.duration_ms
        if self.attested and self.payable(held) and ended and held_ms <= held.duration_ms:
            self.network.claim(receipt)
            self.pay(held, held_ms, "claimed")
        else:
            with pytest.raises(Refusal):
                self.network.claim(receipt)

    @rule(
        milliseconds=st.sampled_from(
            [0, 1, RESERVATION_MS - 1, RESERVATION_MS, OFFERED_MS, CLAIM_MS]
        )
    )
    def block(self, milliseconds: int) -> None:
        self.end_of_block()
        self.network.advance(milliseconds)

    @precondition(lambda self: self.network.deadline() is not None)
    @rule(beside_ms=st.sampled_from([-1, 0, 1]))
    def block_about_the_deadline(self, beside_ms: int) -> None:
        due_ms = self.network.deadline()
        assert due_ms is not None
        self.block(max(0, due_ms + beside_ms - self.network.now_ms))

    @rule(asset=st.integers(0, 1))
    def take_out_of_service_or_back(self, asset: int) -> None:
        state = AssetState.SUSPENDED if self.in_service[asset] else AssetState.AVAILABLE
        step = AssetSetState(self.assets[asset], state)
        if self.attested:
            self.network.execute(step, self.network.alice)
            self.in_service[asset] = not self.in_service[asset]
        else:
            with pytest.raises(Refusal):
                self.network.execute(step, self.network.alice)

    @rule()
    def lapse_or_attest(self) -> None:
        if self.attested:
            self.network.lapse(self.network.alice)
        else:
            self.network.attest(self.network.alice)
        self.attested = not self.attested

    # -- what always holds -------------------------------------------------------------------------

    @invariant()
    def money_is_where_the_model_says(self) -> None:
        for owner, amount in self.money.items():
            assert self.network.balance(owner) == amount
        open_now = [
            held.escrow
            for held in self.leases.values()
            if held.state in ("reserved", "active", "ended")
        ]
        assert self.network.balance(ESCROW) == sum(open_now)
        assert len(list(escrow.escrows(self.network.state))) == len(open_now)
        assert self.network.total() == self.supply

    @invariant()
    def nothing_is_allocated_twice(self) -> None:
        for number, asset_id in enumerate(self.assets):
            asset = registry.existing(self.network.state, asset_id)
            live = self.live(number)
            assert asset.leases == len(live) <= CONCURRENT
            assert asset.committed == sum(held.amount for held in live)
            assert number == 1 or asset.committed <= CAPACITY
            assert asset.epoch == self.epochs[number]
            full = len(live) == CONCURRENT or (number == 0 and asset.committed == CAPACITY)
            in_service = AssetState.ALLOCATED if full else AssetState.AVAILABLE
            assert asset.state is (in_service if self.in_service[number] else AssetState.SUSPENDED)

    @invariant()
    def rows_say_what_the_model_says(self) -> None:
        for lease_id, held in self.leases.items():
            row = table.LEASES.get(self.network.state, lease_id)
            if row is None:
                assert held.state in ("settled", "claimed", "expired")
                continue
            assert (row.state, row.epoch) == (LeaseState(held.state), held.epoch)
            if row.state in table.FINAL:
                assert row.paid + row.fee + row.refund == row.escrow

    def teardown(self) -> None:
        if not hasattr(self, "network"):
            return
        for milliseconds in (RESERVATION_MS, OFFERED_MS, CLAIM_MS, 0):
            self.block(milliseconds)
        self.money_is_where_the_model_says()
        self.nothing_is_allocated_twice()
        assert self.network.balance(ESCROW) == 0, "every reservation ends"
        assert self.network.deadline() is None
        assert not [held for held in self.leases.values() if held.live or held.state == "ended"]


TestLeases = LeaseMachine.TestCase
TestLeases.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
