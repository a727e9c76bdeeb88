"""The matrix product is the same integers everywhere, and its draws are distinct rows."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hypermesh.consensus.matrix import matrix_b, product, product_rows, rows_of_a
from hypermesh.consensus.prover.work import Products
from hypermesh.consensus.statement import opened_rows, sampled_rows
from hypermesh.consensus.verifier.work import Commitment, ProofOfWork
from hypermesh.crypto.digest import digest

CHALLENGE = bytes(range(32))


def test_a_product_is_that_of_plain_integers() -> None:
    size = 40
    a = rows_of_a(CHALLENGE, size, list(range(size))).tolist()
    b = matrix_b(CHALLENGE, size).tolist()
    for i, row in enumerate(product(CHALLENGE, size)):
        expected = [sum(a[i][k] * b[k][j] for k in range(size)) for j in range(size)]
        assert list(struct.unpack(f"<{size}i", row)) == expected


def test_the_expansion_is_the_digest_in_counter_mode() -> None:
    stream = b"".join(
        digest("matrix", CHALLENGE + struct.pack(">cHH", b"B", 3, block)) for block in (0, 1)
    )
    assert matrix_b(CHALLENGE, 40)[3].tobytes() == stream[:40]
    assert matrix_b(CHALLENGE, 40)[0].tobytes() != rows_of_a(CHALLENGE, 40, [0])[0].tobytes()


def test_the_product_is_frozen() -> None:
    """Other bytes here would be another work scheme."""
    frozen = digest("matrix", b"".join(product(CHALLENGE, 64)))
    assert frozen.hex() == "36785426d5a6742a576d2862d54aeb0294b17224130a6cf665927ad66471b583"


def test_no_sum_overflows_at_the_largest_size() -> None:
    assert np.iinfo(np.int32).max >= 65_535 * 128 * 128


@given(rows=st.lists(st.integers(0, 63), min_size=1, max_size=8, unique=True))
@settings(max_examples=20, deadline=None)
def test_rows_alone_are_those_of_the_whole(rows: list[int]) -> None:
    whole = product(CHALLENGE, 64)
    assert product_rows(CHALLENGE, 64, rows) == [whole[i] for i in rows]


@given(
    challenge=st.binary(min_size=32, max_size=32),
    root=st.binary(min_size=32, max_size=32),
    size=st.integers(8, 300),
    count=st.integers(1, 8),
)
def test_drawn_rows_are_distinct_and_inside(
    challenge: bytes, root: bytes, size: int, count: int
) -> None:
    sampled = sampled_rows(challenge, root, size, count)
    assert len(set(sampled)) == len(sampled) == count
    assert all(0 <= row < size for row in sampled)
    assert sampled == sampled_rows(challenge, root, size, count)
    assert size < 32 or sampled != opened_rows(challenge, root, size, count) or count == 1


def test_the_product_before_is_computed_again_after_a_restart() -> None:
    first = ProofOfWork(CHALLENGE, 64, 4, None)
    committed = Products(64).prove(first)
    second = ProofOfWork(bytes(32), 64, 4, Commitment(CHALLENGE, committed.root))
    kept = Products(64)
    kept.prove(first)
    assert kept.prove(second) == Products(64).prove(second)
