"""Work: the matrix product of an epoch, committed to and opened."""

from __future__ import annotations

from hypermesh.consensus.matrix import product
from hypermesh.consensus.statement import opened_rows, sampled_rows
from hypermesh.consensus.verifier.work import ProofOfWork
from hypermesh.crypto.merkle import path, root
from hypermesh.wire.ids import Hash
from hypermesh.wire.proof import WORK_INT8_MATRIX_1, MatrixRow, WorkProof

PRODUCTS_KEPT = 2
"""This epoch's and the one that it opens."""


class Products:
    """Products of this node, kept in memory until the next bundle has opened them.

    After a restart, or an absence, the product before is computed again: its challenge is on the
    ledger.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: dict[Hash, list[bytes]] = {}

    def prove(self, statement: ProofOfWork) -> WorkProof:
        """The commitment to this epoch's product, with the rows that are drawn."""
        size, count = self._size, statement.rows
        rows = self._product(statement.challenge)
        committed = root(rows)
        samples = _open(rows, sampled_rows(statement.challenge, committed, size, count))
        opened: list[MatrixRow] = []
        if statement.before is not None:
            drawn = opened_rows(statement.challenge, statement.before.root, size, count)
            opened = _open(self._product(statement.before.challenge), drawn)
        return WorkProof(WORK_INT8_MATRIX_1, size, committed, samples, opened)

    def _product(self, challenge: Hash) -> list[bytes]:
        rows = self._kept.pop(challenge, None) or product(challenge, self._size)
        self._kept[challenge] = rows
        while len(self._kept) > PRODUCTS_KEPT:
            del self._kept[next(iter(self._kept))]
        return rows


def _open(rows: list[bytes], indexes: list[int]) -> list[MatrixRow]:
    return [MatrixRow(index, rows[index], path(rows, index)) for index in indexes]
