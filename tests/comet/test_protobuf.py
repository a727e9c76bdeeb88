"""The wire format: it writes what proto3 says, and what it reads is read or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.ledger.engines.comet import messages as abci
from hypermesh.ledger.engines.comet.errors import AbciMalformed
from hypermesh.ledger.engines.comet.protobuf import (
    Field,
    Kind,
    Many,
    decode,
    decode_one,
    encode,
    encode_one,
    varint,
)


@dataclass(frozen=True, slots=True)
class Inner:
    number: Annotated[int, Field(1, Kind.INT64)] = 0
    names: Annotated[tuple[str, ...], Many(2, Kind.STRING)] = ()


@dataclass(frozen=True, slots=True)
class Outer:
    """One field of each kind, in an order that is not that of the numbers."""

    inners: Annotated[tuple[Inner, ...], Many(9, Inner)] = ()
    yes: Annotated[bool, Field(1, Kind.BOOL)] = False
    small: Annotated[int, Field(2, Kind.INT32)] = 0
    large: Annotated[int, Field(3, Kind.INT64)] = 0
    count: Annotated[int, Field(4, Kind.UINT32)] = 0
    total: Annotated[int, Field(5, Kind.UINT64)] = 0
    text: Annotated[str, Field(6, Kind.STRING)] = ""
    data: Annotated[bytes, Field(7, Kind.BYTES)] = b""
    inner: Annotated[Inner | None, Field(8, Inner)] = None
    chunks: Annotated[tuple[bytes, ...], Many(200, Kind.BYTES)] = ()


int64s = st.integers(-(2**63), 2**63 - 1)
inners = st.builds(Inner, number=int64s, names=st.lists(st.text(), max_size=4).map(tuple))
outers = st.builds(
    Outer,
    inners=st.lists(inners, max_size=3).map(tuple),
    yes=st.booleans(),
    small=st.integers(-(2**31), 2**31 - 1),
    large=int64s,
    count=st.integers(0, 2**32 - 1),
    total=st.integers(0, 2**64 - 1),
    text=st.text(),
    data=st.binary(),
    inner=st.none() | inners,
    chunks=st.lists(st.binary(), max_size=3).map(tuple),
)


@pytest.mark.parametrize(
    ("message", "written"),
    [
        (Outer(), ""),
        (Outer(large=150), "18 96 01"),
        (Outer(text="testing"), "32 07 74657374696e67"),
        (Outer(small=-1), "10 ff ff ff ff ff ff ff ff ff 01"),
        (Outer(small=-(2**31)), "10 80 80 80 80 f8 ff ff ff ff 01"),
        (Outer(total=2**64 - 1), "28 ff ff ff ff ff ff ff ff ff 01"),
        (Outer(yes=True, data=b"\x00"), "08 01 3a 01 00"),
        (Outer(inner=Inner()), "42 00"),
        (Outer(inner=Inner(150)), "42 03 08 96 01"),
        (Outer(inners=(Inner(), Inner(1))), "4a 00 4a 02 08 01"),
        (Outer(chunks=(b"", b"\xff")), "c2 0c 00 c2 0c 01 ff"),
    ],
)
def test_what_is_written_is_what_proto3_says(message: Outer, written: str) -> None:
    data = bytes.fromhex(written)
    assert encode(message) == data
    assert decode(Outer, data) == message


@given(outers)
def test_what_was_written_is_read_back(message: Outer) -> None:
    assert decode(Outer, encode(message)) == message


@given(outers, outers)
def test_two_encodings_in_a_row_are_merged(first: Outer, second: Outer) -> None:
    merged = decode(Outer, encode(first) + encode(second))
    assert merged.inners == first.inners + second.inners
    assert merged.chunks == first.chunks + second.chunks
    assert merged.large == (second.large or first.large)
    if first.inner is not None and second.inner is not None:
        assert merged.inner is not None
        assert merged.inner.names == first.inner.names + second.inner.names
        assert merged.inner.number == (second.inner.number or first.inner.number)


@given(outers)
def test_unknown_fields_are_skipped(message: Outer) -> None:
    """A later version writes fields that this one does not know, of every wire type."""
    unknown = bytes.fromhex("e07f 01  e17f 0102030405060708  e27f 03 ffffff  e57f 01020304")
    assert decode(Outer, unknown + encode(message) + unknown) == message


def test_numbers_of_32_bits_are_cut_as_proto3_says() -> None:
    assert decode(Outer, b"\x20" + varint(2**32 + 7)) == Outer(count=7)
    assert decode(Outer, b"\x10" + varint(2**32 - 1)) == Outer(small=-1)
    assert decode(Outer, b"\x08" + varint(2)) == Outer(yes=True)


MALFORMED = {
    "a key cut short": "80",
    "a number cut short": "18 96",
    "a number of eleven bytes": "18 ff ff ff ff ff ff ff ff ff ff 01",
    "a number beyond 64 bits": "18 ff ff ff ff ff ff ff ff ff 02",
    "a text cut short": "32 07 7465",
    "a length beyond all": "3a ff ff ff ff ff ff ff ff ff 01 00",
    "a fixed field cut short": "e5 7f 01 02",
    "field number zero": "00 01",
    "a field number too large": "80 80 80 80 80 01 01",
    "a group": "0b 0c",
    "wire type six": "0e",
    "a number where a text belongs": "30 01",
    "bytes where a number belongs": "1a 01 00",
    "no UTF-8": "32 02 c3 28",
    "a nested message cut short": "42 02 08 80",
    "a list's message cut short": "4a 01 08",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_input_is_refused(data: str) -> None:
    with pytest.raises(AbciMalformed):
        decode(Outer, bytes.fromhex(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        message = decode(Outer, data)
    except AbciMalformed:
        return
    assert decode(Outer, encode(message)) == message


@given(outers, st.data())
def test_a_message_cut_anywhere_is_read_or_refused(message: Outer, data: st.DataObject) -> None:
    encoded = encode(message)
    cut = encoded[: data.draw(st.integers(0, len(encoded)))]
    try:
        decode(Outer, cut)
    except AbciMalformed:
        return


@given(st.binary(max_size=100))
def test_any_envelope_is_read_or_refused(data: bytes) -> None:
    try:
        request = decode_one(abci.REQUESTS, data)
    except AbciMalformed:
        return
    assert type(request) in abci.REQUEST_NUMBERS


def test_an_envelope_holds_one_message_and_the_last_counts() -> None:
    echo = encode_one(abci.REQUEST_NUMBERS, abci.RequestEcho("hello"))
    flush = encode_one(abci.REQUEST_NUMBERS, abci.RequestFlush())
    assert echo == b"\x0a\x07\x0a\x05hello"
    assert decode_one(abci.REQUESTS, echo) == abci.RequestEcho("hello")
    assert decode_one(abci.REQUESTS, echo + flush) == abci.RequestFlush()


@pytest.mark.parametrize(
    "data", [b"", b"\x22\x00", b"\x08\x01"], ids=["empty", "unknown", "number"]
)
def test_an_envelope_without_a_known_message_is_refused(data: bytes) -> None:
    with pytest.raises(AbciMalformed):
        decode_one(abci.REQUESTS, data)


def test_every_message_has_a_table() -> None:
    """Each class of ABCI message is written and read; a wrong table shows at its first use."""
    for choices in (abci.REQUEST_NUMBERS, abci.RESPONSE_NUMBERS):
        by_number = {number: kind for kind, number in choices.items()}
        for kind in choices:
            assert decode_one(by_number, encode_one(choices, kind())) == kind()


@pytest.mark.parametrize("value", [-(2**63) - 1, 2**63])
def test_a_number_that_does_not_fit_is_not_written(value: int) -> None:
    with pytest.raises(OverflowError):
        encode(Outer(large=value))


def test_a_table_with_one_number_twice_is_a_bug() -> None:
    @dataclass
    class Twice:
        first: Annotated[int, Field(1, Kind.INT64)] = 0
        second: Annotated[int, Field(1, Kind.INT64)] = 0

    Twice.__annotations__ = {name: Annotated[int, Field(1, Kind.INT64)] for name in ("a", "b")}
    with pytest.raises(TypeError, match="one number"):
        encode(Twice())


def test_lists_of_numbers_are_not_supported() -> None:
    with pytest.raises(TypeError, match="packed"):
        Many(1, Kind.UINT32)
