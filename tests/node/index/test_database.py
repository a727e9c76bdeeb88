"""Whatever the rules do, the entries of every account add up to what the ledger's rows say it has:
balance, bonds, unbondings and escrows, after every block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.assets.network import CLAIM_MS, GENESIS_ID, LEASE_FEE, RESERVATION_MS, Network
from tests.assets.samples import memory

from hypermesh.assets import lease as table
from hypermesh.assets import provider
from hypermesh.ledger.kernel import OK
from hypermesh.ledger.module import Refusal
from hypermesh.node.index import movements
from hypermesh.node.index.database import Database
from hypermesh.node.index.index import holdings
from hypermesh.node.index.movements import Movement, Part, postings
from hypermesh.wire.api.account import Reason
from hypermesh.wire.asset import Audience, LeaseState, Offer, Price, PrivacyLevel
from hypermesh.wire.block import Block, Header
from hypermesh.wire.codec import encode
from hypermesh.wire.ids import ZERO_HASH
from hypermesh.wire.tx import (
    AssetAccept,
    AssetOffer,
    BankTransfer,
    BlockOpening,
    StakeBond,
    StakeUnbond,
    TxResult,
)

PRICE = Price(amount=7, per_units=3, per_ms=1000)
OFFERED_MS = 20_000
SUPPLY = 10_000_000
AMOUNT = st.integers(1, 30_000)
PICK = st.integers(0, 50)


def header(height: int, time_ms: int) -> Header:
    return Header(
        GENESIS_ID, height, time_ms, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH
    )


def block(height: int, time_ms: int) -> Block:
    opening = encode(BlockOpening(time_ms, None))
    return Block(header(height, time_ms), None, [opening], [TxResult(ZERO_HASH, OK, [])])


class Ledger(RuleBasedStateMachine):
    """Any operations in any order, allowed or not, on the real rules; their events into the
    index."""

    @initialize()
    def begin(self) -> None:
        self.directory = TemporaryDirectory()
        self.network = network = Network()
        self.database = Database(Path(self.directory.name) / "index.sqlite")
        faucet = (movements.FAUCET, Part.BALANCE)
        minted = Movement(Reason.GENESIS, None, faucet, SUPPLY)
        self.database.begin(GENESIS_ID, network.now_ms, [minted])
        self.owners = [network.alice_owner, network.bob_owner, network.carol_owner]
        self.nodes = [network.alice, network.bob, network.second]
        self.leases: list[bytes] = []
        self.height = 0
        record = provider.hosted(
            network.alice_owner,
            memory(100),
            PRICE,
            level=PrivacyLevel.FULL_PUBLIC,
            audience=Audience(),
            concurrent_max=3,
            duration_ms_max=OFFERED_MS,
            randomness=bytes(48),
        )
        network.execute(provider.registration(record), network.alice)
        self.asset = record.asset
        self.block(0)

    def attempt(self, body: object, signer: bytes) -> bytes | None:
        try:
            return self.network.execute(body, signer)  # type: ignore[arg-type]
        except Refusal:
            return None

    @rule(payer=PICK, payee=PICK, amount=AMOUNT)
    def transfer(self, payer: int, payee: int, amount: int) -> None:
        body = BankTransfer(self.owners[payee % 3], amount, "")
        self.attempt(body, self.owners[payer % 3])

    @rule(owner=PICK, node=PICK, amount=AMOUNT)
    def bond(self, owner: int, node: int, amount: int) -> None:
        self.attempt(StakeBond(self.nodes[node % 3], amount), self.owners[owner % 3])

    @rule(owner=PICK, node=PICK, amount=st.integers(1, 2_000))
    def unbond(self, owner: int, node: int, amount: int) -> None:
        self.attempt(StakeUnbond(self.nodes[node % 3], amount), self.owners[owner % 3])

    @rule(who=PICK, amount=st.integers(1, 60), duration_ms=st.sampled_from([3_000, OFFERED_MS]))
    def open(self, who: int, amount: int, duration_ms: int) -> None:
        consumer = self.owners[who % 3]
        offer = Offer(
            GENESIS_ID, self.asset, self.network.alice, consumer, 0, PRICE, 100, OFFERED_MS, 2**52
        )
        escrowed = PRICE.cost(amount, duration_ms) + LEASE_FEE + who
        try:
            self.leases.append(
                self.network.open(
                    offer, consumer, amount=amount, duration_ms=duration_ms, escrow=escrowed
                )
            )
        except Refusal:
            return

    @rule(index=PICK)
    def activate(self, index: int) -> None:
        if self.leases:
            try:
                self.network.activate(self.leases[index % len(self.leases)])
            except Refusal:
                return

    @rule(index=PICK, held_ms=st.integers(0, OFFERED_MS), alone=st.booleans())
    def settle_or_claim(self, index: int, held_ms: int, alone: bool) -> None:
        if not self.leases:
            return
        lease_id = self.leases[index % len(self.leases)]
        row = table.LEASES.get(self.network.state, lease_id)
        if row is None or row.state not in (LeaseState.ACTIVE, LeaseState.ENDED):
            return
        receipt = self.network.receipt(lease_id, min(held_ms, row.duration_ms), row.epoch)
        try:
            if alone:
                self.network.claim(receipt)
            else:
                self.network.settle(receipt, row.consumer)
        except Refusal:
            return

    @rule(price=AMOUNT, buyer=PICK)
    def sell(self, price: int, buyer: int) -> None:
        expires_ms = self.network.now_ms + 60_000
        offer = self.attempt(AssetOffer(self.asset, price, None, expires_ms), self.owners[0])
        if offer is not None:
            self.attempt(AssetAccept(self.asset, offer, price), self.owners[buyer % 3])

    @rule(
        milliseconds=st.sampled_from([0, 1, RESERVATION_MS, OFFERED_MS, CLAIM_MS]),
    )
    def block(self, milliseconds: int) -> None:
        events = self.network.context.events
        time_ms = self.network.now_ms
        self.network.advance(milliseconds)
        self.height += 1
        self.database.apply([(block(self.height, time_ms), events)])
        self.compared = True

    @invariant()
    def entries_add_up_to_the_ledger(self) -> None:
        if not getattr(self, "compared", False):
            return
        self.compared = False
        expected = {owner: held for owner, held in self.holdings() if any(held)}
        found = {owner: held for owner, held in self.database.accounts().items() if any(held)}
        assert found == expected

    def holdings(self) -> Iterator[tuple[bytes, tuple[int, int, int, int]]]:
        # The transactions of the block that is open are not in the index yet, and there are none:
        # this runs right after a block.
        yield from holdings(self.network.state).items()

    def teardown(self) -> None:
        if not hasattr(self, "network"):
            return
        for milliseconds in (RESERVATION_MS, OFFERED_MS, CLAIM_MS, 60_000, 0):
            self.block(milliseconds)
            self.entries_add_up_to_the_ledger()
        for owner in self.database.accounts():
            self.each_entry_follows_the_one_before(owner)
        self.database.close()
        self.directory.cleanup()

    def each_entry_follows_the_one_before(self, owner: bytes) -> None:
        after = (0, 0, 0, 0)
        entries = list(reversed(self.database.entries(owner, None, 10_000)))
        for number, entry in enumerate(entries, start=1):
            assert entry.sequence == number
            after = tuple(a + b for a, b in zip(after, entry.change, strict=True))
            assert entry.after == after
        assert self.database.account(owner) == after


Ledger.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestLedger = Ledger.TestCase


@pytest.mark.parametrize("reason", ["fee", "refund"])
def test_the_comparison_finds_a_movement_that_is_left_out(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check above can fail: a movement that the index forgets is a difference."""
    whole = movements._closed

    def forgetful(lease: object) -> Iterator[Movement]:
        return (each for each in whole(lease) if each.reason.value != reason)  # type: ignore[arg-type]

    monkeypatch.setattr(movements, "_closed", forgetful)
    machine = Ledger()
    machine.begin()
    try:
        machine.open(1, 10, 3_000)
        machine.activate(0)
        machine.block(1_000)
        machine.settle_or_claim(0, 500, alone=False)
        machine.block(0)
        with pytest.raises(AssertionError):
            machine.entries_add_up_to_the_ledger()
    finally:
        machine.database.close()
        machine.directory.cleanup()


def test_every_movement_changes_two_accounts_by_the_same_amount() -> None:
    """Double entry: what leaves one part arrives in another, but for what genesis mints."""
    paid = Movement(Reason.PAYMENT, (b"a", Part.IN_ESCROW), (b"b", Part.BALANCE), 5)
    own = Movement(Reason.REFUND, (b"a", Part.IN_ESCROW), (b"a", Part.BALANCE), 5)
    for movement in (paid, own):
        assert sum(sum(posting.changes) for posting in postings(movement)) == 0
