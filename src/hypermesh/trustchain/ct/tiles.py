"""Tiles of a Merkle tree (C2SP static-ct-api and tlog-tiles), and proofs made from them.

A tile of level `l` holds up to 256 hashes, each the root over 256^l leaves. A full tile's root is
one hash of the level above. Whoever reads tiles is here a function `read(level, index, width)` that
gives the first `width` hashes of a tile, 32 bytes each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hypermesh.trustchain.ct.errors import EntryInvalid, NotInLog
from hypermesh.trustchain.ct.tree import (
    HASH_BYTES,
    SIZE_MAX,
    folded,
    perfect_root,
)

HEIGHT = 8
WIDTH = 1 << HEIGHT
LEVELS = 5
"""Levels of tiles in a tree of `SIZE_MAX` leaves."""

ReadTile = Callable[[int, int, int], bytes]

_PATH = re.compile(
    r"tile/(?P<level>data|entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/){0,4}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile's name. `level` None: the entries themselves (`data`, or `entries` in logs of opaque
    leaves)."""

    level: int | None
    index: int
    width: int = WIDTH


def tile_path(tile: Tile, entries: str = "data") -> str:
    """The path of a tile below the log's prefix."""
    digits = f"{tile.index % 1000:03d}"
    rest = tile.index // 1000
    while rest:
        digits = f"x{rest % 1000:03d}/{digits}"
        rest //= 1000
    partial = "" if tile.width == WIDTH else f".p/{tile.width}"
    level = entries if tile.level is None else tile.level
    return f"tile/{level}/{digits}{partial}"


def read_tile_path(path: str, entries: str = "data") -> Tile:
    """The tile that `path` names, as `tile_path` writes it; raises `NotInLog` otherwise."""
    found = _PATH.fullmatch(path)
    if found is not None:
        level = found["level"]
        index = int(found["index"].replace("x", "").replace("/", ""))
        width = WIDTH if found["width"] is None else int(found["width"])
        tile = Tile(int(level) if level.isdigit() else None, index, width)
        if tile_path(tile, entries) == path:
            return tile
    raise NotInLog(f"There is no resource {path[:80]!r}")


def width_of(level: int, index: int, size: int) -> int:
    """How many hashes tile `index` of `level` has in a tree of `size` leaves."""
    return max(0, min(WIDTH, (size >> (HEIGHT * level)) - index * WIDTH))


def split(data: bytes) -> list[bytes]:
    """The hashes of a tile."""
    if len(data) % HASH_BYTES:
        raise EntryInvalid(f"A tile of {len(data)} bytes holds no whole hashes")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


class Nodes:
    """The nodes of the tree of `size` leaves, from tiles; each tile is read once."""

    def __init__(self, read: ReadTile, size: int) -> None:
        self._read = read
        self._size = size
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    def node(self, level: int, index: int) -> bytes:
        """The root over the leaves `index * 2^level` to `(index + 1) * 2^level`."""
        above, height = divmod(level, HEIGHT)
        first = index << height
        tile = self._tile(above, first // WIDTH)
        at = first % WIDTH
        if at + (1 << height) > len(tile):
            raise NotInLog(f"A tree of {self._size} leaves has no node {index} of level {level}")
        return perfect_root(tile[at : at + (1 << height)])

    def span(self, begin: int, end: int) -> bytes:
        """The root over the leaves `begin` to `end`, where `begin` is where a subtree of the
        largest power of two within begins."""
        return folded([self.node(level, index) for level, index in _perfect(begin, end)])

    def _tile(self, level: int, index: int) -> list[bytes]:
        known = self._tiles.get((level, index))
        if known is None:
            width = width_of(level, index, self._size)
            known = split(self._read(level, index, width))
            if len(known) != width:
                raise EntryInvalid(
                    f"Tile {index} of level {level} has {len(known)} hashes",
                    why=f"it has {width} in a tree of {self._size} leaves",
                )
            self._tiles[level, index] = known
        return known


def root_at(read: ReadTile, size: int) -> bytes:
    """The root of the first `size` leaves."""
    return Nodes(read, size).span(0, size)


def inclusion(read: ReadTile, index: int, size: int) -> list[bytes]:
    """The proof that leaf `index` is in the tree of `size` leaves (RFC 9162 section 2.1.3.1)."""
    if not 0 <= index < size <= SIZE_MAX:
        raise NotInLog(f"A tree of {size} leaves has no leaf {index}")
    nodes, path = Nodes(read, size), []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _largest_below(end - begin)
        if index < middle:
            path.append(nodes.span(middle, end))
            end = middle
        else:
            path.append(nodes.span(begin, middle))
            begin = middle
    return path[::-1]


def consistency(read: ReadTile, first: int, second: int) -> list[bytes]:
    """The proof that the tree of `first` leaves begins that of `second` (RFC 9162 section 2.1.4.1);
    nothing where either is clear by itself."""
    if not 0 <= first <= second <= SIZE_MAX:
        raise NotInLog(f"No tree of {second} leaves begins with one of {first}")
    if first in (0, second):
        return []
    nodes, path = Nodes(read, second), []
    begin, end, whole = 0, second, True
    while first != end:
        middle = begin + _largest_below(end - begin)
        if first <= middle:
            path.append(nodes.span(middle, end))
            end = middle
        else:
            path.append(nodes.span(begin, middle))
            begin, whole = middle, False
    if not whole:
        path.append(nodes.span(begin, end))
    return path[::-1]


def _largest_below(count: int) -> int:
    """The largest power of two below `count`, which is 2 at least."""
    return 1 << ((count - 1).bit_length() - 1)


def _perfect(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """(level, index) of the perfect subtrees that make up `begin` to `end`, largest first."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        yield level, begin >> level
        begin += 1 << level
