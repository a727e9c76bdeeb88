"""The Merkle tree as RFC 6962 section 2.1 defines it, word for word and slowly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def mth(entries: Sequence[bytes]) -> bytes:
    count = len(entries)
    if count == 0:
        return hashlib.sha256(b"").digest()
    if count == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = largest_power_below(count)
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    count = len(entries)
    if count == 1:
        return []
    k = largest_power_below(count)
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m: int, entries: Sequence[bytes]) -> list[bytes]:
    return subproof(m, entries, True)


def subproof(m: int, entries: Sequence[bytes], complete: bool) -> list[bytes]:
    count = len(entries)
    if m == count:
        return [] if complete else [mth(entries)]
    k = largest_power_below(count)
    if m <= k:
        return [*subproof(m, entries[:k], complete), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], False), mth(entries[:k])]


def largest_power_below(count: int) -> int:
    k = 1
    while 2 * k < count:
        k *= 2
    return k


def tile(entries: Sequence[bytes], level: int, index: int, width: int) -> bytes:
    """The tile of C2SP tlog-tiles, by its definition."""
    span = 256**level
    first = index * 256
    return b"".join(
        mth(entries[each * span : (each + 1) * span]) for each in range(first, first + width)
    )
