"""Tunnels on the wire: which service a stream is for, and local sockets as people write them.

    opening = version u8 | carriage u8 | service id 16 B
    datagram = service u16 (22) | flow u32 | packet             beside the stream of that number

An opening names a service, never a target: where a service leads, its owner alone has set.
"""

from __future__ import annotations

import enum
import ipaddress
import re
import struct

import msgspec

from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import AssetId

VERSION = 1
_OPENING = struct.Struct(">BB16s")
_INTERNET = re.compile(r"(tcp|udp):(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")
UNIX_PATH_BYTES_MAX = 107
"""What `sun_path` holds before its zero (unix(7))."""


class Carriage(enum.IntEnum):
    """What a stream of a tunnel carries."""

    BYTES = 1
    """The bytes of one connection."""
    DATAGRAMS = 2
    """Datagrams: beside the stream in QUIC datagrams (RFC 9221), or on it, each behind its length
    (u16)."""


class Opening(msgspec.Struct, frozen=True):
    """The first bytes of a stream of a tunnel."""

    carriage: Carriage
    service: AssetId

    def pack(self) -> bytes:
        """18 big-endian bytes."""
        return _OPENING.pack(VERSION, self.carriage, self.service)

    @classmethod
    def unpack(cls, data: bytes) -> Opening:
        """Raises `InvalidInput`."""
        if len(data) != _OPENING.size:
            raise InvalidInput(f"An opening has {_OPENING.size} bytes, not {len(data)}")
        version, carriage, service = _OPENING.unpack(data)
        if version != VERSION:
            raise InvalidInput(f"This is an opening of version {version}, not {VERSION}")
        if carriage not in tuple(Carriage):
            raise InvalidInput(f"{carriage} is no carriage of a tunnel")
        return cls(Carriage(carriage), service)


class Family(enum.StrEnum):
    """Kinds of local sockets."""

    TCP = "tcp"
    UDP = "udp"
    UNIX = "unix"


class Place(msgspec.Struct, frozen=True):
    """A local socket: `tcp:[::1]:5432`, `udp:127.0.0.1:53` or `unix:/run/db.sock`.

    `host` is an address, never a name: a name could lead elsewhere tomorrow. For UNIX sockets it is
    the path, and `port` is 0.
    """

    family: Family
    host: str
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises `InvalidInput`."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path.startswith("/") or "\0" in path:
                raise InvalidInput(f"{path[:120]!r} is not an absolute path")
            try:
                length = len(path.encode())
            except UnicodeEncodeError as error:
                raise InvalidInput(f"{path[:120]!r} is not UTF-8", why=str(error)) from error
            if length > UNIX_PATH_BYTES_MAX:
                raise InvalidInput(
                    f"The path of a UNIX socket has at most {UNIX_PATH_BYTES_MAX} bytes"
                )
            return cls(Family.UNIX, path)
        found = _INTERNET.fullmatch(text)
        if found is None:
            raise InvalidInput(
                f"{text[:120]!r} is not a local socket",
                why="expected tcp:[::1]:5432, udp:[::1]:53 or unix:/path; addresses, no names",
            )
        family, six, four, port = found.groups()
        if int(port) > 0xFFFF:
            raise InvalidInput(f"{port} is not a port (0 to 65535)")
        try:
            host = ipaddress.IPv6Address(six) if six else ipaddress.IPv4Address(four)
        except ValueError as error:
            raise InvalidInput(f"{six or four} is not an address", why=str(error)) from error
        return cls(Family(family), str(host), int(port))

    def __str__(self) -> str:
        if self.family is Family.UNIX:
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.family}:{host}:{self.port}"

    @property
    def carriage(self) -> Carriage:
        """What a stream to or from here carries."""
        return Carriage.DATAGRAMS if self.family is Family.UDP else Carriage.BYTES

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.family is Family.UNIX or ipaddress.ip_address(self.host).is_loopback
