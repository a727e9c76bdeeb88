"""A node's four proofs as the API shows them: in short, and as evidence."""

from __future__ import annotations

from typing import Literal

import msgspec

from hypermesh.wire.api.body import Hex32
from hypermesh.wire.asset import TimeMs


class ProofChip(msgspec.Struct, frozen=True):
    """One proof in a few words: its name (`space`, `stake`, `work`, `time`), what it says (`where`,
    `who`, `what`, `when`) and the scheme that verified it."""

    proof: str
    says: str
    verifier: str


class AttestationView(msgspec.Struct, frozen=True):
    """Whether a node has rights now, and by which bundle.

    `bundle` is null where the node never attested. `attested_ms` is the time of the block that
    verified all four proofs. The rights do not lapse before `lapses_ms`; they may last longer,
    for an epoch turns only with a new VDF output. All times are block time.
    """

    node: Hex32
    in_force: bool
    bundle: Hex32 | None
    epoch: int | None
    height: int | None
    attested_ms: TimeMs | None
    lapses_ms: TimeMs | None
    proofs: list[ProofChip]


class FactView(msgspec.Struct, frozen=True):
    """One figure of a proof, as text."""

    name: str
    value: str


class EvidenceView(msgspec.Struct, frozen=True):
    """One proof of a bundle: what it holds, and what checking it now gives.

    `valid`: it verifies now. `refused`: it does not, for `reason`. `recorded`: every node verified
    it in its block, and it cannot be checked again now, for `reason`.
    """

    proof: str
    says: str
    verifier: str
    facts: list[FactView]
    outcome: Literal["valid", "refused", "recorded"]
    reason: str


class AttestationEvidence(msgspec.Struct, frozen=True):
    """`GET /v1/nodes/{id}/attestation`: the bundle, decoded, with a dry run of its verification.
    `encoded` is the canonical bundle as hex, for `POST /consensus/validate`; `tx` carried it."""

    attestation: AttestationView
    tx: Hex32 | None
    encoded: str | None
    present_epoch: int
    proofs: list[EvidenceView]
