"""BLAKE3 in `derive_key` mode under named contexts: 32 bytes, context `hypermesh/v1/<name>`.

A name is a constant of the program (1 to 64 of `a-z 0-9 - _ . /`), one for each purpose, so a
digest made for one purpose never equals one made for another. `sign/*`, `merkle/*`, `keys` and
`envelope` are taken by this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypermesh import _native
from hypermesh.wire.codec import encode
from hypermesh.wire.ids import Hash


def digest(name: str, data: bytes) -> Hash:
    """The digest of `data` under `name`. Raises `ValueError` where `name` is no name."""
    return _native.digest(name, data)


def digest_of(name: str, value: object) -> Hash:
    """The digest of the canonical encoding of `value` under `name`."""
    return _native.digest(name, encode(value))


def digest_many(name: str, items: Sequence[bytes]) -> list[Hash]:
    """`digest(name, item)` of each item, in one call without the interpreter lock."""
    return _native.digest_many(name, items)
