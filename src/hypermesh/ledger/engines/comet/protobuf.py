"""Protocol Buffers, as far as ABCI needs them: a message is a dataclass whose fields say where they
stand on the wire.

    @dataclass(frozen=True, slots=True)
    class Timestamp:
        seconds: Annotated[int, Field(1, Kind.INT64)] = 0
        nanos: Annotated[int, Field(2, Kind.INT32)] = 0

The rules of proto3 hold (protobuf.dev, "Encoding"): fields are written in ascending order and left
out at their default; on reading, unknown fields are skipped, the last of a repeated scalar counts,
and a nested message that comes twice is merged. There are no groups, maps, floats or packed lists.
Stricter than the rules: a known field of another wire type is refused, and so is text that is not
UTF-8.

Input is bounded by its length alone, which the caller limits: every element costs at least two
bytes, and nesting goes as deep as the tables do, for what is unknown is skipped unread.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from hypermesh.ledger.engines.comet.errors import AbciMalformed

M = TypeVar("M")

VARINT_BYTES_MAX = 10
FIELD_NUMBER_MAX = (1 << 29) - 1
_WORD = (1 << 64) - 1


class Wire(enum.IntEnum):
    """How the bytes of a field are delimited."""

    VARINT = 0
    FIXED64 = 1
    LENGTH = 2
    FIXED32 = 5


class Kind(enum.Enum):
    """What a scalar field holds."""

    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    UINT32 = "uint32"
    UINT64 = "uint64"
    STRING = "string"
    BYTES = "bytes"


_DEFAULTS: dict[Kind, Any] = {
    Kind.BOOL: False,
    Kind.INT32: 0,
    Kind.INT64: 0,
    Kind.UINT32: 0,
    Kind.UINT64: 0,
    Kind.STRING: "",
    Kind.BYTES: b"",
}
_RANGES: dict[Kind, tuple[int, int]] = {
    Kind.BOOL: (0, 1),
    Kind.INT32: (-(1 << 31), (1 << 31) - 1),
    Kind.INT64: (-(1 << 63), (1 << 63) - 1),
    Kind.UINT32: (0, (1 << 32) - 1),
    Kind.UINT64: (0, _WORD),
}


@dataclass(frozen=True)
class Field:
    """Where a field stands, and what it holds: a scalar, absent on the wire where it has the
    default of its kind, or a message of its own, absent where it is None."""

    number: int
    kind: Kind | type

    @property
    def wire(self) -> Wire:
        if isinstance(self.kind, Kind) and self.kind not in (Kind.STRING, Kind.BYTES):
            return Wire.VARINT
        return Wire.LENGTH


@dataclass(frozen=True)
class Many(Field):
    """A field with any number of strings, byte strings or messages, as a tuple."""

    def __post_init__(self) -> None:
        if self.wire is Wire.VARINT:
            raise TypeError("lists of numbers are packed on the wire, which is not supported")


class _Table:
    """The fields of one class of messages: by ascending number, and (name, field) by number."""

    def __init__(self, message: type) -> None:
        hints = get_type_hints(message, include_extras=True)
        fields: list[tuple[str, Field]] = [
            (name, hint.__metadata__[0]) for name, hint in hints.items()
        ]
        self.fields = sorted(fields, key=lambda each: each[1].number)
        self.numbers = {field.number: (name, field) for name, field in self.fields}
        if len(self.numbers) != len(self.fields):
            raise TypeError(f"two fields of {message.__name__} have one number")


_tables: dict[type, _Table] = {}


def encode(message: object) -> bytes:
    """The bytes of `message`, an instance of a dataclass of fields as above."""
    out = bytearray()
    for name, field in _table(type(message)).fields:
        value = getattr(message, name)
        if isinstance(field, Many):
            for each in value:
                _write(out, field, each)
        elif value is not None and not (
            isinstance(field.kind, Kind) and value == _DEFAULTS[field.kind]
        ):
            _write(out, field, value)
    return bytes(out)


def decode(message: type[M], data: bytes) -> M:
    """The `message` that `data` encodes. Raises `AbciMalformed`."""
    table = _table(message)
    many: dict[str, list[Any]] = {}
    once: dict[str, Any] = {}
    pieces: dict[str, list[bytes]] = {}
    for number, wire, value in _fields(data):
        entry = table.numbers.get(number)
        if entry is None:
            continue
        name, field = entry
        if wire is not field.wire:
            raise AbciMalformed(
                why=f"field {number} of {message.__name__} has wire type {int(wire)}"
            )
        if isinstance(field, Many):
            many.setdefault(name, []).append(_value(field.kind, value))
        elif isinstance(field.kind, Kind):
            once[name] = _value(field.kind, value)
        else:
            # Two encodings one after the other are the encoding of both merged.
            pieces.setdefault(name, []).append(value)
    for name, field in table.fields:
        if name in many:
            once[name] = tuple(many[name])
        elif name in pieces:
            once[name] = _value(field.kind, b"".join(pieces[name]))
    return message(**once)


def encode_one(choices: Mapping[type, int], message: object) -> bytes:
    """The bytes of an envelope that holds exactly `message`; `choices` numbers what it may hold."""
    out = bytearray()
    _write(out, Field(choices[type(message)], type(message)), message)
    return bytes(out)


def decode_one(choices: Mapping[int, type], data: bytes) -> object:
    """The message in an envelope, the last one where it holds several. Raises `AbciMalformed`."""
    found: tuple[type, bytes] | None = None
    for number, wire, value in _fields(data):
        kind = choices.get(number)
        if kind is not None and wire is Wire.LENGTH:
            found = (kind, value)
    if found is None:
        raise AbciMalformed(why="it holds nothing that is known here")
    return decode(*found)


def varint(value: int) -> bytes:
    """An unsigned number below 2^64, seven bits a byte, lowest first."""
    out = bytearray()
    _write_varint(out, value)
    return bytes(out)


def _table(message: type) -> _Table:
    table = _tables.get(message)
    return _tables.setdefault(message, _Table(message)) if table is None else table


def _write(out: bytearray, field: Field, value: Any) -> None:
    _write_varint(out, field.number << 3 | field.wire)
    match field.kind:
        case Kind.BYTES:
            data = value
        case Kind.STRING:
            data = value.encode("utf-8")
        case Kind():
            least, most = _RANGES[field.kind]
            if not least <= value <= most:
                raise OverflowError(f"{value} does not fit field {field.number}")
            _write_varint(out, int(value) & _WORD)
            return
        case _:
            data = encode(value)
    _write_varint(out, len(data))
    out += data


def _write_varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _fields(data: bytes) -> Iterator[tuple[int, Wire, Any]]:
    """(number, wire type, value) of each field: a number for VARINT, otherwise its bytes."""
    at, end = 0, len(data)
    while at < end:
        key, at = _read_varint(data, at)
        number = key >> 3
        try:
            wire = Wire(key & 7)
        except ValueError:
            raise AbciMalformed(why=f"there is no wire type {key & 7} here") from None
        if not 1 <= number <= FIELD_NUMBER_MAX:
            raise AbciMalformed(why=f"there is no field number {number}")
        if wire is Wire.VARINT:
            value, at = _read_varint(data, at)
            yield number, wire, value
            continue
        if wire is Wire.LENGTH:
            size, at = _read_varint(data, at)
        else:
            size = 8 if wire is Wire.FIXED64 else 4
        if size > end - at:
            raise AbciMalformed(why=f"field {number} is cut short")
        yield number, wire, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[at : at + VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value > _WORD:
                break
            return value, at + index + 1
    raise AbciMalformed(why="a number is cut short, or longer than 64 bits")


def _value(kind: Kind | type, value: Any) -> Any:
    match kind:
        case Kind.BYTES:
            return value
        case Kind.STRING:
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError as error:
                raise AbciMalformed(why="a text is not UTF-8") from error
        case Kind.BOOL:
            return value != 0
        case Kind.UINT64:
            return value
        case Kind.UINT32:
            return value & 0xFFFFFFFF
        case Kind.INT32:
            return _signed(value & 0xFFFFFFFF, 32)
        case Kind.INT64:
            return _signed(value, 64)
        case _:
            return decode(kind, value)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
