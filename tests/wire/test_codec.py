"""One value, one encoding: whatever `decode` accepts, `encode` gives back byte for byte."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.wire.asset import Capability, Price, Receipt
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.proof import Bundle, VdfOutput
from hypermesh.wire.tx import BlockOpening, Entry

digests = st.binary(min_size=32, max_size=32)
naturals = st.integers(0, 2**53)
receipts = st.builds(
    Receipt, digests, digests, naturals, naturals, naturals, naturals, naturals, digests
)


@given(receipts)
def test_what_is_encoded_decodes_to_itself(receipt: Receipt) -> None:
    assert decode(Receipt, encode(receipt)) == receipt


@given(receipts, st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_is_another_value(
    receipt: Receipt, place: int, change: int
) -> None:
    data = bytearray(encode(receipt))
    data[place % len(data)] ^= change
    try:
        other = decode(Receipt, bytes(data))
    except Undecodable:
        return
    assert other != receipt
    assert encode(other) == bytes(data)


def test_an_integer_in_a_longer_form_is_not_canonical() -> None:
    data = encode(Price(1, 1, 1))
    assert data == b"\x93\x01\x01\x01"
    with pytest.raises(Undecodable, match="canonical"):
        decode(Price, b"\x93\xcc\x01\x01\x01")


def test_trailing_missing_and_surplus_members_are_refused() -> None:
    data = encode(Price(1, 1, 1))
    for broken in (data + b"\x00", data[:-1], b"\x94\x01\x01\x01\x01", b"", b"\xc1"):
        with pytest.raises(Undecodable):
            decode(Price, broken)


def test_the_size_limit_is_checked_before_anything_is_read() -> None:
    with pytest.raises(Undecodable, match="at most 3"):
        decode(Price, encode(Price(1, 1, 1)), size_max=3)


def test_deep_nesting_ends_in_an_error_not_in_the_stack() -> None:
    with pytest.raises(Undecodable):
        decode(Bundle, b"\x91" * 100_000)


def test_lengths_and_ranges_are_part_of_the_type() -> None:
    good = Capability(bytes(32), bytes(16), bytes(32), 1, 1)
    assert decode(Capability, encode(good)) == good
    for broken in (
        Capability(bytes(31), bytes(16), bytes(32), 1, 1),
        Capability(bytes(32), bytes(17), bytes(32), 1, 1),
        Capability(bytes(32), bytes(16), bytes(32), -1, 1),
    ):
        with pytest.raises(Undecodable):
            decode(Capability, encode(broken))


def test_text_that_is_not_utf8_is_refused() -> None:
    data = encode(VdfOutput("chiavdf-1", 10, b"y")).replace(b"chiavdf", b"chi\xffvdf")
    with pytest.raises(Undecodable):
        decode(VdfOutput, data)


def test_a_union_is_told_apart_by_its_tag() -> None:
    opening = BlockOpening(5, VdfOutput("chiavdf-1", 10, b"y"))
    assert decode(Entry, encode(opening)) == opening  # type: ignore[arg-type]
    with pytest.raises(Undecodable):
        decode(Entry, msgspec.msgpack.encode(["system.other", 5, None]))  # type: ignore[arg-type]
