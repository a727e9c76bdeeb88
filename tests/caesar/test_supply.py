from __future__ import annotations

import pytest

from hypermesh.caesar.audit import audit
from hypermesh.caesar.token import accounts, escrow, supply
from hypermesh.caesar.token.accounts import FAUCET, AmountOutOfRange, balance, move
from hypermesh.caesar.token.caes import CaesarToken
from hypermesh.caesar.token.supply import MintingStopped, SupplyExceeded
from hypermesh.ledger.module import InvariantBroken
from hypermesh.wire.amount import AMOUNT_MAX
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.tx import BankFaucet, BankTransfer

from .conftest import GRANT, SUPPLY, MemoryState, Network, economy, identifier

ALICE, BOB = identifier("owner", 0), identifier("owner", 1)


def leaking_move(state: MemoryState, source: bytes, target: bytes, amount: int) -> None:
    """`accounts.move` with a planted error: one unit is lost on the way."""
    accounts.write(state, source, balance(state, source) - amount)
    accounts.write(state, target, balance(state, target) + amount - 1)


def test_genesis_mints_the_whole_supply_into_the_faucet(network: Network) -> None:
    token = CaesarToken(network.state)
    assert (token.anchor, token.supply, token.circulating) == ("none", SUPPLY, 0)
    assert token.module_balances() == {
        "faucet": SUPPLY,
        "fees": 0,
        "escrow": 0,
        "bonded": 0,
        "unbonding": 0,
    }
    network.block()


def test_a_network_without_units_begins_and_conserves_nothing() -> None:
    network = Network(economy(faucet_supply=0))
    network.block()
    assert CaesarToken(network.state).supply == 0


def test_the_largest_supply_begins() -> None:
    network = Network(economy(faucet_supply=AMOUNT_MAX))
    network.block()
    assert balance(network.state, FAUCET) == AMOUNT_MAX


def test_an_anchor_is_not_available() -> None:
    with pytest.raises(NotAvailable, match="gold"):
        Network(economy(anchor="gold"))


def test_a_state_without_genesis_has_no_supply() -> None:
    with pytest.raises(InvariantBroken, match="no supply"):
        supply.supply(MemoryState())


def test_circulating_is_what_left_the_faucet(network: Network) -> None:
    network.execute(BankFaucet(), network.nodes[0])
    assert CaesarToken(network.state).circulating == GRANT


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1, True])
def test_mint_refuses_what_is_no_amount(network: Network, amount: int) -> None:
    with pytest.raises(AmountOutOfRange):
        supply.mint(network.state, ALICE, amount)


def test_mint_refuses_to_leave_int64(network: Network) -> None:
    with pytest.raises(SupplyExceeded):
        supply.mint(network.state, ALICE, AMOUNT_MAX - SUPPLY + 1)
    supply.mint(network.state, ALICE, AMOUNT_MAX - SUPPLY)
    network.block()
    assert CaesarToken(network.state).supply == AMOUNT_MAX


def test_a_move_that_loses_one_unit_is_caught_at_the_end_of_its_block(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.execute(BankFaucet(), network.nodes[0])
    network.block()
    monkeypatch.setattr("hypermesh.caesar.token.bank.move", leaking_move)
    network.execute(BankTransfer(BOB, 10, ""), ALICE)
    with pytest.raises(InvariantBroken, match=f"hold {SUPPLY - 1} nCAES, the supply is {SUPPLY}"):
        network.bank.check(network.context)


def test_a_breach_stops_minting_and_leaves_transfers_open(network: Network) -> None:
    network.execute(BankFaucet(), network.nodes[0])
    leaking_move(network.state, FAUCET, BOB, 5)
    with pytest.raises(MintingStopped):
        supply.mint(network.state, BOB, 1)
    move(network.state, ALICE, BOB, 10)
    assert balance(network.state, BOB) == 14


def test_a_row_changed_behind_the_running_sum_is_found_by_the_audit(network: Network) -> None:
    network.execute(BankFaucet(), network.nodes[0])
    state = network.state
    accounts._BALANCES.put(state, ALICE, accounts.Balance(GRANT + 1))
    network.bank.check(network.context)
    with pytest.raises(InvariantBroken, match="not conserved"):
        audit(state)


def test_a_running_sum_changed_behind_the_rows_is_found_by_check_and_audit(
    network: Network,
) -> None:
    accounts._SUM.add(network.state, 1)
    with pytest.raises(InvariantBroken, match="not conserved"):
        network.bank.check(network.context)
    with pytest.raises(InvariantBroken, match="not conserved"):
        audit(network.state)


def test_money_in_escrow_that_no_lease_names_is_found(network: Network) -> None:
    network.execute(BankFaucet(), network.nodes[0])
    move(network.state, ALICE, accounts.ESCROW, 1)
    with pytest.raises(InvariantBroken, match="escrow"):
        network.bank.check(network.context)
    with pytest.raises(InvariantBroken, match="escrow"):
        audit(network.state)
    with pytest.raises(InvariantBroken, match="escrow"):
        CaesarToken(network.state).require_conserved()


def test_an_escrow_row_without_money_is_found_by_the_audit(network: Network) -> None:
    escrow._ESCROWS.put(network.state, identifier("lease", 0), escrow.Escrow(ALICE, 1))
    with pytest.raises(InvariantBroken, match="escrow"):
        audit(network.state)
