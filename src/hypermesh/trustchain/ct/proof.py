"""The evidence that something is in a log, as it travels beside a certificate; checked without the
log, its store or a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.trustchain.ct.checkpoint import Checkpoint, LogIdentity
from hypermesh.trustchain.ct.errors import ProofInvalid
from hypermesh.trustchain.ct.note import NOTE_BYTES_MAX, Verifier
from hypermesh.trustchain.ct.tree import PATH_MAX, SIZE_MAX, included, leaf_hash
from hypermesh.wire.ids import Hash


class Inclusion(msgspec.Struct, frozen=True, array_like=True):
    """An entry's index, its inclusion proof (RFC 9162 section 2.1.3), and the checkpoint that the
    proof leads to, as a signed note with its cosignatures."""

    index: Annotated[int, Meta(ge=0, lt=SIZE_MAX)]
    path: Annotated[list[Hash], Meta(max_length=PATH_MAX)]
    checkpoint: Annotated[bytes, Meta(max_length=NOTE_BYTES_MAX)]


def verify_inclusion(
    inclusion: Inclusion,
    leaf: bytes,
    log: LogIdentity,
    witnesses: Sequence[Verifier] = (),
    quorum: int = 0,
) -> Checkpoint:
    """The checkpoint of `log` under which `inclusion` proves that `leaf` (the leaf itself, not its
    hash) is there; cosigned by at least `quorum` of `witnesses`.

    Raises `ProofInvalid`, and `EntryInvalid` where the note is malformed.
    """
    checkpoint = log.opened(inclusion.checkpoint, witnesses, quorum)
    hash_ = leaf_hash(leaf)
    if not included(checkpoint.root, inclusion.index, checkpoint.size, hash_, inclusion.path):
        raise ProofInvalid("The inclusion proof does not lead to the checkpoint")
    return checkpoint
