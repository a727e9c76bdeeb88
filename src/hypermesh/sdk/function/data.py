"""Values that travel as data: MessagePack of Python's own types, and of NumPy arrays.

Arguments and results of functions are this and nothing else, so that whoever runs a function for
us can send back numbers and text, but no code. The same module packs and unpacks here and in the
sandbox, where its source goes with the function: it imports the standard library alone.

None, booleans, integers, floats, text, bytes, lists and dictionaries are as MessagePack has them.
What it lacks are extension types: 1 integers beyond 64 bits, 2 tuples, 3 sets, 4 frozen sets,
5 complex numbers, 6 arrays (type, shape, bytes in C order).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any

DEPTH_MAX = 100
INTEGER_BITS_MAX = 1 << 16
EXT_INTEGER, EXT_TUPLE, EXT_SET, EXT_FROZENSET, EXT_COMPLEX, EXT_ARRAY = 1, 2, 3, 4, 5, 6

_ARRAY_TYPE = re.compile(r"[<>|][biufcSUmM][1-9][0-9]{0,6}(\[[0-9a-zA-Z]{1,8}\])?")


class NotData(TypeError):
    """A value that does not travel as data."""


class Malformed(ValueError):
    """Bytes that no value packs to."""


def pack(value: object) -> bytes:
    """The bytes of `value`. Raises `NotData` for what is no data, saying what to send instead.

    bytearray and memoryview become bytes, and NumPy's scalars Python's numbers; everything else
    is again what it was.
    """
    parts: list[bytes] = []
    _pack(value, parts, 0)
    return b"".join(parts)


def unpack(data: bytes) -> Any:
    """The value of `data`, all of it. Raises `Malformed`; nothing in `data` is ever run."""
    value, end = _unpack(data, 0, 0)
    if end != len(data):
        raise Malformed(f"{len(data) - end} bytes too many")
    return value


def _pack(value: Any, parts: list[bytes], depth: int) -> None:
    if depth > DEPTH_MAX:
        raise NotData(f"it is nested deeper than {DEPTH_MAX}, or holds itself")
    kind = type(value)
    if value is None:
        parts.append(b"\xc0")
    elif kind is bool:
        parts.append(b"\xc3" if value else b"\xc2")
    elif kind is int:
        parts.append(_integer(value))
    elif kind is float:
        parts.append(b"\xcb" + struct.pack(">d", value))
    elif kind is str:
        try:
            text = value.encode()
        except UnicodeEncodeError as error:
            raise NotData(f"a text has lone surrogates: {error}") from None
        parts += _head(len(text), 0xA0, 31, 0xD9), text
    elif kind in (bytes, bytearray, memoryview):
        content = bytes(value)
        parts += _head(len(content), 0, -1, 0xC4), content
    elif kind is list:
        parts.append(_head(len(value), 0x90, 15, 0xDB))
        for item in value:
            _pack(item, parts, depth + 1)
    elif kind is dict:
        parts.append(_head(len(value), 0x80, 15, 0xDD))
        for key, item in value.items():
            _pack(key, parts, depth + 1)
            _pack(item, parts, depth + 1)
    else:
        _pack_extension(value, kind, parts, depth)


def _pack_extension(value: Any, kind: type, parts: list[bytes], depth: int) -> None:
    inner: list[bytes] = []
    if kind in (tuple, set, frozenset):
        code = {tuple: EXT_TUPLE, set: EXT_SET, frozenset: EXT_FROZENSET}[kind]
        _pack(list(value), inner, depth + 1)
    elif kind is complex:
        code = EXT_COMPLEX
        inner.append(struct.pack(">dd", value.real, value.imag))
    elif kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        code = EXT_ARRAY
        if not _ARRAY_TYPE.fullmatch(value.dtype.str):
            raise NotData(f"an array of {value.dtype} is no data; use one type of number or text")
        _pack([value.dtype.str, list(value.shape), value.tobytes()], inner, depth + 1)
    elif kind.__module__ == "numpy" and hasattr(value, "item"):
        _pack(value.item(), parts, depth + 1)
        return
    else:
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        raise NotData(
            f"{module}{kind.__qualname__} is no data; use None, bool, int, float, "
            "complex, str, bytes, list, tuple, set, dict or a NumPy array"
        )
    content = b"".join(inner)
    parts += _extension(code, content), content


def _integer(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes([value])
    if -32 <= value < 0:
        return struct.pack("b", value)
    if 0 <= value < 1 << 64:
        return b"\xcf" + struct.pack(">Q", value)
    if -(1 << 63) <= value < 0:
        return b"\xd3" + struct.pack(">q", value)
    bits = value.bit_length()
    if bits > INTEGER_BITS_MAX:
        raise NotData(f"an integer of {bits} bits; at most {INTEGER_BITS_MAX} travel")
    content = value.to_bytes(bits // 8 + 1, "big", signed=True)
    return _extension(EXT_INTEGER, content) + content


def _head(length: int, short: int, short_max: int, first: int) -> bytes:
    """A length, in the shortest of MessagePack's forms; lists and maps have none of one byte."""
    if length <= short_max:
        return bytes([short | length])
    if length < 1 << 8 and first < 0xDB:
        return bytes([first, length])
    if length < 1 << 16:
        return struct.pack(">BH", first + 1, length)
    if length < 1 << 32:
        return struct.pack(">BI", first + 2, length)
    raise NotData(f"{length} items are too many")


