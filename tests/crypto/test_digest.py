from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.crypto.digest import digest, digest_many, digest_of
from hypermesh.wire.codec import encode


@given(st.binary(max_size=3000))
def test_is_what_the_second_implementation_says(blake3_derive, data):
    assert digest("tx", data) == blake3_derive("hypermesh/v1/tx", data)


def test_large_input_is_hashed_off_the_lock_to_the_same_value(blake3_derive):
    data = bytes(range(256)) * 300
    assert digest("tx", data) == blake3_derive("hypermesh/v1/tx", data)


def test_names_separate():
    assert len({digest(name, b"same") for name in ("tx", "header", "sign/tx", "keys")}) == 4


def test_of_a_value_is_of_its_canonical_encoding():
    assert digest_of("tx", [1, b"two"]) == digest("tx", encode([1, b"two"]))


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_many_are_the_single_ones_in_order(items):
    assert digest_many("tx", items) == [digest("tx", item) for item in items]


@pytest.mark.parametrize("name", ["", "TX", "a b", "tx\0", "é", "a" * 65])
def test_a_name_has_a_strict_alphabet(name):
    with pytest.raises(ValueError, match="name"):
        digest(name, b"")
    with pytest.raises(ValueError, match="name"):
        digest_many(name, [])
