"""Values that travel as data: what comes out is what went in, and nothing a provider sends runs."""

from __future__ import annotations

import enum
import pickle
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hypermesh.sdk.function.data import DEPTH_MAX, Malformed, NotData, pack, unpack

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.binary()
)
keys = st.recursive(scalars, lambda inner: st.tuples(inner) | st.frozensets(inner), max_leaves=3)
values = st.recursive(
    scalars | st.sets(scalars),
    lambda inner: (
        st.lists(inner) | st.dictionaries(keys, inner) | st.lists(inner).map(tuple) | st.tuples()
    ),
    max_leaves=20,
)


@given(values)
def test_what_comes_out_is_what_went_in(value: Any) -> None:
    again = unpack(pack(value))
    assert again == value
    assert repr(type(again)) == repr(type(value))
    assert pack(again) == pack(value) or isinstance(value, (set, dict, tuple, list))


text = st.text(st.characters(codec="utf-8"))
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
messages = st.recursive(
    plain | text | st.binary(), lambda inner: st.lists(inner) | st.dictionaries(text, inner)
)
types = st.sampled_from(["uint8", ">i4", "float64", "complex64", "bool", "<U3", "M8[s]"])


@given(messages)
def test_it_is_the_messagepack_that_others_read_and_write(value: Any) -> None:
    assert msgspec.msgpack.decode(pack(value)) == value
    assert unpack(msgspec.msgpack.encode(value)) == value


@given(npst.arrays(types, npst.array_shapes(min_dims=0, min_side=0)))
def test_arrays_keep_type_shape_and_bytes(array: Any) -> None:
    again = unpack(pack({"a": array[::-1] if array.ndim else array}))["a"]
    wanted = array[::-1] if array.ndim else array
    assert (again.dtype, again.shape, again.tobytes()) == (
        wanted.dtype,
        wanted.shape,
        wanted.tobytes(),
    )
    assert again.flags.writeable


@pytest.mark.parametrize(
    ("value", "again"),
    [
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        (np.int64(5), 5),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        ([True, 1, 1.0], [True, 1, 1.0]),
        (10**300, 10**300),
    ],
)
def test_what_arrives_as_something_plainer(value: Any, again: Any) -> None:
    found = unpack(pack(value))
    assert found == again
    assert type(found) is type(again)


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        object(),
        datetime.now(UTC),
        OrderedDict(a=1),
        Colour.RED,
        lambda: 1,
        np.array([object()]),
        np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")]),
        "\ud800",
        {1: object()},
    ],
)
def test_what_is_no_data_is_refused_and_said(value: Any) -> None:
    with pytest.raises(NotData):
        pack([value])


def test_an_integer_has_an_end() -> None:
    assert unpack(pack(-(1 << 65_000))) == -(1 << 65_000)
    with pytest.raises(NotData, match="100001 bits"):
        pack(1 << 100_000)


def test_what_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(NotData, match="holds itself"):
        pack(circle)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    try:
        unpack(data)
    except Malformed:
        return


@given(values, st.integers(0, 1000), st.integers(0, 255))
def test_a_changed_byte_is_another_value_or_malformed(value: Any, at: int, byte: int) -> None:
    data = bytearray(pack(value))
    data[at % len(data)] = byte
    try:
        unpack(bytes(data))
    except Malformed:
        return


def array(kind: str, shape: list[int], content: bytes) -> bytes:
    """An array as no honest sender packs it."""
    inner = pack([kind, shape, content])
    return b"\xc7" + bytes([len(inner), 6]) + inner


class Boom:
    """What runs when a pickle is opened."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('opened')",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0\xc0",
        pickle.dumps(Boom()),
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * (DEPTH_MAX + 2) + b"\xc0",
        b"\x81\x90\xc0",
        b"\xc9\x00\x00\x00\x01\x03\xc0",
        b"\xc9\x00\x00\x00\x02\x7fab",
        pack(np.zeros(4))[:-1],
        pack(np.zeros(4)).replace(b"<f8", b"|O8"),
        pack(np.zeros(4)).replace(b"\x91\x04", b"\x91\x05"),
        array("<f8", [0, 1 << 39, 1 << 39], b""),
        array("<f8", [True], bytes(8)),
        array("<f8", [-1], bytes(8)),
    ],
)
def test_hostile_bytes_are_malformed_at_little_cost(data: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(data)
