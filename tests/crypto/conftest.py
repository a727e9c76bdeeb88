"""A second BLAKE3, written from its specification and slow on purpose, to check the first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hypermesh.crypto.keys import QuantumKeys

IV = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)  # fmt: skip
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
HASH, CONTEXT, MATERIAL = 0, 32, 64
CHUNK = 1024


def _compress(
    chaining: tuple[int, ...], block: bytes, counter: int, length: int, flags: int
) -> list[int]:
    words = [int.from_bytes(block[at : at + 4], "little") for at in range(0, 64, 4)]
    state = [*chaining, *IV[:4], counter & 0xFFFFFFFF, counter >> 32, length, flags]

    def mix(a: int, b: int, c: int, d: int, x: int, y: int) -> None:
        for word, right, left in ((x, 16, 12), (y, 8, 7)):
            state[a] = (state[a] + state[b] + word) & 0xFFFFFFFF
            state[d] = _rotated(state[d] ^ state[a], right)
            state[c] = (state[c] + state[d]) & 0xFFFFFFFF
            state[b] = _rotated(state[b] ^ state[c], left)

    for _ in range(7):
        for column in range(4):
            mix(column, column + 4, column + 8, column + 12, *words[2 * column : 2 * column + 2])
        for at in range(4):
            mix(
                at,
                (at + 1) % 4 + 4,
                (at + 2) % 4 + 8,
                (at + 3) % 4 + 12,
                *words[8 + 2 * at : 10 + 2 * at],
            )
        words = [words[index] for index in PERMUTATION]
    low = [state[at] ^ state[at + 8] for at in range(8)]
    high = [state[at + 8] ^ chaining[at] for at in range(8)]
    return low + high


def _rotated(word: int, by: int) -> int:
    return (word >> by | word << (32 - by)) & 0xFFFFFFFF


def _tree(
    key: tuple[int, ...], data: bytes, first: int, mode: int
) -> tuple[tuple[int, ...], bytes, int, int, int]:
    """The last compression of the subtree over `data`, not yet done: whoever needs it adds ROOT."""
    if len(data) <= CHUNK:
        chaining = key
        blocks = [data[at : at + 64] for at in range(0, len(data), 64)] or [b""]
        for number, block in enumerate(blocks):
            flags = mode | (CHUNK_START if number == 0 else 0)
            if number == len(blocks) - 1:
                return chaining, block.ljust(64, b"\0"), first, len(block), flags | CHUNK_END
            chaining = tuple(_compress(chaining, block, first, 64, flags)[:8])
    split = CHUNK
    while 2 * split < len(data):
        split *= 2
    children = [
        *_compress(*_tree(key, data[:split], first, mode))[:8],
        *_compress(*_tree(key, data[split:], first + split // CHUNK, mode))[:8],
    ]
    return key, b"".join(word.to_bytes(4, "little") for word in children), 0, 64, mode | PARENT


def _blake3(key: tuple[int, ...], data: bytes, mode: int, length: int) -> bytes:
    chaining, block, _, size, flags = _tree(key, data, 0, mode)
    output = b""
    while len(output) < length:
        words = _compress(chaining, block, len(output) // 64, size, flags | ROOT)
        output += b"".join(word.to_bytes(4, "little") for word in words)
    return output[:length]


def plain(data: bytes) -> bytes:
    """BLAKE3 without a key."""
    return _blake3(IV, data, HASH, 32)


def derive(context: str, data: bytes, length: int = 32) -> bytes:
    """BLAKE3 in `derive_key` mode."""
    key = _blake3(IV, context.encode(), CONTEXT, 32)
    words = tuple(int.from_bytes(key[at : at + 4], "little") for at in range(0, 32, 4))
    return _blake3(words, data, MATERIAL, length)


@pytest.fixture(scope="session")
def blake3_plain() -> Callable[[bytes], bytes]:
    return plain


@pytest.fixture(scope="session")
def blake3_derive() -> Callable[..., bytes]:
    return derive


@pytest.fixture(scope="session")
def vector() -> Callable[[str], Any]:
    """The frozen values in `vectors/crypto/<name>.json`; hexadecimal text is turned into bytes."""
    folder = Path(__file__).parents[2] / "vectors" / "crypto"

    def read(name: str) -> Any:
        return json.loads((folder / f"{name}.json").read_text(), object_hook=_bytes)

    return read


def _bytes(value: dict[str, Any]) -> dict[str, Any]:
    return {
        name: bytes.fromhex(entry.removeprefix("hex:"))
        if isinstance(entry, str) and entry.startswith("hex:")
        else entry
        for name, entry in value.items()
    }


@pytest.fixture(scope="session")
def keys() -> QuantumKeys:
    return QuantumKeys.generate()


@pytest.fixture(scope="session")
def other_keys() -> QuantumKeys:
    return QuantumKeys.generate()
