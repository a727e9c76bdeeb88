"""Rows that a snapshot keeps at hand are those of its height."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hypermesh.ledger.store import READERS_MAX, SNAPSHOT_ROWS_KEPT, Store
from hypermesh.wire.block import Block

from .toys import BALANCES, faucet, keys, own, pay

WAIT_S = 10.0
Extend = Callable[..., Block]
KEY = BALANCES.key(keys("alice").id)


def test_a_row_read_before_a_block_is_read_anew_after_it(store: Store, chain: Extend) -> None:
    blocks = [
        own("alice"),
        faucet("alice", 1),
        pay("alice", 2, "bob", 5),
        pay("alice", 3, "bob", 5),
    ]
    seen = []
    for each in blocks:
        chain(each)
        with store.snapshot() as state:
            seen.append(state.get(KEY))
            assert state.get(KEY) == seen[-1]
    assert seen[0] is None
    assert len(set(seen)) == len(blocks)


def test_the_same_row_is_asked_of_the_disk_once(store: Store, chain: Extend) -> None:
    chain(own("alice"))
    statements: list[str] = []
    with store.snapshot() as state:
        state.get(KEY)
    with store.snapshot() as state:
        state._connection.set_trace_callback(statements.append)
        assert state.get(KEY) is None
        assert state.get(b"bank/other") is None
        state._connection.set_trace_callback(None)
    assert len(statements) == 1


def test_what_is_kept_is_bounded(store: Store, chain: Extend) -> None:
    chain(own("alice"))
    with store.snapshot() as state:
        for number in range(SNAPSHOT_ROWS_KEPT + 10):
            state.get(b"bank/%d" % number)
        assert len(state._kept) == SNAPSHOT_ROWS_KEPT
        assert state.get(KEY) is None


def test_threads_that_read_within_a_read_do_not_wait_for_one_another(
    store: Store, chain: Extend
) -> None:
    """As many as there are places, each with one snapshot in hand when it asks for the second."""
    chain(own("alice"))
    together = threading.Barrier(READERS_MAX)
    heights: list[int] = []

    def read() -> None:
        with store.snapshot():
            together.wait(WAIT_S)
            with store.snapshot() as inner:
                heights.append(inner.height)

    readers = [threading.Thread(target=read, daemon=True) for _ in range(READERS_MAX)]
    for each in readers:
        each.start()
    for each in readers:
        each.join(WAIT_S)
    assert heights == [1] * READERS_MAX
    with store.snapshot() as again:
        assert again.height == 1
