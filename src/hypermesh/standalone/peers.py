"""Who may use a server, and which servers a client knows: two text files, a line each. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from hypermesh.standalone.errors import SettingsInvalid
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import Hash

PORT_DEFAULT = 4433
PEERS_MAX = 10_000
_IPV4 = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_ID = re.compile(r"[0-9a-f]{64}")
_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::([0-9]{1,5}))?")


class Server(NamedTuple):
    """Where a server is: an IPv6 address or a name that has one, or an IPv4 address; and a UDP
    port."""

    host: str
    port: int

    @property
    def is_ipv4(self) -> bool:
        return bool(_IPV4.fullmatch(self.host))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_server(text: str) -> Server:
    """`HOST:PORT`, `[::1]:4433`; the port may be left out. Raises `InvalidInput`."""
    found = _PLACE.fullmatch(text)
    if found is None or int(found[3] or PORT_DEFAULT) > 0xFFFF:
        raise InvalidInput(
            f"{text[:120]!r} is no place of a server", why="expected HOST:PORT or [ADDRESS]:PORT"
        )
    return Server(found[1] or found[2], int(found[3] or PORT_DEFAULT))


def parse_id(text: str, what: str) -> Hash:
    """32 bytes from 64 hex digits. Raises `InvalidInput`."""
    if not _ID.fullmatch(text):
        raise InvalidInput(f"{text[:80]!r} is no {what}", why="expected 64 lower-case hex digits")
    return bytes.fromhex(text)


def parse_authorized(text: str, file: str) -> frozenset[Hash]:
    """The key ids in `authorized_peers`: one a line, a comment behind it. Raises `SettingsInvalid`
    with the line."""
    found: set[Hash] = set()
    for number, line in _lines(text):
        word = line.split()[0]
        if not _ID.fullmatch(word):
            raise SettingsInvalid(
                f"{file}:{number} names no key",
                why=f"{word[:80]!r} is not 64 lower-case hex digits",
                fix="Put what `hm stoq id` prints there",
            )
        found.add(bytes.fromhex(word))
    if len(found) > PEERS_MAX:
        raise SettingsInvalid(f"{file} names {len(found)} keys, at most {PEERS_MAX} are taken")
    return frozenset(found)


def parse_known(text: str, file: str) -> dict[Server, Hash]:
    """The servers and pins in `known_servers`. Raises `SettingsInvalid` with the line."""
    known: dict[Server, Hash] = {}
    for number, line in _lines(text):
        words = line.split()
        try:
            place, pin = words
            known[parse_server(place)] = parse_id(pin, "pin")
        except (ValueError, InvalidInput) as error:
            raise SettingsInvalid(
                f"{file}:{number} is not a server and its pin", why=str(error)
            ) from error
    return known


def _lines(text: str) -> list[tuple[int, str]]:
    """Numbered lines with something in them, without comments."""
    lines = enumerate((line.split("#")[0].strip() for line in text.splitlines()), 1)
    return [(number, line) for number, line in lines if line]
