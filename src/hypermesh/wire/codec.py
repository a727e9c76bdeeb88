"""Canonical encoding: MessagePack with array-like structs (msgspec).

One value has one encoding. `decode` encodes what it read again and refuses input that differs, so
an identifier derived from bytes (a transaction id, a genesis id) can never name two byte strings.
Structs that cross a process are `frozen=True, array_like=True` and hold no dict and no float.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from hypermesh.wire.decoding import NOT_DECODED, msgpack_decoder
from hypermesh.wire.errors import InvalidInput

T = TypeVar("T")

SIZE_MAX = 4 * 1024 * 1024
"""Bytes; the largest encoded value that any listener reads, unless a caller sets less."""

_encoder = msgspec.msgpack.Encoder()


class Undecodable(InvalidInput):
    """The bytes are not the canonical encoding of the expected type."""

    code = "HM-WIRE-0001"
    title = "The bytes are not a canonical encoding"


def encode(value: object) -> bytes:
    """The canonical encoding of `value`."""
    return _encoder.encode(value)


def decode(kind: type[T], data: bytes, *, size_max: int = SIZE_MAX) -> T:
    """The value of type `kind` that `data` encodes.

    Raises `Undecodable` where `data` is longer than `size_max` bytes, is not MessagePack, does not
    fit `kind`, or is not what `encode` would have written.
    """
    if len(data) > size_max:
        raise Undecodable(
            f"The message has {len(data)} bytes", why=f"at most {size_max} are accepted here"
        )
    try:
        value: T = msgpack_decoder(kind).decode(data)
    except NOT_DECODED as error:
        raise Undecodable(f"The bytes are not a {_name(kind)}", why=str(error)) from error
    if _encoder.encode(value) != data:
        raise Undecodable(
            f"The {_name(kind)} is not in canonical form",
            why="encoding it again gives other bytes",
        )
    return value


def _name(kind: object) -> str:
    return getattr(kind, "__name__", str(kind))
