"""The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1): hashes, and what proofs prove.

SHA-256, leaves prefixed by 00 and nodes by 01. Everything here is a function of its arguments; a
verifier needs nothing else of this package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32
SIZE_MAX = 1 << 40
"""Entries: an index has 40 bits (static-ct-api)."""
PATH_MAX = 64
"""Hashes of a proof: more than the longest of a tree of `SIZE_MAX`."""

EMPTY_ROOT = hashlib.sha256(b"").digest()

_sha256 = hashlib.sha256


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf."""
    return _sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two children."""
    return _sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over 2^k hashes."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def folded(roots: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees, the leftmost and largest first."""
    if not roots:
        return EMPTY_ROOT
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = node_hash(left, root)
    return root


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, in order."""
    roots, at = [], 0
    while at < len(hashes):
        width = 1 << ((len(hashes) - at).bit_length() - 1)
        roots.append(perfect_root(hashes[at : at + width]))
        at += width
    return folded(roots)


def included(root: bytes, index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that the leaf with the hash `leaf` is number `index` of the `size`
    leaves under `root` (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size <= SIZE_MAX or not _hashes(root, leaf, *path):
        return False
    number, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = node_hash(step, found)
            while not number & 1 and number:
                number >>= 1
                last >>= 1
        else:
            found = node_hash(found, step)
        number >>= 1
        last >>= 1
    return last == 0 and found == root


def consistent(
    first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether `path` proves that the tree of `first` leaves is the beginning of the tree of
    `second` (RFC 9162 section 2.1.4.2). Every tree begins with the empty one."""
    if not 0 <= first <= second <= SIZE_MAX or not _hashes(first_root, second_root, *path):
        return False
    if first in (0, second):
        known = EMPTY_ROOT if first == 0 else second_root
        return not path and first_root == known and (second > 0 or second_root == EMPTY_ROOT)
    steps = list(path)
    if first & (first - 1) == 0:
        steps.insert(0, first_root)
    if not steps:
        return False
    number, last = first - 1, second - 1
    while number & 1:
        number >>= 1
        last >>= 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not number & 1 and number:
                number >>= 1
                last >>= 1
        else:
            new = node_hash(new, step)
        number >>= 1
        last >>= 1
    return last == 0 and old == first_root and new == second_root


def _hashes(*values: bytes) -> bool:
    return len(values) <= PATH_MAX and all(len(value) == HASH_BYTES for value in values)
