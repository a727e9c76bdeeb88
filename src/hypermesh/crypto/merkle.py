"""Merkle roots and inclusion paths, shaped as in RFC 9162 section 2.1 with our own digests.

Leaves are hashed under `merkle/leaf`, pairs under `merkle/node`, no leaves at all under
`merkle/empty`; a node without a sibling moves up as it is. A root does not say how many leaves it
has, so take the count from where the root came from.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypermesh import _native
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import Hash


def root(leaves: Sequence[bytes]) -> Hash:
    """The root over `leaves`, in order."""
    return _native.merkle_root(leaves)


def path(leaves: Sequence[bytes], index: int) -> list[Hash]:
    """The siblings from `leaves[index]` up to the root; raises `InvalidInput` for no such leaf."""
    try:
        return _native.merkle_path(leaves, index)
    except (ValueError, OverflowError) as error:
        raise InvalidInput("There is no such leaf", why=str(error)) from error


def verify_path(root: bytes, index: int, count: int, leaf: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that `leaf` is number `index` of the `count` leaves under `root`."""
    if not 0 <= index < count < 1 << 64:
        return False
    return _native.merkle_verify(root, index, count, leaf, path)
