from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.caesar.audit import audit
from hypermesh.caesar.token import escrow, supply
from hypermesh.caesar.token.accounts import (
    ESCROW,
    FEES,
    AmountOutOfRange,
    Overdrawn,
    balance,
)
from hypermesh.caesar.token.escrow import Escrow, EscrowExists, NoEscrow, Settlement
from hypermesh.wire.amount import AMOUNT_MAX

from .conftest import MemoryState, identifier

ALICE, BOB = identifier("owner", 0), identifier("owner", 1)
LEASE, OTHER = identifier("lease", 0), identifier("lease", 1)


def funded(amount: int = 1000) -> MemoryState:
    state = MemoryState()
    supply.begin(state, "none")
    supply.mint(state, ALICE, amount)
    return state


def test_opening_sets_the_money_aside() -> None:
    state = funded()
    escrow.open(state, LEASE, ALICE, 400)
    assert (balance(state, ALICE), balance(state, ESCROW)) == (600, 400)
    assert escrow.held(state, LEASE) == Escrow(ALICE, 400)
    assert escrow.held(state, OTHER) is None
    audit(state)


def test_settling_pays_charge_and_fee_and_returns_the_rest() -> None:
    state = funded()
    escrow.open(state, LEASE, ALICE, 400)
    assert escrow.settle(state, LEASE, BOB, charge=250, fee=7) == Settlement(250, 7, 143)
    assert [balance(state, account) for account in (ALICE, BOB, FEES, ESCROW)] == [743, 250, 7, 0]
    assert escrow.held(state, LEASE) is None
    audit(state)


@pytest.mark.parametrize(
    ("held", "charge", "fee", "expected"),
    [
        (100, 100, 0, Settlement(100, 0, 0)),
        (100, 100, 7, Settlement(93, 7, 0)),
        (100, AMOUNT_MAX, 7, Settlement(93, 7, 0)),
        (100, 93, 7, Settlement(93, 7, 0)),
        (100, 92, 7, Settlement(92, 7, 1)),
        (100, 0, 7, Settlement(0, 7, 93)),
        (5, 3, 7, Settlement(0, 5, 0)),
        (0, 3, 7, Settlement(0, 0, 0)),
        (0, 0, 0, Settlement(0, 0, 0)),
    ],
)
def test_nothing_beyond_the_escrow_is_owed(
    held: int, charge: int, fee: int, expected: Settlement
) -> None:
    state = funded()
    escrow.open(state, LEASE, ALICE, held)
    assert escrow.settle(state, LEASE, BOB, charge, fee) == expected
    audit(state)


def test_a_payer_may_be_its_own_payee() -> None:
    state = funded()
    escrow.open(state, LEASE, ALICE, 100)
    assert escrow.settle(state, LEASE, ALICE, charge=40, fee=7) == Settlement(40, 7, 53)
    assert (balance(state, ALICE), balance(state, FEES)) == (993, 7)
    audit(state)


def test_an_escrow_settles_exactly_once() -> None:
    state = funded()
    escrow.open(state, LEASE, ALICE, 100)
    escrow.open(state, OTHER, ALICE, 100)
    escrow.settle(state, LEASE, BOB, 10, 1)
    before = dict(state.rows)
    with pytest.raises(NoEscrow, match="settled or refunded before"):
        escrow.settle(state, LEASE, BOB, 10, 1)
    with pytest.raises(NoEscrow):
        escrow.refund(state, LEASE)
    assert state.rows == before


def test_a_refund_returns_all_and_ends_the_escrow() -> None:
    state = funded()
    escrow.open(state, LEASE, ALICE, 100)
    assert escrow.refund(state, LEASE) == 100
    assert (balance(state, ALICE), balance(state, ESCROW)) == (1000, 0)
    with pytest.raises(NoEscrow):
        escrow.refund(state, LEASE)
    with pytest.raises(NoEscrow):
        escrow.settle(state, LEASE, BOB, 1, 0)
    audit(state)


def test_a_free_lease_keeps_the_rule_of_once() -> None:
    state = funded()
    escrow.open(state, LEASE, BOB, 0)
    assert escrow.held(state, LEASE) == Escrow(BOB, 0)
    with pytest.raises(EscrowExists):
        escrow.open(state, LEASE, BOB, 0)
    assert escrow.refund(state, LEASE) == 0
    with pytest.raises(NoEscrow):
        escrow.refund(state, LEASE)


def test_a_lease_has_one_escrow() -> None:
    state = funded()
    escrow.open(state, LEASE, ALICE, 100)
    before = dict(state.rows)
    with pytest.raises(EscrowExists):
        escrow.open(state, LEASE, ALICE, 100)
    assert state.rows == before


def test_a_payer_cannot_escrow_what_it_does_not_hold() -> None:
    state = funded()
    with pytest.raises(Overdrawn):
        escrow.open(state, LEASE, ALICE, 1001)
    assert escrow.held(state, LEASE) is None
    audit(state)


@pytest.mark.parametrize("amount", [-1, AMOUNT_MAX + 1, True, 0.0])
def test_escrow_refuses_what_is_no_amount(amount: int) -> None:
    state = funded()
    with pytest.raises(AmountOutOfRange):
        escrow.open(state, LEASE, ALICE, amount)
    escrow.open(state, LEASE, ALICE, 100)
    before = dict(state.rows)
    with pytest.raises(AmountOutOfRange):
        escrow.settle(state, LEASE, BOB, amount, 0)
    with pytest.raises(AmountOutOfRange):
        escrow.settle(state, LEASE, BOB, 0, amount)
    assert state.rows == before


AMOUNTS = st.integers(0, AMOUNT_MAX)


@given(held=AMOUNTS, charge=AMOUNTS, fee=AMOUNTS)
def test_every_settlement_adds_up_to_its_escrow(held: int, charge: int, fee: int) -> None:
    state = funded(AMOUNT_MAX)
    escrow.open(state, LEASE, ALICE, held)
    done = escrow.settle(state, LEASE, BOB, charge, fee)
    assert done.paid + done.fee + done.refund == held
    assert (done.paid, done.fee) == (balance(state, BOB), balance(state, FEES))
    assert 0 <= done.paid <= charge
    assert 0 <= done.fee <= fee
    assert done.refund == 0 or (done.paid, done.fee) == (charge, fee)
    audit(state)
