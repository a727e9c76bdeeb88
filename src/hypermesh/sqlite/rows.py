"""Rows that go together: many of them by few statements.

Each statement gives up the interpreter's lock, and has to wait for it where other threads compute.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

ROWS_AT_ONCE: Final = (256, 64, 16, 4, 1)
"""Rows of one statement; few sizes, so that SQLite has each statement prepared."""

T = TypeVar("T")


def parts(values: Sequence[T]) -> Iterator[tuple[int, Sequence[T]]]:
    """`values` in as few parts as `ROWS_AT_ONCE` allows, each with how many it has."""
    at = 0
    for count in ROWS_AT_ONCE:
        while len(values) - at >= count:
            yield count, values[at : at + count]
            at += count


def insert(
    connection: sqlite3.Connection, verb: str, table: str, rows: Sequence[tuple[object, ...]]
) -> None:
    """Insert `rows`, which are equally long."""
    for count, some in parts(rows):
        one = f"({','.join('?' * len(some[0]))})"
        values = [value for row in some for value in row]
        connection.execute(f"{verb} INTO {table} VALUES {','.join([one] * count)}", values)
