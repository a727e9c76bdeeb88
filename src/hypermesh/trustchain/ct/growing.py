"""The right edge of a log's tree: what has to be in memory to append to it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from hypermesh.trustchain.ct.errors import LogDamaged
from hypermesh.trustchain.ct.tiles import HEIGHT, LEVELS, WIDTH, ReadTile, split, width_of
from hypermesh.trustchain.ct.tree import folded, perfect_root

ChangedTile = tuple[int, int, bytes]

SUBTREES_KEPT = 64
"""Roots that are remembered: those of the few perfect subtrees that the edges of logs have."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The tree of `size` leaves by the hashes of its last tile of each level, which are fewer than
    256 each: a full tile's root stands in the level above."""

    size: int
    partial: tuple[tuple[bytes, ...], ...]

    @classmethod
    def empty(cls) -> Edge:
        return cls(0, ((),) * (LEVELS + 1))

    @classmethod
    def read(cls, read: ReadTile, size: int) -> Edge:
        """The edge of a stored tree; raises `LogDamaged` where a tile is too short."""
        partial = []
        for level in range(LEVELS + 1):
            index = (size >> (HEIGHT * level)) // WIDTH
            width = width_of(level, index, size)
            hashes = split(read(level, index, width)) if width else []
            if len(hashes) != width:
                raise LogDamaged(why=f"tile {index} of level {level} is too short")
            partial.append(tuple(hashes))
        return cls(size, tuple(partial))

    def grown(self, leaves: Sequence[bytes]) -> tuple[Edge, list[ChangedTile]]:
        """The edge after leaf hashes are appended, and the tiles that changed."""
        changed: list[ChangedTile] = []
        levels, fresh = [], list(leaves)
        for level, before in enumerate(self.partial):
            row = [*before, *fresh]
            index = (self.size >> (HEIGHT * level)) // WIDTH
            above = []
            whole = len(row) // WIDTH * WIDTH
            for at in range(0, whole, WIDTH):
                tile = row[at : at + WIDTH]
                changed.append((level, index, b"".join(tile)))
                above.append(perfect_root(tile))
                index += 1
            rest = tuple(row[whole:])
            if rest and (fresh or whole):
                changed.append((level, index, b"".join(rest)))
            levels.append(rest)
            fresh = above
        return Edge(self.size + len(leaves), tuple(levels)), changed

    def root(self) -> bytes:
        """The root of the tree."""
        roots = []
        for row in reversed(self.partial):
            at = 0
            while at < len(row):
                width = 1 << ((len(row) - at).bit_length() - 1)
                roots.append(_subtree(row[at : at + width]))
                at += width
        return folded(roots)


@functools.lru_cache(SUBTREES_KEPT)
def _subtree(hashes: tuple[bytes, ...]) -> bytes:
    """As `perfect_root`. A log that grows by one entry has most of its subtrees still."""
    return perfect_root(hashes)
