from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.crypto.digest import digest
from hypermesh.crypto.merkle import path, root, verify_path
from hypermesh.wire.errors import InvalidInput

SIZES = range(1, 41)


def leaves(count: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(count)]


@pytest.mark.parametrize("count", SIZES)
def test_every_path_proves_its_leaf_at_its_place_and_nothing_else(count):
    tree = leaves(count)
    top = root(tree)
    for index, leaf in enumerate(tree):
        proof = path(tree, index)
        assert verify_path(top, index, count, leaf, proof)
        for other in range(count):
            if other != index:
                assert not verify_path(top, other, count, leaf, proof)
                assert not verify_path(top, index, count, tree[other], proof)
        assert not verify_path(top, index, count, leaf, [*proof, bytes(32)])
        assert not verify_path(top, index, count, leaf, [bytes(32), *proof])
        if proof:
            assert not verify_path(top, index, count, leaf, proof[:-1])
            assert not verify_path(top, index, count, leaf, proof[1:])


@given(st.integers(2, 300), st.integers(0, 299), st.integers(0, 2**16))
def test_a_bit_of_a_path_or_of_the_root(count, index, bit):
    tree = leaves(count)
    index %= count
    proof = path(tree, index)
    top = root(tree)

    def flipped(data: bytes) -> bytes:
        at = bit % (8 * len(data))
        return data[: at // 8] + bytes([data[at // 8] ^ 1 << at % 8]) + data[at // 8 + 1 :]

    assert not verify_path(flipped(top), index, count, tree[index], proof)
    which = bit % len(proof)
    proof[which] = flipped(proof[which])
    assert not verify_path(top, index, count, tree[index], proof)


@given(st.lists(st.binary(max_size=40), max_size=40), st.lists(st.binary(max_size=40), max_size=40))
def test_roots_differ_where_leaves_do(one, other):
    assert (root(one) == root(other)) == (one == other)


def test_a_node_is_no_leaf():
    tree = leaves(4)
    halves = [root(tree[:2]), root(tree[2:])]
    assert root(tree) == digest("merkle/node", halves[0] + halves[1])
    assert root(halves) != root(tree)
    # The classical forgery: an inner node given as the only content of a smaller tree.
    assert not verify_path(root(tree), 0, 2, halves[0], [halves[1]])
    assert not verify_path(root(tree), 0, 1, halves[0] + halves[1], [])


def test_the_tree_without_leaves_proves_nothing():
    assert root([]) != root([b""])
    assert not verify_path(root([]), 0, 0, b"", [])
    with pytest.raises(InvalidInput):
        path([], 0)


@pytest.mark.parametrize("index", [-1, 3, 2**64])
def test_a_leaf_that_is_not_there(index):
    tree = leaves(3)
    with pytest.raises(InvalidInput):
        path(tree, index)
    assert not verify_path(root(tree), index, 3, tree[0], path(tree, 0))


def test_counts_and_siblings_of_any_size_are_only_untrue():
    tree = leaves(3)
    proof = path(tree, 0)
    for count in (-1, 0, 2, 2**64 - 1, 2**64, 2**200):
        assert not verify_path(root(tree), 0, count, tree[0], proof)
    assert not verify_path(root(tree), 0, 3, tree[0], [proof[0], proof[1][:31]])
    assert not verify_path(root(tree)[:31], 0, 3, tree[0], proof)
