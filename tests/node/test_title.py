"""Change of owner through real nodes: alice hosts, bob buys, and manages what is his at alice's."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hypermesh.assets.privacy import AccessRefused
from hypermesh.assets.registry import NotTheOwner
from hypermesh.assets.title import NotForSale, OfferChanged, OfferedToAnother
from hypermesh.caesar.token.accounts import Overdrawn
from hypermesh.wire.api.asset import AssetView
from hypermesh.wire.api.privacy import PrivacyChange
from hypermesh.wire.asset import AssetKind, AssetState, ConsumerIdentity, PrivacyLevel

from .network import Network, Node, eventually, hm, output, problem
from .test_leases import MIB, allocate

PRICE = 12_345


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = Network(tmp_path_factory.mktemp("t"))
    try:
        network.found("bob", "carol")
        yield network
    finally:
        network.end()


def height(node: Node) -> int:
    return node.ask(lambda m: m.network.status()).height


def together(network: Network) -> None:
    """Until every node has the sequencer's height."""
    top = height(network.alice)
    for node in network.nodes.values():
        eventually(lambda node=node: height(node) >= top, "the block")


def seen(node: Node, asset: str) -> AssetView:
    return node.ask(lambda m: m.assets.get(asset))


def wealth(network: Network) -> dict[str, int]:
    """Balances as the sequencer has them."""
    owners = {name: node.membership.owner.hex() for name, node in network.nodes.items()}
    return {
        name: network.alice.ask(lambda m, owner=owner: m.accounts.get(owner)).balance
        for name, owner in owners.items()
    }


@pytest.fixture
def memory(market: Network) -> str:
    """Alice's memory, hers and for anybody to lease, whatever a test before did."""
    for node in market.nodes.values():
        node.ready()
    asset = next(
        each.asset
        for each in market.alice.ask(lambda m: list(m.assets.list(AssetKind.MEMORY)))
        if each.mine
    )
    shown = seen(market.alice, asset)
    if not shown.owned:
        holder = next(
            node for node in market.nodes.values() if node.membership.owner.hex() == shown.owner
        )
        if shown.title is not None:
            holder.ask(lambda m: m.assets.withdraw(asset))
        holder.ask(lambda m: m.assets.transfer(asset, market.alice.membership.owner.hex()))
    elif shown.title is not None:
        market.alice.ask(lambda m: m.assets.withdraw(asset))
    together(market)
    market.alice.ask(
        lambda m: m.privacy.change(
            PrivacyChange(asset, PrivacyLevel.FULL_PUBLIC, share_basis_points=10_000)
        )
    )
    together(market)
    return asset


def test_bob_buys_alices_memory_and_lends_it_on_his_terms(market: Network, memory: str) -> None:
    alice, bob, carol = market.alice, market.bob, market.carol
    lease = allocate(carol, memory, MIB, 600_000)
    before = wealth(market)

    offered = alice.ask(lambda m: m.assets.offer(memory, PRICE, bob.membership.owner.hex()))
    assert offered.asset.title is not None
    together(market)
    with pytest.raises(OfferChanged):
        bob.ask(lambda m: m.assets.accept(memory, PRICE + 1))
    with pytest.raises(OfferedToAnother):
        carol.ask(lambda m: m.assets.accept(memory, PRICE))
    bought = bob.ask(lambda m: m.assets.accept(memory, PRICE))
    assert (bought.asset.owned, bought.asset.level) == (True, PrivacyLevel.PRIVATE)
    assert bought.asset.title is None
    together(market)
    after = wealth(market)
    assert after["bob"] == before["bob"] - PRICE
    assert after["alice"] == before["alice"] + PRICE
    entry = next(iter(bob.ask(lambda m: list(m.accounts.entries()))))
    assert (entry.tx, entry.counterparty) == (bought.tx, alice.membership.owner.hex())
    with pytest.raises(NotForSale):
        carol.ask(lambda m: m.assets.accept(memory, PRICE))

    # It is private to bob now: alice and carol are out, bob is in, at alice's machine.
    for other in (alice, carol):
        with pytest.raises(AccessRefused):
            allocate(other, memory, MIB)
    own = allocate(bob, memory, MIB)
    bob.ask(lambda m: m.leases.release(own.lease))
    assert memory not in {each.asset for each in carol.ask(lambda m: list(m.assets.list()))}
    assert memory in {each.asset for each in bob.ask(lambda m: list(m.assets.list(owned=True)))}

    # Carol's lease goes on and pays alice, who owned it when the lease was opened.
    with carol.holding(lease, keep=True) as region:
        region.write(0, b"still here")
        assert region.read(0, 10) == b"still here"
    settled = carol.ask(lambda m: m.leases.release(lease.lease))
    assert settled.paid
    together(market)
    assert wealth(market)["alice"] == after["alice"] + settled.paid

    # Bob lends half of it to carol; the host has it durably, and keeps it over a restart.
    change = PrivacyChange(
        memory,
        PrivacyLevel.P2P,
        nodes=[carol.id.hex()],
        share_basis_points=5_000,
        identity=ConsumerIdentity.VERIFIED,
    )
    told = bob.ask(lambda m: m.privacy.change(change))
    assert (told.share_basis_points, told.nodes) == (5_000, [carol.id.hex()])
    together(market)
    shown = seen(carol, memory)
    assert shown.capacity is not None
    assert shown.free == shown.capacity // 2
    assert shown.shared_basis_points == 5_000
    with pytest.raises(NotTheOwner):
        alice.ask(lambda m: m.privacy.change(change))
    alice.kill()
    alice.start()
    settings = {each.asset: each for each in bob.ask(lambda m: list(m.privacy.settings()))}
    assert settings[memory] == told
    assert memory not in {each.asset for each in alice.ask(lambda m: list(m.privacy.settings()))}
    attested(market)
    held = allocate(carol, memory, MIB)
    carol.ask(lambda m: m.leases.release(held.lease))
    with pytest.raises(AccessRefused):
        allocate(alice, memory, MIB)


