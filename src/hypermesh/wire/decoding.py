"""Typed decoders, each built once and one at a time.

msgspec 0.22 shows what it knows of a struct to other threads before it is complete. Two threads
that build decoders for the same struct at once end the process with a segmentation fault, so none
is built but here, or before there are threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

import msgspec

NOT_DECODED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are none of its type: text that is not UTF-8 and nesting
that is too deep come as errors of Python's own."""

_building = threading.Lock()
_msgpack: dict[Any, msgspec.msgpack.Decoder[Any]] = {}
_json: dict[Any, msgspec.json.Decoder[Any]] = {}


def msgpack_decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """The MessagePack decoder of `kind`."""
    known = _msgpack.get(kind)
    if known is None:
        with _building:
            known = _msgpack.setdefault(kind, msgspec.msgpack.Decoder(kind))
    return known


def json_decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The JSON decoder of `kind`."""
    known = _json.get(kind)
    if known is None:
        with _building:
            known = _json.setdefault(kind, msgspec.json.Decoder(kind))
    return known


def build_all() -> int:
    """Build decoders for every struct of this package that is imported, for a process in which
    others than this module decode as well. To be called before there are threads; how many."""
    count = 0
    for kind in _structs(msgspec.Struct):
        if kind.__module__.partition(".")[0] != "hypermesh":
            continue
        try:
            msgpack_decoder(kind)
        except (TypeError, NameError):
            # One that is only ever encoded.
            continue
        count += 1
    return count


def _structs(base: type[msgspec.Struct]) -> Iterator[Any]:
    for kind in base.__subclasses__():
        yield kind
        yield from _structs(kind)
