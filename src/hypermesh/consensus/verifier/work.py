"""ProofOfWork, WHAT: the node computed the matrix product of the epoch and committed to it.

Two draws check a commitment. Its own root draws `samples`: they cost a cheat only one more try with
one more junk row. The challenge of a later epoch draws `opened` from the root that is on the ledger
by then, and that draw nobody can try out: it is what a lasting cheat fails. The root opened is that
of the node's bundle before, however old, so skipping epochs does not escape it.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypermesh.consensus.matrix import product_rows
from hypermesh.consensus.statement import opened_rows, sampled_rows
from hypermesh.crypto.merkle import verify_path
from hypermesh.wire.ids import Hash
from hypermesh.wire.proof import WORK_INT8_MATRIX_1, Bundle, MatrixRow, ProofFailure, ProofKind


@dataclass(frozen=True, slots=True)
class Commitment:
    """A product that a node committed to: the challenge that seeded it, the root over its rows."""

    challenge: Hash
    root: Hash


@dataclass(frozen=True, slots=True)
class ProofOfWork:
    """The product of `size` seeded by `challenge` is known, and so is that of the bundle before.

    `rows` of each are opened. `before` is None for a node's first bundle.
    """

    challenge: Hash
    size: int
    rows: int
    before: Commitment | None

    def failures(self, bundle: Bundle) -> list[ProofFailure]:
        """Every reason why `bundle` does not prove it; empty where it does."""
        evidence = bundle.work
        if evidence is None:
            return [_failure("the proof is missing")]
        if evidence.scheme != WORK_INT8_MATRIX_1:
            return [_failure(f"scheme {evidence.scheme!r} is not {WORK_INT8_MATRIX_1!r}")]
        if evidence.size != self.size:
            return [
                _failure(f"a matrix of {evidence.size} rows; this network asks for {self.size}")
            ]
        present = Commitment(self.challenge, evidence.root)
        drawn = sampled_rows(self.challenge, evidence.root, self.size, self.rows)
        found = self._faults("sampled", present, drawn, evidence.samples)
        if self.before is None:
            if evidence.opened:
                found.append(_failure("rows of an earlier product are opened; there is none"))
            return found
        drawn = opened_rows(self.challenge, self.before.root, self.size, self.rows)
        return found + self._faults("opened", self.before, drawn, evidence.opened)

    def _faults(
        self, what: str, commitment: Commitment, drawn: list[int], given: list[MatrixRow]
    ) -> list[ProofFailure]:
        if [row.index for row in given] != drawn:
            return [_failure(f"the rows {what} are not those drawn")]
        found: list[ProofFailure] = []
        right = product_rows(commitment.challenge, self.size, drawn)
        for row, expected in zip(given, right, strict=True):
            if row.row != expected:
                found.append(_failure(f"row {row.index} {what} is not that of the product"))
            elif not verify_path(commitment.root, row.index, self.size, row.row, row.path):
                found.append(_failure(f"row {row.index} {what} is not under the commitment"))
        return found


def _failure(reason: str) -> ProofFailure:
    return ProofFailure(ProofKind.WORK, reason)
