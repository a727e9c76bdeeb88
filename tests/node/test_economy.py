"""The economy as it is shown: the ledger's own sums, and a breach is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.caesar.conftest import GENESIS_ID, GRANT, LEASE_FEE, SUPPLY, Network, identifier

from hypermesh.caesar.token import accounts, escrow
from hypermesh.ledger.module import State
from hypermesh.node.economy import economy
from hypermesh.wire.api.caesar import CaesarView
from hypermesh.wire.tx import BankFaucet, StakeBond, StakeUnbond


@pytest.fixture
def network() -> Network:
    """A grant of which parts are bonded, on their way back, in escrow and paid as a fee."""
    network = Network()
    node, owner = network.nodes[0], network.owners[0]
    network.execute(BankFaucet(), node)
    network.execute(StakeBond(node, 300), owner)
    network.execute(StakeUnbond(node, 100), owner)
    for number, amount in enumerate((50, 20)):
        escrow.open(network.state, identifier("lease", number), owner, amount)
    escrow.settle(network.state, identifier("lease", 1), network.owners[1], 5, LEASE_FEE)
    return network


def shown(network: Network) -> CaesarView:
    return economy(network.state, 9, GENESIS_ID, network.context.genesis.economy)


def test_every_part_is_the_ledgers_own_sum(network: Network) -> None:
    view = shown(network)
    assert (view.height, view.genesis, view.anchor) == (9, GENESIS_ID.hex(), "none")
    assert (view.supply.minted, view.supply.burned) == (SUPPLY, 0)
    assert (view.supply.faucet, view.supply.circulating) == (SUPPLY - GRANT, GRANT)
    assert (view.bonded, view.unbonding, view.escrow, view.fees) == (200, 100, 50, LEASE_FEE)
    assert (view.lease_fee, view.faucet_grant) == (LEASE_FEE, GRANT)
    assert view.conservation.holds
    assert view.conservation.why == ""


def unit_from_nowhere(state: State) -> None:
    accounts.write(state, b"x" * 32, 1)


def escrow_taken(state: State) -> None:
    accounts.move(state, accounts.ESCROW, b"x" * 32, 1)


def bond_taken(state: State) -> None:
    accounts.move(state, accounts.BONDED, b"x" * 32, 1)


def unbonding_taken(state: State) -> None:
    accounts.move(state, accounts.UNBONDING, b"x" * 32, 1)


@pytest.mark.parametrize(
    ("breach", "why"),
    [
        (unit_from_nowhere, f"together hold {SUPPLY + 1} nCAES, the supply is {SUPPLY}"),
        (escrow_taken, "it holds 49 nCAES, they are 50"),
        (bond_taken, "bonded does not match its rows: it holds 199 nCAES, they are 200"),
        (unbonding_taken, "unbonding does not match its rows: it holds 99 nCAES, they are 100"),
    ],
)
def test_a_breach_is_told(network: Network, breach: Callable[[State], None], why: str) -> None:
    breach(network.state)
    conservation = shown(network).conservation
    assert not conservation.holds
    assert why in conservation.why
