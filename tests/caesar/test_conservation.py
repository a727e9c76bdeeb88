"""Random operations on bank, staking and escrow, against a model that is plainly right."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from hypermesh.caesar.audit import audit
from hypermesh.caesar.economics import staking
from hypermesh.caesar.token import accounts, escrow
from hypermesh.caesar.token.caes import CaesarToken
from hypermesh.ledger.module import Refusal
from hypermesh.wire.tx import BankFaucet, BankTransfer, StakeBond, StakeUnbond

from .conftest import GRANT, LEASE_FEE, UNBONDING_MS, Network, economy, identifier

SUPPLY = 5 * GRANT + GRANT // 2
WHO = st.integers(0, 2)
NODE = st.integers(0, 7)
AMOUNT = st.one_of(
    st.integers(-1, 2 * GRANT), st.sampled_from([0, GRANT, SUPPLY, 2**63 - 1, 2**63])
)


class Economy(RuleBasedStateMachine):
    """The model: money as a Counter over names, escrows and unbondings as plain lists."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(economy(faucet_supply=SUPPLY), nodes=8, owners=3)
        self.money: Counter[object] = Counter({"faucet": SUPPLY})
        self.granted: set[int] = set()
        self.bonds: Counter[tuple[int, int]] = Counter()
        self.waiting: list[tuple[int, int, int, int]] = []
        self.escrows: dict[bytes, tuple[int, int]] = {}
        self.opened = 0

    def attempt(self, body: object, signer: bytes, *, allowed: bool) -> None:
        """The network takes `body` exactly where the model allows it."""
        if allowed:
            self.network.execute(body, signer)  # type: ignore[arg-type]
        else:
            with pytest.raises(Refusal) as refused:
                self.network.execute(body, signer)  # type: ignore[arg-type]
            assert refused.value.code.startswith("HM-TX-")

    def shift(self, source: object, target: object, amount: int) -> None:
        self.money[source] -= amount
        self.money[target] += amount

    @rule(node=NODE)
    def claim(self, node: int) -> None:
        allowed = node not in self.granted and self.money["faucet"] >= GRANT
        self.attempt(BankFaucet(), self.network.nodes[node], allowed=allowed)
        if allowed:
            self.granted.add(node)
            self.shift("faucet", node % 3, GRANT)

    @rule(payer=WHO, payee=WHO, amount=AMOUNT)
    def transfer(self, payer: int, payee: int, amount: int) -> None:
        allowed = payer != payee and 0 < amount <= self.money[payer]
        body = BankTransfer(self.network.owners[payee], amount, "")
        self.attempt(body, self.network.owners[payer], allowed=allowed)
        if allowed:
            self.shift(payer, payee, amount)

    @rule(owner=WHO, node=NODE, amount=AMOUNT)
    def bond(self, owner: int, node: int, amount: int) -> None:
        allowed = 0 < amount <= self.money[owner]
        body = StakeBond(self.network.nodes[node], amount)
        self.attempt(body, self.network.owners[owner], allowed=allowed)
        if allowed:
            self.shift(owner, "bonded", amount)
            self.bonds[node, owner] += amount

    @rule(owner=WHO, node=NODE, amount=AMOUNT)
    def unbond(self, owner: int, node: int, amount: int) -> None:
        entries = sum(1 for entry in self.waiting if entry[1:3] == (node, owner))
        allowed = 0 < amount <= self.bonds[node, owner] and entries < staking.UNBONDINGS_MAX
        body = StakeUnbond(self.network.nodes[node], amount)
        self.attempt(body, self.network.owners[owner], allowed=allowed)
        if allowed:
            self.shift("bonded", "unbonding", amount)
            self.bonds[node, owner] -= amount
            self.waiting.append((self.network.context.time_ms + UNBONDING_MS, node, owner, amount))

    @rule(target=leases, payer=WHO, amount=AMOUNT)
    def open_lease(self, payer: int, amount: int) -> object:
        self.opened += 1
        lease = identifier("lease", self.opened)
        if not 0 <= amount <= self.money[payer]:
            with pytest.raises(Refusal):
                escrow.open(self.network.state, lease, self.network.owners[payer], amount)
            return multiple()
        escrow.open(self.network.state, lease, self.network.owners[payer], amount)
        self.shift(payer, "escrow", amount)
        self.escrows[lease] = (payer, amount)
        return lease

    @rule(lease=leases, payee=WHO, charge=st.integers(0, 2 * GRANT))
    def settle(self, lease: bytes, payee: int, charge: int) -> None:
        if lease not in self.escrows:
            with pytest.raises(escrow.NoEscrow):
                escrow.settle(
                    self.network.state, lease, self.network.owners[payee], charge, LEASE_FEE
                )
            return
        payer, amount = self.escrows.pop(lease)
        done = escrow.settle(
            self.network.state, lease, self.network.owners[payee], charge, LEASE_FEE
        )
        assert done.paid + done.fee + done.refund == amount
        self.shift("escrow", "fees", min(LEASE_FEE, amount))
        paid = min(charge, amount - min(LEASE_FEE, amount))
        self.shift("escrow", payee, paid)
        self.shift("escrow", payer, amount - min(LEASE_FEE, amount) - paid)

    @rule(lease=consumes(leases))
    def refund(self, lease: bytes) -> None:
        if lease not in self.escrows:
            with pytest.raises(escrow.NoEscrow):
                escrow.refund(self.network.state, lease)
            return
        payer, amount = self.escrows.pop(lease)
        assert escrow.refund(self.network.state, lease) == amount
        self.shift("escrow", payer, amount)

    @rule(advance_ms=st.sampled_from([0, 1, UNBONDING_MS // 2, UNBONDING_MS]))
    def block(self, advance_ms: int) -> None:
        self.network.block(advance_ms)
        now = self.network.context.time_ms
        for due_ms, _, owner, amount in self.waiting:
            if due_ms <= now:
                self.shift("unbonding", owner, amount)
        self.waiting = [entry for entry in self.waiting if entry[0] > now]

    @invariant()
    def agrees_with_the_model(self) -> None:
        state = self.network.state
        token = CaesarToken(state)
        assert token.supply == sum(self.money.values()) == SUPPLY
        for name, amount in token.module_balances().items():
            assert amount == self.money[name]
        for number, owner in enumerate(self.network.owners):
            assert accounts.balance(state, owner) == self.money[number] >= 0
        for number, node in enumerate(self.network.nodes):
            expected = sum(self.bonds[number, owner] for owner in range(3))
            assert staking.bonded(state, node) == expected
        assert self.network.deadline() == min((entry[0] for entry in self.waiting), default=None)
        audit(state)


Economy.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestEconomy = Economy.TestCase
