from __future__ import annotations

import pytest

from hypermesh.caesar.token.accounts import (
    ESCROW,
    FAUCET,
    AmountOutOfRange,
    Overdrawn,
    SameAccount,
    balance,
)
from hypermesh.caesar.token.bank import (
    AlreadyGranted,
    FaucetEmpty,
    Grant,
    NodeRequired,
    UnknownPayee,
    grant,
)
from hypermesh.ledger.module import Event
from hypermesh.wire.amount import AMOUNT_MAX
from hypermesh.wire.codec import encode
from hypermesh.wire.tx import BankFaucet, BankTransfer

from .conftest import GRANT, SUPPLY, Network, economy, identifier


def test_a_node_claims_its_grant_for_its_owner(network: Network) -> None:
    node, owner = network.nodes[0], network.owners[0]
    events = network.execute(BankFaucet(), node)
    network.block()
    assert balance(network.state, owner) == GRANT
    assert balance(network.state, FAUCET) == SUPPLY - GRANT
    assert grant(network.state, node) == Grant(owner, GRANT)
    assert events == [Event("bank.granted", node, encode((owner, GRANT)))]


def test_a_node_has_one_grant_ever(network: Network) -> None:
    network.execute(BankFaucet(), network.nodes[0])
    network.block(advance_ms=10**9)
    with pytest.raises(AlreadyGranted):
        network.execute(BankFaucet(), network.nodes[0])
    assert balance(network.state, network.owners[0]) == GRANT


def test_each_node_of_an_owner_has_its_own_grant(network: Network) -> None:
    first, fourth = network.nodes[0], network.nodes[3]
    assert network.owner_of(first) == network.owner_of(fourth)
    network.execute(BankFaucet(), first)
    network.execute(BankFaucet(), fourth)
    network.block()
    assert balance(network.state, network.owner_of(first)) == 2 * GRANT


def test_an_owner_cannot_claim(network: Network) -> None:
    with pytest.raises(NodeRequired):
        network.execute(BankFaucet(), network.owners[0])
    assert balance(network.state, FAUCET) == SUPPLY


def test_the_faucet_ends_and_grants_no_part() -> None:
    network = Network(economy(faucet_supply=2 * GRANT + GRANT - 1), nodes=4)
    for node in network.nodes[:2]:
        network.execute(BankFaucet(), node)
    with pytest.raises(FaucetEmpty):
        network.execute(BankFaucet(), network.nodes[2])
    network.block()
    assert balance(network.state, FAUCET) == GRANT - 1
    assert grant(network.state, network.nodes[2]) is None


def test_the_faucet_gives_its_last_unit() -> None:
    network = Network(economy(faucet_supply=GRANT))
    network.execute(BankFaucet(), network.nodes[0])
    network.block()
    assert balance(network.state, FAUCET) == 0


def test_a_faucet_without_grants_says_so() -> None:
    network = Network(economy(faucet_grant=0))
    with pytest.raises(FaucetEmpty):
        network.execute(BankFaucet(), network.nodes[0])


@pytest.mark.parametrize("by_node", [False, True])
def test_a_transfer_moves_the_signers_owners_money(network: Network, by_node: bool) -> None:
    network.execute(BankFaucet(), network.nodes[0])
    alice, bob = network.owners[:2]
    signer = network.nodes[0] if by_node else alice
    [event] = network.execute(BankTransfer(bob, 400, "rent"), signer)
    network.block()
    assert (balance(network.state, alice), balance(network.state, bob)) == (GRANT - 400, 400)
    assert (event.name, event.data) == ("bank.transferred", encode((alice, bob, 400)))


@pytest.mark.parametrize("payee", [identifier("stranger", 0), ESCROW, FAUCET])
def test_a_payee_must_be_a_known_owner(network: Network, payee: bytes) -> None:
    network.execute(BankFaucet(), network.nodes[0])
    with pytest.raises(UnknownPayee):
        network.execute(BankTransfer(payee, 1, ""), network.owners[0])
    assert balance(network.state, network.owners[0]) == GRANT


def test_a_transfer_refuses_bad_amounts_and_oneself(network: Network) -> None:
    network.execute(BankFaucet(), network.nodes[0])
    alice, bob = network.owners[:2]
    for amount in (0, -5, AMOUNT_MAX + 1):
        with pytest.raises(AmountOutOfRange):
            network.execute(BankTransfer(bob, amount, ""), alice)
    for amount in (GRANT + 1, AMOUNT_MAX):
        with pytest.raises(Overdrawn):
            network.execute(BankTransfer(bob, amount, ""), alice)
    with pytest.raises(SameAccount):
        network.execute(BankTransfer(alice, 1, ""), alice)
    network.block()
    assert balance(network.state, alice) == GRANT
    assert network.deadline() is None