def _extension(code: int, content: bytes) -> bytes:
    return struct.pack(">BIb", 0xC9, len(content), code)


def _unpack(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > DEPTH_MAX:
        raise Malformed(f"nested deeper than {DEPTH_MAX}")
    if at >= len(data):
        raise Malformed("it ends in the middle")
    head = data[at]
    at += 1
    if head < 0x80:
        return head, at
    if head >= 0xE0:
        return head - 256, at
    if head < 0x90:
        return _map(data, at, head & 15, depth)
    if head < 0xA0:
        return _list(data, at, head & 15, depth)
    if head < 0xC0:
        return _text(data, at, head & 31)
    if head in _CONSTANTS:
        return _CONSTANTS[head], at
    if head in _NUMBERS:
        layout = _NUMBERS[head]
        content, at = _take(data, at, struct.calcsize(layout))
        return struct.unpack(layout, content)[0], at
    if head not in _LENGTHS:
        raise Malformed(f"{head:#04x} begins no value")
    layout, read = _LENGTHS[head]
    content, at = _take(data, at, struct.calcsize(layout))
    return read(data, at, struct.unpack(layout, content)[0], depth)


def _take(data: bytes, at: int, count: int) -> tuple[bytes, int]:
    end = at + count
    if end > len(data):
        raise Malformed("it ends in the middle")
    return data[at:end], end


def _text(data: bytes, at: int, length: int, _depth: int = 0) -> tuple[str, int]:
    content, at = _take(data, at, length)
    try:
        return content.decode(), at
    except UnicodeDecodeError as error:
        raise Malformed(str(error)) from None


def _bytes(data: bytes, at: int, length: int, _depth: int) -> tuple[bytes, int]:
    return _take(data, at, length)


def _list(data: bytes, at: int, length: int, depth: int) -> tuple[list[Any], int]:
    # A length is believed only as far as there are bytes: one an item, at least.
    if length > len(data) - at:
        raise Malformed("it ends in the middle")
    items = []
    for _ in range(length):
        item, at = _unpack(data, at, depth + 1)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, length: int, depth: int) -> tuple[dict[Any, Any], int]:
    if length > len(data) - at:
        raise Malformed("it ends in the middle")
    pairs: dict[Any, Any] = {}
    for _ in range(length):
        key, at = _unpack(data, at, depth + 1)
        value, at = _unpack(data, at, depth + 1)
        try:
            pairs[key] = value
        except TypeError:
            raise Malformed(f"a {type(key).__name__} is no key") from None
    return pairs, at


def _unpack_extension(data: bytes, at: int, length: int, depth: int) -> tuple[Any, int]:
    code, at = _take(data, at, 1)
    content, at = _take(data, at, length)
    return _extended(code[0], content, depth), at


def _extended(code: int, content: bytes, depth: int) -> Any:
    if code == EXT_INTEGER:
        if len(content) * 8 > INTEGER_BITS_MAX + 8:
            raise Malformed("the integer is too long")
        return int.from_bytes(content, "big", signed=True)
    if code == EXT_COMPLEX:
        if len(content) != 16:
            raise Malformed("a complex number has 16 bytes")
        return complex(*struct.unpack(">dd", content))
    if code not in (EXT_TUPLE, EXT_SET, EXT_FROZENSET, EXT_ARRAY):
        raise Malformed(f"there is no extension {code}")
    items, end = _unpack(content, 0, depth + 1)
    if end != len(content) or type(items) is not list:
        raise Malformed(f"extension {code} holds no list")
    if code == EXT_ARRAY:
        return _array(items)
    try:
        return {EXT_TUPLE: tuple, EXT_SET: set, EXT_FROZENSET: frozenset}[code](items)
    except TypeError:
        raise Malformed("a set holds what cannot be in one") from None


def _array(parts: list[Any]) -> Any:
    if len(parts) != 3 or [type(part) for part in parts] != [str, list, bytes]:
        raise Malformed("an array is its type, shape and bytes")
    dtype, shape, content = parts
    if not _ARRAY_TYPE.fullmatch(dtype):
        raise Malformed(f"{dtype[:20]!r} is no type of an array")
    if len(shape) > 32 or any(type(axis) is not int or not 0 <= axis < 1 << 40 for axis in shape):
        raise Malformed("the array has no such shape")
    try:
        import numpy as np
    except ImportError:
        raise Malformed("an array came, and there is no NumPy here; send lists or bytes") from None
    try:
        kind = np.dtype(dtype)
    except TypeError:
        raise Malformed(f"{dtype!r} is no type of an array") from None
    if math.prod(shape) * kind.itemsize != len(content):
        raise Malformed("the array's shape and its bytes differ")
    try:
        return np.frombuffer(bytearray(content), kind).reshape(shape)
    except ValueError as error:
        # Of no items there may be axes that together are too long.
        raise Malformed(str(error)) from None


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {0xCA + place: f">{letter}" for place, letter in enumerate("fdBHIQbhiq")}
_LENGTHS: dict[int, tuple[str, Callable[[bytes, int, int, int], tuple[Any, int]]]] = {
    first + place: (layout, read)
    for first, layouts, read in [
        (0xC4, ">B >H >I", _bytes),
        (0xC7, ">B >H >I", _unpack_extension),
        (0xD9, ">B >H >I", _text),
        (0xDC, ">H >I", _list),
        (0xDE, ">H >I", _map),
    ]
    for place, layout in enumerate(layouts.split())
}
