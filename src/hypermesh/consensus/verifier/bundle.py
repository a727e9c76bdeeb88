"""ConsensusProof: all four proofs of one node in one epoch."""

from __future__ import annotations

from dataclasses import dataclass

from hypermesh.consensus.verifier.space import ProofOfSpace
from hypermesh.consensus.verifier.stake import ProofOfStake
from hypermesh.consensus.verifier.time import ProofOfTime
from hypermesh.consensus.verifier.work import ProofOfWork
from hypermesh.wire.proof import Bundle, ProofFailure, ProofKind


@dataclass(frozen=True, slots=True)
class ConsensusProof:
    """What one node has to prove in one epoch. No proof stands in for another: all four, always.

    It is derived from the ledger and never taken from the bundle, which only claims to satisfy it:
    a bundle that was made for another node, epoch or network meets other challenges here.
    """

    space: ProofOfSpace
    stake: ProofOfStake
    work: ProofOfWork
    time: ProofOfTime

    def failures(self, bundle: Bundle) -> list[ProofFailure]:
        """Runs all checks and returns all failures, in the order space, stake, work, time."""
        return [
            *self.space.failures(bundle),
            *self.stake.failures(bundle),
            *self.work.failures(bundle),
            *self.time.failures(bundle),
        ]


def names(failures: list[ProofFailure]) -> tuple[str, ...]:
    """The proofs that `failures` name, each once, in the order space, stake, work, time."""
    named = {failure.proof for failure in failures}
    return tuple(kind.value for kind in ProofKind if kind in named)


def reasons(failures: list[ProofFailure]) -> str:
    """`failures` as one line for people, in the same order."""
    return "; ".join(
        f"{failure.proof.value}: {failure.reason}"
        for kind in ProofKind
        for failure in failures
        if failure.proof is kind
    )
