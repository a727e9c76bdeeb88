"""Typed rows: a prefix, a key of bytes, a struct."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from hypermesh.ledger.module import InvariantBroken, State
from hypermesh.wire.codec import Undecodable, decode, encode

T = TypeVar("T")


class Table(Generic[T]):
    """The rows under `prefix`, each an encoded `kind`. A prefix ends in `/` and no table's prefix
    begins another's."""

    def __init__(self, prefix: str, kind: type[T]) -> None:
        self._prefix = prefix.encode("ascii")
        self._kind = kind

    def key(self, key: bytes) -> bytes:
        """The state key of a row, as it appears in proofs."""
        return self._prefix + key

    def get(self, state: State, key: bytes) -> T | None:
        data = state.get(self._prefix + key)
        return None if data is None else self._row(data)

    def read(self, data: bytes) -> T:
        """The row in `data`, which somebody else shows; raises `Undecodable`."""
        return decode(self._kind, data)

    def put(self, state: State, key: bytes, row: T) -> None:
        state.put(self._prefix + key, encode(row))

    def delete(self, state: State, key: bytes) -> None:
        state.delete(self._prefix + key)

    def rows(self, state: State, key_prefix: bytes = b"") -> Iterator[tuple[bytes, T]]:
        """(key, row) of every row whose key begins with `key_prefix`, by ascending key."""
        cut = len(self._prefix)
        for key, data in state.scan(self._prefix + key_prefix):
            yield key[cut:], self._row(data)

    def _row(self, data: bytes) -> T:
        try:
            return decode(self._kind, data)
        except Undecodable as error:
            # Rows are our own writing, so this is damage and never a refusal of somebody's input.
            raise InvariantBroken(
                f"A row under {self._prefix.decode()} is no {self._kind.__name__}", why=str(error)
            ) from error
