"""A node that is killed comes back with an index that has every acknowledged transaction, also when
the index was lost meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.node.network import Network, Node

from hypermesh.wire.api.account import Change
from hypermesh.wire.tx import StakeBond


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    network = Network(tmp_path)
    try:
        network.found()
        yield network.alice
    finally:
        network.end()


def adds_up(node: Node) -> int:
    """How many entries the owner's account has; they are its balance, part by part."""
    with node.mesh() as mesh:
        entries = list(mesh.accounts.entries())
        account = mesh.accounts.get()
    held = Change(account.balance, account.bonded, account.unbonding, account.in_escrow)
    assert entries[0].after == held
    assert sum(entry.change.balance for entry in entries) == account.balance
    return len(entries)


def test_nothing_acknowledged_is_missing_after_a_kill(node: Node) -> None:
    before = adds_up(node)
    done = [node.submit(StakeBond(node.id, amount)) for amount in (5, 7, 11)]
    assert [view.code for view in done] == ["ok"] * 3
    node.kill()
    node.start()
    assert adds_up(node) == before + 3
    for view in done:
        found = node.ask(lambda mesh, tx=view.tx: mesh.ledger.transaction(tx))
        assert (found.height, found.index) == (view.height, view.index)
    node.kill()
    shutil.rmtree(node.data / "index")
    node.start()
    assert adds_up(node) == before + 3
