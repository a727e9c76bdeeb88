"""The evidence of the four proofs, as it travels in an attestation bundle.

One bundle a node and epoch. A proof may be absent on the wire: leaving one out is a claim like any
other, to be refused with the name of what is missing, not a malformed message. What each proof
binds, and what it does not stop, is in docs/explanation/consensus.md.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.ids import GenesisId, Hash, NodeId, OwnerId

SPACE_CHIAPOS_1 = "chiapos-1"
"""Chia proof of space, first plot format: k * 8 bytes a proof."""

LOCATION_UNLOCATED = "unlocated"
"""Nobody has vouched for the place of the node."""

WORK_INT8_MATRIX_1 = "int8-matrix-1"
"""Product of two int8 square matrices, int32, committed row by row."""

TIME_WESOLOWSKI_1 = "wesolowski-chiavdf-1"
"""Wesolowski VDF over the class group whose discriminant chiavdf derives from the input."""


class ProofKind(enum.StrEnum):
    """The four proofs."""

    SPACE = "space"
    STAKE = "stake"
    WORK = "work"
    TIME = "time"


class SpaceDraw(msgspec.Struct, frozen=True, array_like=True):
    """One answered draw: the index of the challenge and the proof that the plot holds for it."""

    index: Annotated[int, Meta(ge=0, le=255)]
    proof: Annotated[bytes, Meta(min_length=1, max_length=512)]


class SpaceProof(msgspec.Struct, frozen=True, array_like=True):
    """WHERE: the node keeps a plot made for its own id.

    `location` says what is known of the place; below three eligible witnesses that is `unlocated`.
    """

    scheme: Annotated[str, Meta(max_length=32)]
    k: Annotated[int, Meta(ge=18, le=50)]
    draws: Annotated[list[SpaceDraw], Meta(max_length=64)]
    location: Annotated[str, Meta(max_length=64)]


class StakeProof(msgspec.Struct, frozen=True, array_like=True):
    """WHO: the owner that answers for the node, and the bond that it says it holds."""

    owner: OwnerId
    bonded: Amount


class MatrixRow(msgspec.Struct, frozen=True, array_like=True):
    """One row of the product (little-endian int32) and its Merkle path to the committed root."""

    index: Annotated[int, Meta(ge=0, le=65535)]
    row: Annotated[bytes, Meta(min_length=4, max_length=1 << 18)]
    path: Annotated[list[Hash], Meta(max_length=20)]


class WorkProof(msgspec.Struct, frozen=True, array_like=True):
    """WHAT: a committed integer matrix product, with rows opened.

    `samples` are rows of this epoch's product, drawn by the commitment itself; `opened` are rows of
    the product in the node's bundle before, drawn by this epoch's seed (empty in its first bundle).
    Both are in the order drawn.
    """

    scheme: Annotated[str, Meta(max_length=32)]
    size: Annotated[int, Meta(ge=1, le=65535)]
    root: Hash
    samples: Annotated[list[MatrixRow], Meta(max_length=16)]
    opened: Annotated[list[MatrixRow], Meta(max_length=16)]


class VdfOutput(msgspec.Struct, frozen=True, array_like=True):
    """A Wesolowski VDF evaluation: `output` is y and its proof, two halves of equal length, as
    chiavdf writes them."""

    scheme: Annotated[str, Meta(max_length=32)]
    iterations: Annotated[int, Meta(ge=1)]
    output: Annotated[bytes, Meta(min_length=1, max_length=4096)]


class TimeProof(msgspec.Struct, frozen=True, array_like=True):
    """WHEN: the VDF output that opened the epoch, so the bundle is no older than that output."""

    vdf: VdfOutput


class Bundle(msgspec.Struct, frozen=True, array_like=True):
    """All four proofs of one node for one epoch, bound to a network."""

    genesis: GenesisId
    node: NodeId
    epoch: Annotated[int, Meta(ge=0)]
    space: SpaceProof | None
    stake: StakeProof | None
    work: WorkProof | None
    time: TimeProof | None


class ProofFailure(msgspec.Struct, frozen=True, array_like=True):
    """One reason why one proof was refused."""

    proof: ProofKind
    reason: str
