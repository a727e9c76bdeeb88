"""ProofOfTime, WHEN: the bundle is no older than the VDF output that opened its epoch.

The output itself is verified once, where it enters the ledger (`vdf_faults`: 2 to 10 ms); a bundle
only has to name it.

The class group is derived from the input (Chia's construction), and the walk starts at its
generator. A discriminant a network would save a millisecond an epoch and make one class-number
computation, which is within reach at 512 bits, enough to skip all later time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import chiavdf

from hypermesh.wire.ids import Hash
from hypermesh.wire.proof import TIME_WESOLOWSKI_1, Bundle, ProofFailure, ProofKind, VdfOutput

FORM_BYTES = 100
"""One serialised form, at any discriminant that chiavdf takes; an output is two of them."""

GENERATOR = b"\x08" + bytes(FORM_BYTES - 1)
"""The serialised generator (2, 1, c): chiavdf's flag for it, then padding."""

DISCRIMINANT_BITS_MAX = 1024
DISCRIMINANT_BITS_STEP = 8
_DISCRIMINANTS_KEPT = 4


@dataclass(frozen=True, slots=True)
class ProofOfTime:
    """`opened_by` is the VDF output that opened `epoch`."""

    epoch: int
    opened_by: VdfOutput

    def failures(self, bundle: Bundle) -> list[ProofFailure]:
        """Every reason why `bundle` does not prove it; empty where it does."""
        found: list[ProofFailure] = []
        if bundle.epoch != self.epoch:
            found.append(_failure(f"the bundle is for epoch {bundle.epoch}, not {self.epoch}"))
        if bundle.time is None:
            return [*found, _failure("the proof is missing")]
        given = bundle.time.vdf
        if given.scheme != self.opened_by.scheme:
            found.append(_failure(f"scheme {given.scheme!r} is not {self.opened_by.scheme!r}"))
        if given.iterations != self.opened_by.iterations:
            found.append(
                _failure(f"{given.iterations} iterations, not {self.opened_by.iterations}")
            )
        if given.output != self.opened_by.output:
            found.append(_failure("the VDF output is not the one that opened this epoch"))
        return found


def vdf_faults(vdf: VdfOutput, *, seed: Hash, bits: int, iterations: int) -> list[str]:
    """Why `vdf` is not the evaluation over `seed` of `iterations` squarings in the class group of a
    discriminant of `bits` bits; empty where it is."""
    if vdf.scheme != TIME_WESOLOWSKI_1:
        return [f"scheme {vdf.scheme!r} is not {TIME_WESOLOWSKI_1!r}"]
    if vdf.iterations != iterations:
        return [f"{vdf.iterations} iterations; this network asks for {iterations}"]
    if len(vdf.output) != 2 * FORM_BYTES:
        return [f"an output of {len(vdf.output)} bytes, not {2 * FORM_BYTES}"]
    y, proof = vdf.output[:FORM_BYTES], vdf.output[FORM_BYTES:]
    discriminant = _discriminant(seed, bits)
    try:
        chiavdf.bqfc_deserialize(discriminant, y, strict=True)
        valid = chiavdf.verify_wesolowski(discriminant, GENERATOR, y, proof, iterations)
    except (RuntimeError, ValueError):
        # chiavdf raises for bytes that are no form of this group.
        valid = False
    return [] if valid else ["the VDF output does not verify over the seed of the epoch"]


@lru_cache(maxsize=_DISCRIMINANTS_KEPT)
def _discriminant(seed: Hash, bits: int) -> str:
    return chiavdf.create_discriminant(seed, bits)


def _failure(reason: str) -> ProofFailure:
    return ProofFailure(ProofKind.TIME, reason)
