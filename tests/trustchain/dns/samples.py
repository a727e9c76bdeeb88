"""A zone with a bit of everything, a server for it, and logs to write to."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dns.message
import dns.query
import dns.rdatatype
import msgspec

from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.dns.keys import Algorithm
from hypermesh.trustchain.dns.published import NewZone, PublishedZones
from hypermesh.trustchain.dns.records import RecordSet, name, record_set
from hypermesh.trustchain.dns.server import NameServer, Resolver, Settings
from hypermesh.trustchain.dns.zone import Start
from hypermesh.trustchain.evidence import Act

APEX = "mesh.example"
HOST = "::1"
PATIENCE_S = 30.0
AUTHOR = "a test"
VALIDATED = (Algorithm.ECDSA_P256_SHA256, Algorithm.ED25519)
"""The algorithms that validators of others know; the private one is in `test_falcon.py`."""

MASTER = """
@                NS    ns.mesh.example.
@                CAA   0 issue "ca.mesh.example"
@                MX    10 mail.mesh.example.
ns               AAAA  ::1
www              A     192.0.2.1
www              A     192.0.2.2
www              AAAA  2001:db8::1
_443._tcp.www    TLSA  3 1 1 8cb0fc6c527506a053f4f14c8464bebbd6dede2738d11468dd953d7d6a3021f1
_sip._udp        SRV   1 2 5060 www.mesh.example.
svc              SVCB  1 www.mesh.example. alpn=h3 port=8443
web              HTTPS 1 . alpn=h2,h3
rev              PTR   www.mesh.example.
alias            CNAME www.mesh.example.
chain            CNAME alias.mesh.example.
away             CNAME host.elsewhere.example.
lost             CNAME nothing.mesh.example.
loop             CNAME loop2.mesh.example.
loop2            CNAME loop.mesh.example.
*.wild           TXT   "from a wildcard"
here.wild        A     192.0.2.9
a.b.c            AAAA  2001:db8::2
sub              NS    ns.sub.mesh.example.
ns.sub           A     192.0.2.3
ns.sub           AAAA  2001:db8::3
safe             NS    ns.elsewhere.example.
safe             DS    3613 15 2 3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b
"""


def sets() -> list[RecordSet]:
    """The zone of this module, and a set that fits in no datagram."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in MASTER.strip().splitlines():
        owner, kind, data = line.split(maxsplit=2)
        found.setdefault((owner, kind), []).append(data)
    found["big", "TXT"] = [f'"{number:02} {"x" * 200}"' for number in range(20)]
    return [
        record_set(APEX if owner == "@" else f"{owner}.{APEX}", kind, 300, data)
        for (owner, kind), data in found.items()
    ]


def start(apex: str = APEX) -> Start:
    return Start(name(f"ns.{apex}"), name(f"hostmaster.{apex}"))


def new_zone(algorithm: Algorithm | None = Algorithm.ED25519) -> NewZone:
    return NewZone(name(APEX), start(), tuple(sets()), algorithm)


def small_zone(apex: str, key: str | None = None) -> NewZone:
    """A zone of a few records; `key` None: not signed."""
    found = (
        record_set(apex, "NS", 300, [f"ns.{apex}."]),
        record_set(f"ns.{apex}", "AAAA", 300, ["::1"]),
        record_set(f"www.{apex}", "AAAA", 300, ["2001:db8::1"]),
    )
    return NewZone(name(apex), start(apex), found, key and Algorithm.ED25519, key)


@dataclass
class MemoryLog:
    """A log of acts that this process alone has."""

    acts: list[Act] = field(default_factory=list)

    def record(self, acts: Sequence[Act]) -> Sequence[int]:
        first = len(self.acts)
        self.acts += acts
        return range(first, len(self.acts))


class FileLog:
    """A log of acts that outlives its process: one line each, synced. `before` and `after` are
    called around that."""

    def __init__(
        self,
        file: Path,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._file, self._before, self._after = file, before, after
        file.touch()

    def record(self, acts: Sequence[Act]) -> Sequence[int]:
        self._before()
        first = len(self.read())
        with self._file.open("ab") as opened:
            for act in acts:
                opened.write(msgspec.json.encode([act.kind, act.document.hex()]) + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        self._after()
        return range(first, first + len(acts))

    def read(self) -> list[Act]:
        lines = self._file.read_bytes().splitlines()
        found = [msgspec.json.decode(line, type=tuple[str, str]) for line in lines]
        return [Act(kind, bytes.fromhex(document)) for kind, document in found]


@dataclass
class Serving:
    """A server, its zones and their log."""

    server: NameServer
    zones: PublishedZones
    log: MemoryLog
    keys: KeyStore

    @property
    def port(self) -> int:
        return self.server.port("udp")

    def ask(self, owner: str, kind: str = "A", *, dnssec: bool = False) -> dns.message.Message:
        return ask(self.port, owner, kind, dnssec=dnssec)


SETTINGS = Settings(addresses=((HOST, 0),), workers=1)


@contextlib.contextmanager
def serving(
    directory: Path, settings: Settings = SETTINGS, resolver: Resolver | None = None
) -> Iterator[Serving]:
    server = NameServer(settings, resolver)
    log, keys = MemoryLog(), KeyStore(directory / "keys")
    try:
        zones = PublishedZones(directory / "zones", log, server, keys, now_ms)
        yield Serving(server, zones, log, keys)
        zones.close()
    finally:
        server.stop()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ask(port: int, owner: str, kind: str = "A", *, dnssec: bool = False) -> dns.message.Message:
    """Over UDP, and over TCP where that was truncated."""
    query = dns.message.make_query(owner, kind, want_dnssec=dnssec)
    return dns.query.udp_with_fallback(query, HOST, PATIENCE_S, port)[0]


def data(section: list[dns.rrset.RRset], kind: str) -> list[str]:
    """The data of the records of one type."""
    wanted = dns.rdatatype.from_text(kind)
    return sorted(each.to_text() for found in section if found.rdtype == wanted for each in found)


def run(*command: str) -> str:
    """What a program prints, which must end well."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S * 2, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
