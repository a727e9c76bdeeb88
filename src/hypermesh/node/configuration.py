"""How a node is set up. Chosen at its first start and kept in its data directory."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import msgspec

from hypermesh.crypto.files import make_directory, replace, settle
from hypermesh.stoq.custody import Carry
from hypermesh.stoq.stack import Stack
from hypermesh.wire.amount import BASIS_POINTS
from hypermesh.wire.asset import PrivacyLevel
from hypermesh.wire.decoding import NOT_DECODED
from hypermesh.wire.errors import HyperMeshError, InvalidInput

API_PORT = 5173
API_PORTS_TRIED = 32
TLS_PORT = 8444
DNS_LISTEN = "[::1]:5353"
DNS_ENCRYPTED = "[::1]:8853"
"""Of TLS (a TCP port) and of QUIC (a UDP port)."""
SETTINGS_FILE = "settings.json"
DEFAULT_SHARE = BASIS_POINTS // 2
SOCKET_PATH_BYTES_MAX = 107
"""sockaddr_un holds 108 bytes with the closing zero (unix(7))."""

NODE_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
_SHARE = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?%")


class DataDirectoryUnusable(HyperMeshError):
    """The data directory cannot hold a node."""

    code = "HM-NODE-0001"
    status = 500
    exit_code = 3
    title = "The data directory cannot be used"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What outlives a process: `settings.json` in the data directory. `share` is in basis points;
    `stoq_port` is 0 until the first start has chosen one; `tls_port` is 0 for no TLS listener, else
    where it looks first for a free port; `carry` says for whom it keeps parcels; `stoq_stack` which
    versions of IP STOQ speaks, `stoq_threads` with how many I/O threads (0: one a core).
    `dns_listen` is where it looks first for a place to serve names, `off` for none; `dns_tls` and
    `dns_quic` are the same for DNS over TLS and over QUIC, which only a node has that serves names
    at all; `dns_upstream` names the servers that look up other names, between commas."""

    name: str
    share: int
    level: PrivacyLevel
    stoq_host: str
    stoq_port: int
    tls_port: int = TLS_PORT
    carry: Carry = Carry.OWN
    stoq_stack: Stack = Stack.IPV6
    stoq_threads: int = 1
    dns_listen: str = DNS_LISTEN
    dns_upstream: str = ""
    dns_tls: str = DNS_ENCRYPTED
    dns_quic: str = DNS_ENCRYPTED


class Configuration(msgspec.Struct, frozen=True):
    """One node's data directory and settings."""

    data: Path
    settings: Settings

    @classmethod
    def of(
        cls,
        data: Path,
        *,
        name: str | None,
        share: str | None,
        level: str | None,
        stoq_host: str | None,
        stoq_port: int | None,
        tls_port: int | None = None,
        carry: str | None = None,
        stoq_stack: str | None = None,
        stoq_threads: int | None = None,
        dns_listen: str | None = None,
        dns_upstream: str | None = None,
        dns_tls: str | None = None,
        dns_quic: str | None = None,
    ) -> Configuration:
        """What is given on a command line, else what was chosen before, else the defaults."""
        kept = kept_settings(data / SETTINGS_FILE)
        chosen = name or kept.name
        if not re.fullmatch(NODE_NAME, chosen):
            raise InvalidInput(
                f"{chosen!r} is not a node name", why="letters, digits, - and _, at most 63"
            )
        settings = Settings(
            name=chosen,
            share=kept.share if share is None else parse_share(share),
            level=kept.level if level is None else PrivacyLevel(level),
            stoq_host=stoq_host or kept.stoq_host,
            stoq_port=kept.stoq_port if stoq_port is None else stoq_port,
            tls_port=kept.tls_port if tls_port is None else tls_port,
            carry=kept.carry if carry is None else Carry(carry),
            stoq_stack=kept.stoq_stack if stoq_stack is None else Stack(stoq_stack),
            stoq_threads=kept.stoq_threads if stoq_threads is None else stoq_threads,
            dns_listen=kept.dns_listen if dns_listen is None else dns_listen,
            dns_upstream=kept.dns_upstream if dns_upstream is None else dns_upstream,
            dns_tls=kept.dns_tls if dns_tls is None else dns_tls,
            dns_quic=kept.dns_quic if dns_quic is None else dns_quic,
        )
        return cls(data, settings)

    def keep(self, stoq_port: int) -> Configuration:
        """Write the settings down, with the port that STOQ listens on."""
        kept = msgspec.structs.replace(self.settings, stoq_port=stoq_port)
        text = msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n"
        replace(self.data / SETTINGS_FILE, text)
        return Configuration(self.data, kept)

    @property
    def socket(self) -> Path:
        return self.data / "hm.sock"

    @property
    def lock(self) -> Path:
        return self.data / "node.lock"

    @property
    def log(self) -> Path:
        return self.data / "node.log"


def first_settings() -> Settings:
    """What a node starts with where nothing is given."""
    name = re.sub(r"[^A-Za-z0-9_-]", "", socket.gethostname().partition(".")[0]) or "node"
    return Settings(name, DEFAULT_SHARE, PrivacyLevel.PRIVATE, "::", 0)


def kept_settings(file: Path) -> Settings:
    """What a node has kept in `file`, else what it starts with. Raises `DataDirectoryUnusable`."""
    if not file.exists():
        return first_settings()
    try:
        return msgspec.json.decode(file.read_bytes(), type=Settings)
    except NOT_DECODED as error:
        raise DataDirectoryUnusable(
            f"{file} cannot be read", why=str(error), fix=f"Correct it, or remove {file}"
        ) from error


def parse_share(text: str) -> int:
    """Basis points from a percentage such as `33.33%`; raises `InvalidInput`."""
    found = _SHARE.fullmatch(text)
    points = 0
    if found is not None:
        points = int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0"))
    if not 1 <= points <= BASIS_POINTS:
        raise InvalidInput(f"{text!r} is not a share", why="expected, say, 50% or 33.33%")
    return points


def prepare(data: Path) -> None:
    """Make the data directory, for its owner alone; refuse one that cannot work. What an earlier
    process left there is durable afterwards."""
    if len(os.fsencode(data / "hm.sock")) > SOCKET_PATH_BYTES_MAX:
        raise DataDirectoryUnusable(
            f"The path {data} is too long for a UNIX socket",
            why=f"the socket's path may have {SOCKET_PATH_BYTES_MAX} bytes",
            fix="Choose a shorter one with --data",
        )
    try:
        make_directory(data, 0o700)
        probe = data / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
        settle(data)
    except OSError as error:
        raise DataDirectoryUnusable(
            f"Cannot write in {data}", why=str(error), fix="Choose another with --data"
        ) from error
