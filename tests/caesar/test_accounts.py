from __future__ import annotations

from itertools import combinations

import pytest

from hypermesh.caesar.audit import audit
from hypermesh.caesar.token import accounts, supply
from hypermesh.caesar.token.accounts import (
    MODULE_ACCOUNTS,
    AmountOutOfRange,
    Overdrawn,
    SameAccount,
    balance,
    move,
)
from hypermesh.ledger.module import InvariantBroken
from hypermesh.wire.amount import AMOUNT_MAX

from .conftest import MemoryState, identifier

ALICE, BOB = identifier("owner", 0), identifier("owner", 1)


@pytest.fixture
def state() -> MemoryState:
    state = MemoryState()
    supply.begin(state, "none")
    supply.mint(state, ALICE, 100)
    return state


def test_move_takes_from_one_and_gives_to_the_other(state: MemoryState) -> None:
    move(state, ALICE, BOB, 30)
    assert (balance(state, ALICE), balance(state, BOB)) == (70, 30)
    move(state, BOB, ALICE, 10)
    assert (balance(state, ALICE), balance(state, BOB)) == (80, 20)


def test_an_account_can_give_all_and_leaves_no_row(state: MemoryState) -> None:
    move(state, ALICE, BOB, 100)
    assert balance(state, ALICE) == 0
    assert dict(accounts.balances(state)) == {BOB: 100}


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1, -(2**80), 2**80, True, 1.0])
def test_what_is_no_positive_amount_is_refused(state: MemoryState, amount: int) -> None:
    before = dict(state.rows)
    with pytest.raises(AmountOutOfRange, match="not an amount"):
        move(state, ALICE, BOB, amount)
    assert state.rows == before


@pytest.mark.parametrize("amount", [101, AMOUNT_MAX])
def test_overdrawing_is_refused_and_writes_nothing(state: MemoryState, amount: int) -> None:
    before = dict(state.rows)
    with pytest.raises(Overdrawn, match=r"holds 0\.0000001 CAES"):
        move(state, ALICE, BOB, amount)
    assert state.rows == before


def test_an_unknown_account_is_empty_and_cannot_give(state: MemoryState) -> None:
    assert balance(state, BOB) == 0
    with pytest.raises(Overdrawn):
        move(state, BOB, ALICE, 1)


def test_a_movement_to_oneself_is_refused(state: MemoryState) -> None:
    with pytest.raises(SameAccount):
        move(state, ALICE, ALICE, 1)
    assert balance(state, ALICE) == 100


def test_the_largest_amount_moves_whole(state: MemoryState) -> None:
    supply.mint(state, ALICE, AMOUNT_MAX - 100)
    move(state, ALICE, BOB, AMOUNT_MAX)
    assert (balance(state, ALICE), balance(state, BOB)) == (0, AMOUNT_MAX)
    audit(state)


def test_a_balance_outside_int64_is_a_broken_invariant(state: MemoryState) -> None:
    for amount in (-1, AMOUNT_MAX + 1):
        with pytest.raises(InvariantBroken, match="impossible"):
            accounts.write(state, BOB, amount)
    assert balance(state, BOB) == 0


def test_module_accounts_have_distinct_32_byte_ids() -> None:
    assert set(MODULE_ACCOUNTS) == {"faucet", "fees", "escrow", "bonded", "unbonding"}
    assert all(len(account) == 32 for account in MODULE_ACCOUNTS.values())
    assert all(one != other for one, other in combinations(MODULE_ACCOUNTS.values(), 2))
