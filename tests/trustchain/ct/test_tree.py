"""The tree against the RFC's own definition, its known roots, and every alteration of a proof."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypermesh.trustchain.ct.errors import EntryInvalid, NotInLog
from hypermesh.trustchain.ct.growing import Edge
from hypermesh.trustchain.ct.tiles import (
    Tile,
    consistency,
    inclusion,
    read_tile_path,
    root_at,
    tile_path,
    width_of,
)
from hypermesh.trustchain.ct.tree import (
    EMPTY_ROOT,
    SIZE_MAX,
    consistent,
    included,
    leaf_hash,
    root_of,
)

from . import naive

KNOWN_LEAVES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The leaves and roots that implementations of RFC 6962 have tested with from the first on."""
KNOWN_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [b"leaf %d" % number for number in range(70_000)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


class Grown:
    """A tree grown in steps, whose tiles are kept as a store keeps them."""

    def __init__(self, *steps: int) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.edge = Edge.empty()
        for step in steps:
            at = self.edge.size
            self.edge, changed = self.edge.grown(HASHES[at : at + step])
            for level, index, hashes in changed:
                self.tiles[level, index] = hashes

    def read(self, level: int, index: int, width: int) -> bytes:
        return self.tiles[level, index][: width * 32]


@pytest.fixture(scope="module")
def large() -> Grown:
    return Grown(70_000)


def test_known_roots() -> None:
    assert hashlib.sha256(b"").digest() == EMPTY_ROOT
    for count, expected in enumerate(KNOWN_ROOTS, 1):
        assert root_of([leaf_hash(leaf) for leaf in KNOWN_LEAVES[:count]]).hex() == expected
        assert naive.mth(KNOWN_LEAVES[:count]).hex() == expected


def test_every_small_tree_and_proof_is_the_definitions() -> None:
    for size in range(36):
        grown = Grown(*[1] * size)
        leaves, root = LEAVES[:size], naive.mth(LEAVES[:size])
        assert grown.edge.root() == root == root_at(grown.read, size)
        for index in range(size):
            path = inclusion(grown.read, index, size)
            assert path == naive.path(index, leaves)
            assert included(root, index, size, HASHES[index], path)
        for first in range(1, size + 1):
            path = consistency(grown.read, first, size)
            assert path == naive.proof(first, leaves)
            assert consistent(first, naive.mth(leaves[:first]), size, root, path)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=5), st.data())
def test_trees_grown_in_batches(steps: list[int], data: st.DataObject) -> None:
    grown, size = Grown(*steps), sum(steps)
    assert grown.edge.root() == naive.mth(LEAVES[:size])
    index = data.draw(st.integers(0, size - 1))
    assert inclusion(grown.read, index, size) == naive.path(index, LEAVES[:size])
    first = data.draw(st.integers(1, size))
    assert consistency(grown.read, first, size) == naive.proof(first, LEAVES[:size])
    assert Edge.read(grown.read, size) == grown.edge


def test_a_tree_of_three_levels_of_tiles(large: Grown) -> None:
    """static-ct-api's own example: 70,000 entries."""
    size = 70_000
    root = large.edge.root()
    assert root == naive.mth(LEAVES)
    assert [len(row) for row in large.edge.partial] == [112, 17, 1, 0, 0, 0]
    assert [width_of(0, 273, size), width_of(1, 1, size), width_of(2, 0, size)] == [112, 17, 1]
    assert large.tiles[2, 0] == naive.tile(LEAVES, 2, 0, 1)
    assert large.tiles[1, 1] == naive.tile(LEAVES, 1, 1, 17)
    for index in (0, 255, 256, 65_535, 65_536, 69_888, 69_999):
        path = inclusion(large.read, index, size)
        assert included(root, index, size, HASHES[index], path)
    for first in (1, 255, 256, 257, 65_535, 65_536, 65_537, 69_999):
        path = consistency(large.read, first, size)
        assert consistent(first, root_at(large.read, first), size, root, path)
        assert root_at(large.read, first) == root_of(HASHES[:first])


