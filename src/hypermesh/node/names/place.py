"""Addresses and ports as settings say them: `[::1]:5353`. Pure."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import NamedTuple

from hypermesh.wire.errors import InvalidInput

DNS_PORT = 53
UPSTREAMS_MAX = 3
OFF = "off"
"""Instead of a place, where nothing shall be served."""

_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?")


class Place(NamedTuple):
    """An address of one machine, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_place(text: str, port: int = DNS_PORT) -> Place:
    """`[ADDRESS]:PORT`, with `port` where none is given. Raises `InvalidInput`."""
    found = _PLACE.fullmatch(text)
    number = int(found[3]) if found is not None and found[3] is not None else port
    host = "" if found is None else found[1] or found[2]
    with contextlib.suppress(ValueError):
        if number <= 0xFFFF:
            return Place(str(ipaddress.ip_address(host)), number)
    raise InvalidInput(f"{text[:80]!r} is no address with a port", why="expected, say, [::1]:5353")


def parse_listen(text: str) -> Place | None:
    """Where names are served; None for nowhere. Raises `InvalidInput`."""
    return None if text == OFF else parse_place(text)


def parse_quic(text: str) -> Place | None:
    """As `parse_listen`, for what is served over IPv6 alone. Raises `InvalidInput`."""
    place = parse_listen(text)
    if place is not None and ":" not in place.host:
        raise InvalidInput(f"{text[:80]!r} is no IPv6 address", why="QUIC is served over IPv6")
    return place


def parse_upstream(text: str) -> tuple[Place, ...]:
    """The servers that are asked for what the mesh does not know, between commas; none for an empty
    text. Raises `InvalidInput`."""
    found = tuple(parse_place(each.strip()) for each in text.split(",") if each.strip())
    if len(found) > UPSTREAMS_MAX:
        raise InvalidInput(f"At most {UPSTREAMS_MAX} servers are asked", why=f"{len(found)} given")
    return found
