from __future__ import annotations

import pytest

from hypermesh.caesar.audit import audit
from hypermesh.caesar.economics import staking
from hypermesh.caesar.economics.staking import (
    RETURNS_PER_BLOCK_MAX,
    UNBONDING_MS_MAX,
    UNBONDINGS_MAX,
    BondTooSmall,
    TooManyUnbondings,
    UnknownNode,
    bond,
    bonded,
)
from hypermesh.caesar.token import accounts
from hypermesh.caesar.token.accounts import (
    BONDED,
    UNBONDING,
    AmountOutOfRange,
    Overdrawn,
    balance,
    move,
)
from hypermesh.ledger.module import InvariantBroken
from hypermesh.wire.amount import AMOUNT_MAX
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.tx import BankFaucet, StakeBond, StakeUnbond

from .conftest import GRANT, START_MS, UNBONDING_MS, Network, economy, identifier


@pytest.fixture
def funded(network: Network) -> Network:
    for node in network.nodes[:3]:
        network.execute(BankFaucet(), node)
    network.block()
    return network


def test_a_bond_moves_money_and_counts_at_once(funded: Network) -> None:
    node, alice = funded.nodes[1], funded.owners[0]
    [event] = funded.execute(StakeBond(node, 300), alice)
    assert bonded(funded.state, node) == bond(funded.state, node, alice) == 300
    assert balance(funded.state, alice) == GRANT - 300
    assert balance(funded.state, BONDED) == 300
    assert (event.name, event.subject, event.data) == (
        "stake.bonded",
        node,
        encode((alice, 300)),
    )
    funded.block()


def test_a_nodes_bond_is_the_sum_over_owners(funded: Network) -> None:
    node, (alice, bob, carol) = funded.nodes[1], funded.owners
    funded.execute(StakeBond(node, 300), alice)
    funded.execute(StakeBond(node, 50), bob)
    funded.execute(StakeBond(node, 5), alice)
    assert bonded(funded.state, node) == 355
    assert [bond(funded.state, node, owner) for owner in (alice, bob, carol)] == [305, 50, 0]
    assert bonded(funded.state, funded.nodes[0]) == 0
    funded.block()


def test_a_node_bonds_its_owners_money(funded: Network) -> None:
    funded.execute(StakeBond(funded.nodes[1], 10), funded.nodes[0])
    assert bond(funded.state, funded.nodes[1], funded.owners[0]) == 10
    assert balance(funded.state, funded.owners[1]) == GRANT


def test_unbonding_stops_counting_at_once_and_returns_on_time(funded: Network) -> None:
    node, alice = funded.nodes[0], funded.owners[0]
    funded.execute(StakeBond(node, 300), alice)
    funded.execute(StakeUnbond(node, 120), alice)
    assert bonded(funded.state, node) == 180
    assert balance(funded.state, UNBONDING) == 120
    assert funded.deadline() == START_MS + UNBONDING_MS

    assert funded.block(UNBONDING_MS - 1) == []
    assert balance(funded.state, alice) == GRANT - 300

    [event] = funded.block(1)
    assert balance(funded.state, alice) == GRANT - 180
    assert balance(funded.state, UNBONDING) == 0
    assert (event.name, event.subject, event.data) == (
        "stake.returned",
        node,
        encode((alice, 120)),
    )
    assert funded.deadline() is None
    assert funded.block(10 * UNBONDING_MS) == []


def test_unbondings_return_in_order_of_their_time(funded: Network) -> None:
    node, (alice, bob, _) = funded.nodes[0], funded.owners
    for owner in (alice, bob):
        funded.execute(StakeBond(node, 100), owner)
    funded.execute(StakeUnbond(node, 1), bob)
    funded.block(1000)
    funded.execute(StakeUnbond(node, 2), alice)
    assert [(due, row.owner) for due, row in staking.unbondings(funded.state)] == [
        (START_MS + UNBONDING_MS, bob),
        (START_MS + 1000 + UNBONDING_MS, alice),
    ]
    assert [event.data for event in funded.block(2 * UNBONDING_MS)] == [
        encode((bob, 1)),
        encode((alice, 2)),
    ]


def test_without_an_unbonding_time_money_returns_in_the_same_block() -> None:
    network = Network(economy(unbonding_ms=0))
    network.execute(BankFaucet(), network.nodes[0])
    network.execute(StakeBond(network.nodes[0], 10), network.owners[0])
    network.execute(StakeUnbond(network.nodes[0], 10), network.owners[0])
    network.block()
    assert balance(network.state, network.owners[0]) == GRANT


def test_a_bond_returns_to_the_owner_that_paid_it_alone(funded: Network) -> None:
    node, alice, bob = funded.nodes[1], funded.owners[0], funded.owners[1]
    assert funded.owner_of(node) == bob
    funded.execute(StakeBond(node, 300), alice)
    for signer in (bob, node):
        with pytest.raises(BondTooSmall):
            funded.execute(StakeUnbond(node, 1), signer)
    funded.execute(StakeUnbond(node, 300), alice)
    funded.block(UNBONDING_MS)
    assert [balance(funded.state, owner) for owner in (alice, bob)] == [GRANT, GRANT]


