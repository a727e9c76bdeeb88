"""Typed rows over the raw ones."""

from __future__ import annotations

import pytest

from hypermesh.ledger.module import InvariantBroken
from hypermesh.ledger.state import MemoryBase, Overlay
from hypermesh.ledger.table import Table

from .toys import Number


def test_rows_are_found_under_their_prefix() -> None:
    state = Overlay(MemoryBase())
    table, neighbour = Table("t/", Number), Table("t0/", Number)
    for key in (b"b", b"a/2", b"a/1"):
        table.put(state, key, Number(len(key)))
    neighbour.put(state, b"a", Number(9))
    assert table.get(state, b"a/1") == Number(3)
    assert table.get(state, b"c") is None
    assert [key for key, _ in table.rows(state)] == [b"a/1", b"a/2", b"b"]
    assert [key for key, _ in table.rows(state, b"a/")] == [b"a/1", b"a/2"]
    table.delete(state, b"a/1")
    assert table.get(state, b"a/1") is None
    assert state.get(table.key(b"b")) is not None


def test_a_damaged_row_is_named() -> None:
    state = Overlay(MemoryBase())
    table = Table("t/", Number)
    state.put(table.key(b"a"), b"\xc1")
    with pytest.raises(InvariantBroken, match="under t/ is no Number"):
        table.get(state, b"a")
    with pytest.raises(InvariantBroken):
        list(table.rows(state))
