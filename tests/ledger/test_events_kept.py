"""Events of the last blocks are kept with them, also those of time alone, over every restart."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from hypermesh.ledger import store as store_module
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.ledger import Ledger
from hypermesh.ledger.store import Store
from hypermesh.wire.block import Block

from .toys import START_MS, faucet, own, pay

Extend = Callable[..., Block]

HAPPENED = [(1, ["toy.granted"]), (2, ["toy.paid"]), (3, []), (4, ["toy.due"])]


def names(
    store: Store, kernel: Kernel, first: int = 1, last: int = 99
) -> list[tuple[int, list[str]]]:
    ledger = Ledger(kernel.genesis, store, Feed(store.height))
    return [
        (block.header.height, [event.name for event in events])
        for block, events in ledger.happened(first, last)
    ]


@pytest.fixture
def filled(store: Store, chain: Extend) -> Store:
    """A grant, a payment due later, one refused after its event, and the block of the deadline."""
    chain(own("alice"), own("bob"), faucet("alice", 1))
    chain(pay("alice", 2, "bob", 5, "due:5000"))
    chain(pay("alice", 3, "bob", 5, "refuse"))
    chain(time_ms=START_MS + 6000)
    return store


def test_events_are_those_of_the_kernel_and_survive(
    tmp_path: Path, kernel: Kernel, filled: Store
) -> None:
    assert names(filled, kernel) == HAPPENED
    assert names(filled, kernel, 2, 3) == HAPPENED[1:3]
    assert names(filled, kernel, 5) == []
    filled.close()
    again = Store(tmp_path / "ledger", kernel.genesis)
    assert names(again, kernel) == HAPPENED
    again.close()


def test_only_the_last_blocks_keep_theirs(
    kernel: Kernel, filled: Store, chain: Extend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "EVENTS_KEPT", 3)
    chain(faucet("bob", 1), time_ms=START_MS + 6000)
    assert names(filled, kernel) == []
    assert names(filled, kernel, 3) == [(3, []), (4, ["toy.due"]), (5, ["toy.granted"])]


def test_a_ledger_from_before_opens_and_keeps_them_from_now_on(
    tmp_path: Path, kernel: Kernel, filled: Store, chain: Extend
) -> None:
    del chain
    filled.close()
    with sqlite3.connect(tmp_path / "ledger" / "ledger.sqlite") as database:
        database.execute("DROP TABLE events")
    database.close()
    again = Store(tmp_path / "ledger", kernel.genesis)
    assert again.height == 4
    assert names(again, kernel) == []
    again.close()


def test_a_block_that_finds_no_room_leaves_no_events(
    kernel: Kernel, filled: Store, chain: Extend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Block and events are one transaction."""

    def fail(self: Store, changes: object) -> None:
        del self, changes
        raise sqlite3.OperationalError("no room")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "_write", fail)
        with pytest.raises(sqlite3.OperationalError):
            chain(faucet("bob", 1), time_ms=START_MS + 6000)
    assert names(filled, kernel) == HAPPENED
    chain(faucet("bob", 1), time_ms=START_MS + 6000)
    assert names(filled, kernel, 5) == [(5, ["toy.granted"])]