def test_a_tree_of_exactly_one_tile() -> None:
    grown = Grown(256)
    assert [len(row) for row in grown.edge.partial] == [0, 1, 0, 0, 0, 0]
    assert grown.tiles[1, 0] == naive.mth(LEAVES[:256])
    assert width_of(0, 0, 256) == 256
    assert width_of(0, 1, 256) == 0


@pytest.mark.parametrize("size", [2, 7, 8, 13])
def test_an_altered_inclusion_proof_is_refused(size: int) -> None:
    grown = Grown(size)
    root = grown.edge.root()
    for index in range(size):
        path, leaf = inclusion(grown.read, index, size), HASHES[index]
        for at in range(len(path)):
            for altered in alterations(path[at]):
                assert not included(root, index, size, leaf, replaced(path, at, altered))
        for altered in alterations(root):
            assert not included(altered, index, size, leaf, path)
        for altered in alterations(leaf):
            assert not included(root, index, size, altered, path)
        assert not included(root, index, size, leaf, [*path, leaf])
        assert not included(root, index, size, leaf, path[:-1])
        for other in range(-1, size + 1):
            assert included(root, other, size, leaf, path) == (other == index)
        assert not included(root, index, SIZE_MAX + 1, leaf, path)


@pytest.mark.parametrize("size", [2, 7, 8, 13])
def test_an_altered_consistency_proof_is_refused(size: int) -> None:
    grown = Grown(size)
    root = grown.edge.root()
    for first in range(1, size):
        path, old = consistency(grown.read, first, size), root_of(HASHES[:first])
        assert consistent(first, old, size, root, path)
        for at in range(len(path)):
            for altered in alterations(path[at]):
                assert not consistent(first, old, size, root, replaced(path, at, altered))
        for altered in alterations(root):
            assert not consistent(first, old, size, altered, path)
        for altered in alterations(old):
            assert not consistent(first, altered, size, root, path)
        assert not consistent(first, old, size, root, [*path, root])
        assert not consistent(first, old, size, root, path[:-1])
        assert not consistent(size, root, first, old, path)
    assert not consistent(size, root, size, root, [root])
    assert consistent(size, root, size, root, [])
    assert not consistent(size, root, size, EMPTY_ROOT, [])
    assert consistent(0, EMPTY_ROOT, size, root, [])
    assert not consistent(0, root, size, root, [])
    assert not consistent(0, EMPTY_ROOT, 0, root, [])


def test_proofs_of_what_is_not_there(large: Grown) -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5), (0, SIZE_MAX + 1)):
        with pytest.raises(NotInLog):
            inclusion(large.read, index, size)
    with pytest.raises(NotInLog):
        consistency(large.read, 6, 5)
    with pytest.raises(EntryInvalid):
        inclusion(lambda *_: b"short", 0, 5)
    with pytest.raises(EntryInvalid):
        inclusion(lambda *_: bytes(32), 0, 5)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(1, 1_234_067), "tile/1/x001/x234/067"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(None, 1_000, 1), "tile/data/x001/000.p/1"),
    ],
)
def test_tile_paths(tile: Tile, path: str) -> None:
    assert tile_path(tile) == path
    assert read_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/00/000",
        "tile/0/x000/001",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/-1/000",
        "tile/entries/000",
        "tile/0/001/002",
        "tile/0/000\n",
        "tile/0/\u0661\u0662\u0663",
        "",
    ],
)
def test_other_paths_name_no_tile(path: str) -> None:
    with pytest.raises(NotInLog):
        read_tile_path(path)


def alterations(value: bytes) -> list[bytes]:
    """`value` with each byte altered, once each."""
    return [value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :] for at in range(len(value))]


def replaced(path: list[bytes], at: int, altered: bytes) -> list[bytes]:
    return [*path[:at], altered, *path[at + 1 :]]
