"""Files sealed by a passphrase: what comes back is what was written, or an error."""

from __future__ import annotations

import functools
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypermesh.crypto.passphrase import PassphraseWrong
from hypermesh.crypto.sealed import CHUNK_BYTES, SealedDamaged, Sealer, Unsealer
from hypermesh.wire.errors import HyperMeshError, InvalidInput

PASSPHRASE = "correct horse battery"
TAG_BYTES = 16


@functools.cache
def sealed(size: int) -> bytes:
    target = io.BytesIO()
    sealer = Sealer(target, PASSPHRASE)
    content = contents(size)
    for start in range(0, size, 300_000):
        sealer.write(content[start : start + 300_000])
    sealer.close()
    return target.getvalue()


@functools.cache
def contents(size: int) -> bytes:
    return (b"00000000" * (size // 8 + 1))[:size]


def opened(data: bytes, passphrase: str = PASSPHRASE) -> bytes:
    unsealer = Unsealer(io.BytesIO(data), passphrase)
    whole = b""
    while piece := unsealer.read(700_000):
        whole += piece
    return whole


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
)
def test_every_size_comes_back(size: int) -> None:
    assert opened(sealed(size)) == contents(size)


def test_nothing_of_the_content_shows() -> None:
    assert b"00000000" not in sealed(CHUNK_BYTES + 1)


SIZE = 2 * CHUNK_BYTES + 100
LENGTH = len(sealed(SIZE))
HEAD = LENGTH - SIZE - 3 * TAG_BYTES


@settings(deadline=None, max_examples=60)
@given(
    st.one_of(st.integers(0, HEAD + 64), st.integers(0, LENGTH - 1)),
    st.integers(0, 7),
)
def test_every_flipped_bit_is_found(position: int, bit: int) -> None:
    altered = bytearray(sealed(SIZE))
    altered[position] ^= 1 << bit
    with pytest.raises(HyperMeshError) as refused:
        opened(bytes(altered))
    assert isinstance(refused.value, SealedDamaged)


@settings(deadline=None, max_examples=40)
@given(st.one_of(st.integers(0, LENGTH - 1), st.sampled_from([HEAD, HEAD + CHUNK_BYTES + 16])))
def test_a_file_cut_short_is_found(length: int) -> None:
    with pytest.raises(SealedDamaged):
        opened(sealed(SIZE)[:length])


@pytest.mark.parametrize("more", [b"\0", b"\0" * (CHUNK_BYTES + 16)])
@pytest.mark.parametrize("size", [0, CHUNK_BYTES, SIZE])
def test_what_is_appended_is_found(size: int, more: bytes) -> None:
    with pytest.raises(SealedDamaged):
        opened(sealed(size) + more)


def test_chunks_in_another_order_are_found() -> None:
    data, step = sealed(SIZE), CHUNK_BYTES + TAG_BYTES
    head, first, second = data[:HEAD], data[HEAD:][:step], data[HEAD + step :][:step]
    with pytest.raises(SealedDamaged):
        opened(head + second + first + data[HEAD + 2 * step :])


def test_a_wrong_passphrase_is_told_from_damage() -> None:
    with pytest.raises(PassphraseWrong):
        opened(sealed(100), "another passphrase")


def test_a_passphrase_that_protects_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="too short"):
        Sealer(io.BytesIO(), "short")
