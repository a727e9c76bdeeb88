"""GlobalAddress: 34 bytes, one text, refusals that say what is wrong."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.wire.address import SIZE, GlobalAddress
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import asset_id_from

addresses = st.builds(
    GlobalAddress.of,
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32).map(asset_id_from),
    st.integers(0, 0xFFFF),
)


@given(addresses)
def test_text_and_bytes_lead_back(address: GlobalAddress) -> None:
    assert GlobalAddress.parse(str(address)) == address
    assert GlobalAddress.unpack(address.pack()) == address
    assert len(address.pack()) == SIZE


def test_a_known_address() -> None:
    address = GlobalAddress.of(
        bytes(range(32)), bytes(range(100, 132)), asset_id_from(bytes(range(32))), 2
    )
    assert str(address) == (
        "hm://fd00010203040000.6465666768696a6b.000102030405860788090a0b0c0d0e0f:2"
    )
    assert address.dns_name == (
        "000102030405860788090a0b0c0d0e0f.6465666768696a6b.0001020304.hm.internal"
    )
    assert str(address.ipv6_view(7)) == "fd00:102:304:0:6465:6667:6869:7"


@given(st.text(max_size=120))
def test_other_text_is_refused(text: str) -> None:
    try:
        address = GlobalAddress.parse(text)
    except InvalidInput:
        return
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "hm://FD00010203040000.6465666768696a6b.000102030405860788090a0b0c0d0e0f:2",
        "hm://fd00010203040000.6465666768696a6b.000102030405860788090a0b0c0d0e0f:02",
        "hm://fd00010203040000.6465666768696a6b.000102030405860788090a0b0c0d0e0f:65536",
        "hm://fe00010203040000.6465666768696a6b.000102030405860788090a0b0c0d0e0f:2",
        "hm://fd00010203040000.6465666768696a6b.000102030405860788090a0b0c0d0e0f:2\n",
        "hm://fd00010203040000.6465666768696a6b.000102030405860788090a0b0c0d0e0f",
    ],
)
def test_near_misses_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        GlobalAddress.parse(text)


@given(st.binary(min_size=16, max_size=32))
def test_an_asset_id_is_a_uuid_of_version_8(digest: bytes) -> None:
    made = uuid.UUID(bytes=asset_id_from(digest))
    assert made.variant == uuid.RFC_4122
    assert made.bytes[6] >> 4 == 8
