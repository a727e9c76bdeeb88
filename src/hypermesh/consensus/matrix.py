"""The integer matrix product of ProofOfWork. Pure.

A and B are n x n matrices of int8, expanded from the challenge by the digest in counter mode; the
product C is int32. With n at most 65,535 an entry is at most 2^14 * n < 2^30 in size, so no sum
overflows and every machine gets the same bytes. One row of C takes one row of A and all of B: that
is what makes a check cheap (n^2) beside the product (n^3).
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hypermesh.crypto.digest import digest_many
from hypermesh.wire.ids import Hash

Int8Matrix: TypeAlias = npt.NDArray[np.int8]
Int32Matrix: TypeAlias = npt.NDArray[np.int32]

_BLOCK = struct.Struct(">cHH")
_DIGEST_BYTES = 32


def rows_of_a(challenge: Hash, size: int, indexes: list[int]) -> Int8Matrix:
    """The rows `indexes` of A: an int8 array of shape (len(indexes), size)."""
    return _rows(challenge, b"A", indexes, size)


def matrix_b(challenge: Hash, size: int) -> Int8Matrix:
    """B: an int8 array of shape (size, size)."""
    return _rows(challenge, b"B", list(range(size)), size)


def product_rows(challenge: Hash, size: int, indexes: list[int]) -> list[bytes]:
    """The rows `indexes` of C, each `4 * size` bytes of little-endian int32.

    NumPy multiplies int32 matrices without BLAS: no thread pool wakes up in a node at rest.
    """
    a = rows_of_a(challenge, size, indexes).astype(np.int32)
    c: Int32Matrix = a @ matrix_b(challenge, size).astype(np.int32)
    return [row.astype("<i4").tobytes() for row in c]


def product(challenge: Hash, size: int) -> list[bytes]:
    """All rows of C."""
    return product_rows(challenge, size, list(range(size)))


def _rows(challenge: Hash, matrix: bytes, indexes: list[int], size: int) -> Int8Matrix:
    """Row i is the digests of (challenge, matrix, i, block) one after the other, cut to `size`."""
    blocks = -(-size // _DIGEST_BYTES)
    inputs = [challenge + _BLOCK.pack(matrix, i, block) for i in indexes for block in range(blocks)]
    stream = b"".join(digest_many("matrix", inputs))
    return np.frombuffer(stream, np.int8).reshape(len(indexes), blocks * _DIGEST_BYTES)[:, :size]
