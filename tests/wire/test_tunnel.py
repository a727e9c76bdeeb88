"""Openings of tunnels and places of local sockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.tunnel import UNIX_PATH_BYTES_MAX, Carriage, Family, Opening, Place

places = st.one_of(
    st.builds(
        Place,
        st.sampled_from([Family.TCP, Family.UDP]),
        st.ip_addresses().map(str),
        st.integers(0, 0xFFFF),
    ),
    st.builds(
        Place,
        st.just(Family.UNIX),
        st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=100).map(
            "/".__add__
        ),
    ),
)


@given(places)
def test_a_place_survives_its_text(place: Place) -> None:
    assert Place.parse(str(place)) == place


@given(st.sampled_from(Carriage), st.binary(min_size=16, max_size=16))
def test_an_opening_survives_the_wire(carriage: Carriage, service: bytes) -> None:
    opening = Opening(carriage, service)
    assert Opening.unpack(opening.pack()) == opening


@given(st.binary(max_size=40))
def test_any_bytes_are_an_opening_or_refused(data: bytes) -> None:
    try:
        opening = Opening.unpack(data)
    except InvalidInput:
        return
    assert opening.pack() == data


def test_the_layout_is_frozen() -> None:
    assert Opening(Carriage.DATAGRAMS, bytes(range(16))).pack() == b"\1\2" + bytes(range(16))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp",
        "tcp:localhost:80",
        "tcp:[::1]",
        "tcp:[::1]:65536",
        "tcp:[::1]:-1",
        "tcp:[127.0.0.1]:80",
        "tcp:1.2.3:80",
        "tcp:[fe80::1%lo]:80",
        "sctp:[::1]:80",
        "unix:relative",
        "unix:",
        "unix:/a\0b",
        "unix:/a\udcff",
        "unix:/" + "x" * UNIX_PATH_BYTES_MAX,
        " tcp:[::1]:80",
        "tcp:[::1]:80\n",
    ],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Place.parse(text)


def test_who_else_reaches_a_place_is_known() -> None:
    assert Place.parse("tcp:[::1]:1").is_local
    assert Place.parse("tcp:127.0.0.1:1").is_local
    assert Place.parse("unix:/x").is_local
    assert not Place.parse("tcp:[::]:1").is_local
    assert not Place.parse("udp:192.168.1.2:1").is_local
