"""Alterations of valid inputs that are the same for the same seed: of their bytes, and where they
are MessagePack or JSON of their structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

INPUT_BYTES_MAX = 64 * 1024
ALTERATIONS_MAX = 5
BLOCK_BYTES_MAX = 64

EDGE_BYTES = bytes((0, 1, 0x20, 0x22, 0x7B, 0x7F, 0x80, 0x90, 0xC0, 0xC4, 0xD9, 0xDC, 0xFF))
EDGE_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**53, 2**63 - 1, 2**64 - 1, -(2**63), 1.5, float("inf"),
    "", "\x00", "\u2066", "x" * 300, b"", b"\x00" * 32, b"\xff" * 31, [], [[]], {}, {"a": 1},
)  # fmt: skip
"""What a decoder may meet where it expects something else."""


class Lots:
    """Random numbers from a seed."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._drawn: list[int] = []

    def below(self, bound: int) -> int:
        """A number below `bound`; 0 where that is 0."""
        if not self._drawn:
            self._drawn = self._generator.integers(1 << 62, size=4096).tolist()
        return self._drawn.pop() % max(bound, 1)

    def data(self, length: int) -> bytes:
        return self._generator.bytes(length)

    def one(self, choices: Sequence[Any]) -> Any:
        return choices[self.below(len(choices))]


def altered(seeds: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """An endless supply of inputs: `seeds`, altered."""
    lots = Lots(seed)
    structural = (_in_msgpack, _in_json)
    while True:
        source = lots.one(seeds)
        alter = lots.one((_in_bytes, *structural)) if lots.below(2) else _in_bytes
        yield alter(source, lots, seeds)[:INPUT_BYTES_MAX]


def _in_bytes(source: bytes, lots: Lots, seeds: Sequence[bytes]) -> bytes:
    data = bytearray(source)
    for _ in range(1 + lots.below(ALTERATIONS_MAX)):
        at = lots.below(min(len(data), BLOCK_BYTES_MAX) if lots.below(2) else len(data))
        end = min(len(data), at + 1 + lots.below(BLOCK_BYTES_MAX))
        lots.one(_ALTERATIONS)(data, at, end, lots, seeds)
    return bytes(data)


def _flip(data: bytearray, at: int, _end: int, lots: Lots, _seeds: Sequence[bytes]) -> None:
    if data:
        data[at] ^= 1 << lots.below(8)


def _edge(data: bytearray, at: int, _end: int, lots: Lots, _seeds: Sequence[bytes]) -> None:
    if data:
        data[at] = lots.one(EDGE_BYTES)


def _insert(data: bytearray, at: int, _end: int, lots: Lots, _seeds: Sequence[bytes]) -> None:
    data[at:at] = lots.data(1 + lots.below(4))


def _delete(data: bytearray, at: int, end: int, _lots: Lots, _seeds: Sequence[bytes]) -> None:
    del data[at:end]


def _repeat(data: bytearray, at: int, end: int, lots: Lots, _seeds: Sequence[bytes]) -> None:
    place = lots.below(len(data))
    data[place:place] = data[at:end]


def _cut(data: bytearray, at: int, _end: int, _lots: Lots, _seeds: Sequence[bytes]) -> None:
    del data[at:]


def _noise(data: bytearray, at: int, end: int, lots: Lots, _seeds: Sequence[bytes]) -> None:
    data[at:end] = lots.data(end - at)


def _splice(data: bytearray, at: int, _end: int, lots: Lots, seeds: Sequence[bytes]) -> None:
    other = lots.one(seeds)
    data[at:] = other[lots.below(len(other)) :]


_ALTERATIONS = (_flip, _flip, _edge, _insert, _delete, _repeat, _cut, _noise, _splice)


def _in_msgpack(source: bytes, lots: Lots, seeds: Sequence[bytes]) -> bytes:
    return _in_structure(source, lots, seeds, msgspec.msgpack.decode, msgspec.msgpack.encode)


def _in_json(source: bytes, lots: Lots, seeds: Sequence[bytes]) -> bytes:
    return _in_structure(source, lots, seeds, msgspec.json.decode, msgspec.json.encode)


def _in_structure(
    source: bytes,
    lots: Lots,
    seeds: Sequence[bytes],
    decode: Callable[[bytes], Any],
    encode: Callable[[Any], bytes],
) -> bytes:
    """`source` with one value in it replaced, left out or repeated; by bytes where it is not of
    that form."""
    try:
        tree = decode(source)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _in_bytes(source, lots, seeds)
    places = list(_places(tree, ()))
    place = lots.one(places)
    try:
        return encode(_replaced(tree, place, lots))
    except (ValueError, TypeError, OverflowError):
        return _in_bytes(source, lots, seeds)


def _places(value: Any, at: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _places(each, (*at, index))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _places(each, (*at, key))


def _replaced(value: Any, place: tuple[Any, ...], lots: Lots) -> Any:
    if not place:
        return _another(value, lots)
    key, rest = place[0], place[1:]
    fresh: Any = list(value) if isinstance(value, list) else dict(value)
    if not rest and lots.below(4) == 0:
        if lots.below(2) or isinstance(value, dict):
            del fresh[key]
        else:
            fresh.insert(key, value[key])
        return fresh
    fresh[key] = _replaced(value[key], rest, lots)
    return fresh


def _another(value: Any, lots: Lots) -> Any:
    """Another value, of the same kind half of the time."""
    if lots.below(2):
        return lots.one(EDGE_VALUES)
    match value:
        case bool():
            return not value
        case int():
            return value + lots.one((-1, 1, 255, -value, 2**32, -(2**31)))
        case str():
            return lots.one((value[1:], value + "0", value.upper(), value[::-1]))
        case bytes():
            return lots.one((value[1:], value + b"\x00", value[::-1], lots.data(len(value))))
        case list():
            return lots.one((value[::-1], value * 2, value[:-1], [value]))
    return lots.one(EDGE_VALUES)
