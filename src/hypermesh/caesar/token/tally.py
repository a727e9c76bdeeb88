"""A running total, kept in the state beside the rows it adds up.

Whoever writes a row tells the tally the difference. So "do these rows still add up to that
balance?" is one read at every block, and the full scan is left to the audit.
"""

from __future__ import annotations

import msgspec

from hypermesh.ledger.module import State
from hypermesh.ledger.table import Table


class Total(msgspec.Struct, frozen=True, array_like=True):
    """nCAES. Wider than an `Amount`, so that a broken total can be read and reported."""

    amount: int


class Tally:
    """Totals under `prefix`, one for each key; a missing one is 0."""

    def __init__(self, prefix: str) -> None:
        self._totals = Table(prefix, Total)

    def read(self, state: State, key: bytes = b"") -> int:
        """The total of `key`, in nCAES."""
        row = self._totals.get(state, key)
        return 0 if row is None else row.amount

    def add(self, state: State, difference: int, key: bytes = b"") -> None:
        """Change the total of `key` by `difference` nCAES, which may be negative."""
        total = self.read(state, key) + difference
        if total == 0:
            self._totals.delete(state, key)
        else:
            self._totals.put(state, key, Total(total))
