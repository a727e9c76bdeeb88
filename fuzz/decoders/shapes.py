"""Valid values of any struct, made from its type alone, so that a struct which is added later is
fuzzed without anybody listing it."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import msgspec.inspect as shape
from fuzz.decoders.mutator import Lots

LENGTH_MAX = 3
"""Of a list, where its type allows more."""
DEPTH_MAX = 12
ZEROS_MAX = 256

_PATTERNS: dict[str, str] = {}
"""A text for each pattern that was solved before."""


def value_of(kind: Any, lots: Lots) -> Any:
    """A value of type `kind`."""
    return msgspec.convert(_plain(shape.type_info(kind), lots, 0), kind, builtin_types=(bytes,))


def _plain(info: shape.Type, lots: Lots, depth: int) -> Any:
    """The value as lists, dicts and scalars."""
    if depth > DEPTH_MAX:
        raise RecursionError(f"{info} holds itself")
    match info:
        case shape.StructType():
            return _struct(info, lots, depth)
        case shape.BytesType(min_length=least, max_length=most):
            return lots.data(_length(least, most, lots, 64))
        case shape.IntType():
            low = info.ge if info.ge is not None else -(2**31)
            high = info.le if info.le is not None else max(low, 0) + 2**40
            return lots.one((low, high, low + lots.below(high - low + 1)))
        case shape.FloatType():
            return float(lots.below(1000))
        case shape.StrType():
            return _text(info, lots)
        case shape.BoolType():
            return bool(lots.below(2))
        case shape.NoneType():
            return None
        case shape.EnumType(cls=cls):
            return lots.one([each.value for each in cls])
        case shape.LiteralType(values=values):
            return lots.one(values)
        case shape.UnionType(types=types):
            return _plain(lots.one(types), lots, depth + 1)
        case shape.ListType(item_type=item, min_length=least, max_length=most):
            count = _length(least, most, lots, LENGTH_MAX)
            return [_plain(item, lots, depth + 1) for _ in range(count)]
        case shape.TupleType(item_types=items):
            return [_plain(item, lots, depth + 1) for item in items]
        case shape.VarTupleType(item_type=item):
            return [_plain(item, lots, depth + 1) for _ in range(lots.below(LENGTH_MAX))]
        case shape.DictType(key_type=key, value_type=item):
            return {_plain(key, lots, depth + 1): _plain(item, lots, depth + 1)}
        case shape.Metadata(type=inner):
            return _plain(inner, lots, depth)
        case shape.AnyType():
            return lots.below(10)
    raise TypeError(f"no value is known of {info}")


def _struct(info: shape.StructType, lots: Lots, depth: int) -> Any:
    values = {
        field.encode_name: _plain(field.type, lots, depth + 1)
        for field in info.fields
        if field.required or lots.below(2) or info.array_like
    }
    if not info.array_like:
        tag = {info.tag_field: info.tag} if info.tag_field else {}
        return {**tag, **values}
    values_only = _especially(info.cls.__name__, list(values.values()))
    return values_only if info.tag is None else [info.tag, *values_only]


def _especially(name: str, values: list[Any]) -> list[Any]:
    """What a type says beyond its fields."""
    if name == "GlobalAddress":
        prefix, node, asset, port = values
        return [b"\xfd" + prefix[:7].ljust(7, b"\0"), node[:8].ljust(8, b"\0"), asset, port % 65536]
    return values


def _length(least: int | None, most: int | None, lots: Lots, usual: int) -> int:
    low = least or 0
    high = usual if most is None else min(most, max(usual, low))
    return low + lots.below(max(high, low) - low + 1)


def _text(info: shape.StrType, lots: Lots) -> str:
    if info.pattern is not None:
        return _matching(info.pattern)
    length = _length(info.min_length, info.max_length, lots, 12)
    return "".join(lots.one("abcdef0123456789") for _ in range(length))


def _matching(pattern: str) -> str:
    """A text of zeros that matches, as every pattern of ours has one."""
    if pattern not in _PATTERNS:
        tried = (*("0" * length for length in range(1, ZEROS_MAX + 1)), "")
        found = next((each for each in tried if re.search(pattern, each)), None)
        if found is None:
            raise TypeError(f"no text is known that matches {pattern}")
        _PATTERNS[pattern] = found
    return _PATTERNS[pattern]
