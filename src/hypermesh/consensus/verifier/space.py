"""ProofOfSpace, WHERE: the node keeps a plot that was made for its own id."""

from __future__ import annotations

from dataclasses import dataclass

import chiapos

from hypermesh.consensus.statement import space_draw
from hypermesh.wire.ids import Hash
from hypermesh.wire.proof import (
    LOCATION_UNLOCATED,
    SPACE_CHIAPOS_1,
    Bundle,
    ProofFailure,
    ProofKind,
    SpaceDraw,
)

PROOF_BYTES_PER_K = 8
"""A chiapos proof is 64 values of k bits."""


@dataclass(frozen=True, slots=True)
class ProofOfSpace:
    """A plot with id `plot_id` and size `k` answers at least `valid_min` of `draws` draws.

    Every answer given must be right: a wrong one among enough right ones is still a false claim.
    A place needs witnesses that measured round-trip times, and there are none yet: `unlocated` is
    the only location that is accepted.
    """

    plot_id: Hash
    challenge: Hash
    k: int
    draws: int
    valid_min: int

    def failures(self, bundle: Bundle) -> list[ProofFailure]:
        """Every reason why `bundle` does not prove it; empty where it does."""
        evidence = bundle.space
        if evidence is None:
            return [_failure("the proof is missing")]
        found: list[ProofFailure] = []
        if evidence.scheme != SPACE_CHIAPOS_1:
            return [_failure(f"scheme {evidence.scheme!r} is not {SPACE_CHIAPOS_1!r}")]
        if evidence.k != self.k:
            found.append(_failure(f"a plot of k={evidence.k}; this network asks for k={self.k}"))
        if evidence.location != LOCATION_UNLOCATED:
            found.append(
                _failure(
                    f"location {evidence.location!r} has no witnesses;"
                    f" only {LOCATION_UNLOCATED!r} is accepted so far"
                )
            )
        indexes = [draw.index for draw in evidence.draws]
        if len(set(indexes)) != len(indexes):
            found.append(_failure("a draw is answered twice"))
        if any(index >= self.draws for index in indexes):
            found.append(_failure(f"a draw is not among the {self.draws} of the epoch"))
        wrong = [draw.index for draw in evidence.draws if not self._answers(draw)]
        if wrong:
            found.append(
                _failure(
                    "the plot of this node does not answer this epoch's draws so: "
                    + ", ".join(map(str, wrong))
                )
            )
        right = len(set(indexes) - set(wrong))
        if right < self.valid_min:
            found.append(_failure(f"{right} valid draws; at least {self.valid_min} are needed"))
        return found

    def _answers(self, draw: SpaceDraw) -> bool:
        if len(draw.proof) != PROOF_BYTES_PER_K * self.k:
            return False
        quality = chiapos.Verifier().validate_proof(
            self.plot_id, self.k, space_draw(self.challenge, draw.index).result, draw.proof
        )
        return quality is not None


def _failure(reason: str) -> ProofFailure:
    return ProofFailure(ProofKind.SPACE, reason)