def attested(market: Network) -> None:
    """Until alice's attestation is in force everywhere."""
    for node in market.nodes.values():
        eventually(
            lambda node=node: next(
                each.attested
                for each in node.ask(lambda m: list(m.network.nodes()))
                if each.node == market.alice.id.hex()
            ),
            "alice attested",
        )


def test_who_cannot_pay_gets_nothing(market: Network, memory: str) -> None:
    market.alice.ask(lambda m: m.assets.offer(memory, 10**15))
    together(market)
    before = wealth(market)
    with pytest.raises(Overdrawn):
        market.bob.ask(lambda m: m.assets.accept(memory, 10**15))
    assert wealth(market) == before
    assert seen(market.alice, memory).owned


def test_a_buyer_by_name_sees_what_is_private_and_may_not_lease_it(
    market: Network, memory: str
) -> None:
    alice, bob, carol = market.alice, market.bob, market.carol
    alice.ask(lambda m: m.privacy.change(PrivacyChange(memory, PrivacyLevel.PRIVATE)))
    alice.ask(lambda m: m.assets.offer(memory, PRICE, bob.membership.owner.hex()))
    together(market)
    assert seen(bob, memory).capacity is not None
    with pytest.raises(AccessRefused):
        allocate(bob, memory, MIB)
    with pytest.raises(AccessRefused):
        seen(carol, memory)
    assert memory in {each.asset for each in bob.ask(lambda m: list(m.assets.list()))}
    assert memory not in {each.asset for each in carol.ask(lambda m: list(m.assets.list()))}


def test_out_of_service_and_back(market: Network, memory: str) -> None:
    changed = market.alice.ask(lambda m: m.assets.set_state(memory, AssetState.SUSPENDED))
    assert changed.asset.state is AssetState.SUSPENDED
    assert set(changed.asset.actions) == {
        AssetState.AVAILABLE, AssetState.MAINTENANCE, AssetState.FAILED,
    }  # fmt: skip
    together(market)
    assert seen(market.bob, memory).actions == []
    with pytest.raises(NotTheOwner):
        market.bob.ask(lambda m: m.assets.set_state(memory, AssetState.AVAILABLE))
    market.alice.ask(lambda m: m.assets.set_state(memory, AssetState.AVAILABLE))


def test_the_same_in_words(market: Network, memory: str) -> None:
    """Through `hm`: by the beginning of an id, by the names of nodes."""
    alice, bob = market.alice.data, market.bob.data
    short = memory[:12]
    offered = output(
        hm("asset", "offer", short, "--price", "0.000002", "--to", "bob", "--for", "1h",
           "--output", "json", data=alice)
    )  # fmt: skip
    assert offered["asset"]["title"]["price"] == 2_000
    together(market)
    refused = hm("asset", "transfer", short, "--to", "carol", data=alice)
    assert refused.returncode == 6
    assert "hm asset withdraw" in problem(refused)
    shown = hm("asset", "show", short, data=bob)
    assert "0.000002 CAES to owner" in shown.stdout.decode()
    bought = hm("asset", "accept", short, "--price", "0.000002", data=bob)
    assert b"It is yours" in bought.stdout, problem(bought)
    together(market)
    preview = hm(
        "asset", "share", short, "--node", "carol", "--percent", "25", "--preview", data=bob
    ).stdout.decode()
    assert "Nothing has been changed." in preview
    lines = {line.split()[0]: line for line in preview.splitlines() if line.strip()}
    assert "yes (new)" in lines["carol"]
    assert "no" in lines["alice"]
    assert json.loads(hm("asset", "show", short, "--output", "json", data=bob).stdout)["level"] == (
        "private"
    )
    shared = hm("asset", "share", short, "--node", "carol", "--percent", "25", data=bob)
    assert "25 %" in shared.stdout.decode(), problem(shared)
    given = hm("asset", "transfer", short, "--to", "alice", data=bob)
    assert given.returncode == 0, problem(given)


def test_the_evidence_behind_a_hosts_proofs(market: Network, memory: str) -> None:
    alice = market.alice.id.hex()
    chips = seen(market.bob, memory).attestation
    evidence = market.bob.ask(lambda m: m.assets.attestation(alice))
    assert [chip.proof for chip in chips.proofs] == ["space", "stake", "work", "time"]
    assert chips.in_force
    assert evidence.attestation.bundle is not None
    assert evidence.encoded is not None
    for proof in evidence.proofs:
        assert proof.facts
        recorded = evidence.attestation.epoch != evidence.present_epoch
        assert proof.outcome == ("recorded" if recorded else "valid"), proof