def test_a_bond_is_refused_for_an_unknown_or_revoked_node(funded: Network) -> None:
    alice = funded.owners[0]
    with pytest.raises(UnknownNode):
        funded.execute(StakeBond(identifier("stranger", 0), 1), alice)
    funded.execute(StakeBond(funded.nodes[1], 1), alice)
    funded.revoked.add(funded.nodes[1])
    with pytest.raises(UnknownNode):
        funded.execute(StakeBond(funded.nodes[1], 1), alice)


def test_the_bond_of_a_revoked_node_returns(funded: Network) -> None:
    node, alice = funded.nodes[1], funded.owners[0]
    funded.execute(StakeBond(node, 300), alice)
    funded.revoked.add(node)
    funded.execute(StakeUnbond(node, 300), alice)
    funded.block(UNBONDING_MS)
    assert balance(funded.state, alice) == GRANT


def test_bad_amounts_are_refused(funded: Network) -> None:
    node, alice = funded.nodes[0], funded.owners[0]
    funded.execute(StakeBond(node, 100), alice)
    for amount in (0, -1, AMOUNT_MAX + 1):
        with pytest.raises(AmountOutOfRange):
            funded.execute(StakeBond(node, amount), alice)
        with pytest.raises(AmountOutOfRange):
            funded.execute(StakeUnbond(node, amount), alice)
    with pytest.raises(Overdrawn):
        funded.execute(StakeBond(node, GRANT - 99), alice)
    with pytest.raises(BondTooSmall):
        funded.execute(StakeUnbond(node, 101), alice)
    funded.block()
    assert bonded(funded.state, node) == 100


def test_unbonding_money_cannot_be_unbonded_again(funded: Network) -> None:
    node, alice = funded.nodes[0], funded.owners[0]
    funded.execute(StakeBond(node, 100), alice)
    funded.execute(StakeUnbond(node, 100), alice)
    with pytest.raises(BondTooSmall):
        funded.execute(StakeUnbond(node, 1), alice)


def test_unbondings_on_their_way_are_limited_for_each_owner_and_node(funded: Network) -> None:
    node, (alice, bob, _) = funded.nodes[0], funded.owners
    for owner in (alice, bob):
        funded.execute(StakeBond(node, 100), owner)
    for _ in range(UNBONDINGS_MAX):
        funded.execute(StakeUnbond(node, 1), alice)
    with pytest.raises(TooManyUnbondings):
        funded.execute(StakeUnbond(node, 1), alice)
    funded.execute(StakeUnbond(node, 1), bob)
    funded.block(UNBONDING_MS)
    funded.execute(StakeUnbond(node, 1), alice)


def test_one_block_returns_a_limited_number_and_the_next_the_rest() -> None:
    owners = RETURNS_PER_BLOCK_MAX + 3
    network = Network(economy(faucet_grant=owners), nodes=1, owners=owners)
    network.execute(BankFaucet(), network.nodes[0])
    for owner in network.owners[1:]:
        move(network.state, network.owners[0], owner, 1)
    for owner in network.owners:
        network.execute(StakeBond(network.nodes[0], 1), owner)
        network.execute(StakeUnbond(network.nodes[0], 1), owner)
    assert len(network.block(UNBONDING_MS)) == RETURNS_PER_BLOCK_MAX
    due = network.deadline()
    assert due is not None
    assert due <= network.context.time_ms
    assert len(network.block()) == 3
    assert network.deadline() is None


def test_an_unbonding_time_beyond_the_bound_is_refused_at_genesis() -> None:
    with pytest.raises(InvalidInput, match="unbonding time"):
        Network(economy(unbonding_ms=UNBONDING_MS_MAX + 1))
    Network(economy(unbonding_ms=UNBONDING_MS_MAX))


@pytest.mark.parametrize("account", [BONDED, UNBONDING])
def test_money_without_a_bond_is_found(funded: Network, account: bytes) -> None:
    move(funded.state, funded.owners[0], account, 1)
    with pytest.raises(InvariantBroken, match=r"bonded|unbonding"):
        funded.staking.check(funded.context)
    with pytest.raises(InvariantBroken, match=r"bonded|unbonding"):
        audit(funded.state)


def test_a_bond_changed_behind_its_sums_is_found_by_the_audit(funded: Network) -> None:
    node, alice = funded.nodes[0], funded.owners[0]
    funded.execute(StakeBond(node, 100), alice)
    staking._BONDS.put(funded.state, node + alice, staking.Bond(101, 0))
    funded.staking.check(funded.context)
    with pytest.raises(InvariantBroken, match="its owners' bonds"):
        audit(funded.state)


def test_a_lost_bond_row_is_found_by_the_audit(funded: Network) -> None:
    node, alice = funded.nodes[0], funded.owners[0]
    funded.execute(StakeBond(node, 100), alice)
    staking._BONDS.delete(funded.state, node + alice)
    with pytest.raises(InvariantBroken, match="bonded"):
        audit(funded.state)
    assert accounts.balance(funded.state, BONDED) == 100
