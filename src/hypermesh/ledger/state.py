"""States in memory: the overlay that a block writes to, and a base that lives in a dict."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from hypermesh.ledger.tree import EMPTY, Changes, Entries, Tree
from hypermesh.wire.codec import decode


class Rows(Protocol):
    """What an overlay lies upon."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]: ...


class _Nothing:
    """The mark of a key that this overlay has not written."""


_NOTHING: Final = _Nothing()


class Overlay:
    """Writes that lie upon `base` and can be taken back to a savepoint.

    Savepoints nest: one for the block, one for each of its transactions. An overlay is a `State`;
    the base is never written.
    """

    def __init__(self, base: Rows) -> None:
        self._base = base
        self._writes: dict[bytes, bytes | None] = {}
        self._order: list[bytes] = []
        """The keys of `_writes` in ascending order, so that a scan need not sort them."""
        self._journal: list[tuple[bytes, bytes | _Nothing | None]] = []

    @property
    def writes(self) -> Mapping[bytes, bytes | None]:
        """Every key written so far with its value, or None where it was deleted."""
        return self._writes

    def get(self, key: bytes) -> bytes | None:
        value = self._writes.get(key, _NOTHING)
        return self._base.get(key) if isinstance(value, _Nothing) else value

    def put(self, key: bytes, value: bytes) -> None:
        self._write(key, value)

    def delete(self, key: bytes) -> None:
        self._write(key, None)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        order, writes = self._order, self._writes
        mine: list[tuple[bytes, bytes | None]] = []
        for position in range(bisect_left(order, prefix), len(order)):
            key = order[position]
            if not key.startswith(prefix):
                break
            mine.append((key, writes[key]))
        below = self._base.scan(prefix)
        return _merged(mine, below) if mine else below

    def savepoint(self) -> int:
        """A mark to `roll_back` to."""
        return len(self._journal)

    def roll_back(self, savepoint: int) -> None:
        """Undo every write since `savepoint`."""
        journal = self._journal
        while len(journal) > savepoint:
            key, before = journal.pop()
            if isinstance(before, _Nothing):
                del self._writes[key]
                del self._order[bisect_left(self._order, key)]
            else:
                self._writes[key] = before

    def _write(self, key: bytes, value: bytes | None) -> None:
        before = self._writes.get(key, _NOTHING)
        if isinstance(before, _Nothing):
            insort(self._order, key)
        self._journal.append((key, before))
        self._writes[key] = value


def _merged(
    above: list[tuple[bytes, bytes | None]], below: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes]]:
    """Both in one ascending order; `above` hides the row of the same key, None hides it wholly."""
    base = next(below, None)
    for key, value in above:
        while base is not None and base[0] < key:
            yield base
            base = next(below, None)
        if base is not None and base[0] == key:
            base = next(below, None)
        if value is not None:
            yield key, value
    while base is not None:
        yield base
        base = next(below, None)


class MemoryBase:
    """A committed state that is gone with its process: for replay and for simulation."""

    def __init__(self) -> None:
        self._tree = Tree()
        self._rows: dict[bytes, bytes] = {}
        self._order: list[bytes] = []
        self._buckets: dict[int, bytes] = {}

    @property
    def tree(self) -> Tree:
        return self._tree

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        first = bisect_left(self._order, prefix)
        for position in range(first, len(self._order)):
            key = self._order[position]
            if not key.startswith(prefix):
                return
            yield key, self._rows[key]

    def bucket(self, index: int) -> Entries:
        return decode(Entries, self._buckets.get(index, EMPTY.entries))

    def take(self, changes: Changes) -> None:
        """Move on to the state that `changes` lead to."""
        for key, value in changes.rows.items():
            if value is None:
                del self._rows[key]
                del self._order[bisect_left(self._order, key)]
            else:
                if key not in self._rows:
                    insort(self._order, key)
                self._rows[key] = value
        for number, bucket in changes.buckets.items():
            self._buckets[number] = bucket.entries
        self._tree.take(changes.step)
