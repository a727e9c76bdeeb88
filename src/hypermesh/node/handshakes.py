"""The handshakes of this node, kept for the question of what a revocation would have cut off.

One SQLite file. What is written is durable when `keep` returns; the transport holds what has come
since, a second's worth, and that is lost with the process. Certificates and policies are kept once.
At most `HANDSHAKES_MAX` and none older than `AGE_MS_MAX`; the oldest go first.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from hypermesh.sqlite.file import opened, transaction
from hypermesh.stoq.endpoint import Admission
from hypermesh.trustchain.whatif import Believed, Handshake
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError

HANDSHAKES_MAX = 20_000
AGE_MS_MAX = 30 * 24 * 60 * 60 * 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS shown (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS handshakes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, peer BLOB NOT NULL,
    network BLOB, service TEXT NOT NULL, opened INTEGER NOT NULL, remote TEXT NOT NULL,
    chain BLOB NOT NULL, own BLOB NOT NULL, believed BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS handshakes_by_time ON handshakes (at_ms);
CREATE TABLE IF NOT EXISTS missed (one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER NOT NULL)
    STRICT;
"""


class HandshakesNotKept(HyperMeshError):
    """The file of handshakes cannot be used."""

    code = "HM-TRUST-0304"
    status = 507
    exit_code = 8
    title = "Handshakes cannot be recorded"
    remedy = "Make room on its disk; if it is damaged, remove it: only the record is lost with it"


class Handshakes:
    """The record, for any thread."""

    def __init__(self, file: Path) -> None:
        """Raises `HandshakesNotKept`."""
        self._file = file
        self._lock = threading.Lock()
        try:
            self._database = opened(file, _SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise HandshakesNotKept(f"{file} cannot be used", why=str(error)) from error

    def keep(
        self,
        admissions: Sequence[Admission],
        missed: int,
        own: bytes,
        believed: Believed,
        now_ms: int,
    ) -> None:
        """Write these down, with this side's leaf and what it believed; `missed` more there were.
        Old ones go. Raises `HandshakesNotKept`, and then nothing has changed."""
        with self._changing() as database:
            leaf, policy = _kept(database, own), _kept(database, encode(believed))
            database.executemany(
                "INSERT INTO handshakes (at_ms, peer, network, service, opened, remote, chain, own,"
                " believed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        each.at_ms,
                        each.peer,
                        each.network,
                        each.alpn,
                        int(each.opened),
                        each.remote,
                        _kept(database, encode(each.chain)),
                        leaf,
                        policy,
                    )
                    for each in admissions
                ],
            )
            if missed:
                database.execute(
                    "INSERT INTO missed VALUES (1, ?) "
                    "ON CONFLICT (one) DO UPDATE SET count = count + excluded.count",
                    (missed,),
                )
            gone = database.execute(
                "DELETE FROM handshakes WHERE at_ms < ? OR number <= "
                "(SELECT max(number) FROM handshakes) - ?",
                (now_ms - AGE_MS_MAX, HANDSHAKES_MAX),
            ).rowcount
            if gone:
                database.execute(
                    "DELETE FROM shown WHERE digest NOT IN (SELECT chain FROM handshakes "
                    "UNION SELECT own FROM handshakes UNION SELECT believed FROM handshakes)"
                )

    def all(self) -> list[Handshake]:
        """Every one, oldest first. Those under one policy share its value."""
        with self._reading() as database:
            shown = dict(database.execute("SELECT digest, bytes FROM shown").fetchall())
            rows = database.execute(
                "SELECT at_ms, peer, network, service, opened, remote, chain, own, believed "
                "FROM handshakes ORDER BY number"
            ).fetchall()
        policies: dict[bytes, Believed] = {}
        chains: dict[bytes, tuple[bytes, ...]] = {}
        found = []
        for at_ms, peer, network, service, opened_here, remote, chain, own, believed in rows:
            if believed not in policies:
                policies[believed] = decode(Believed, shown[believed])
            if chain not in chains:
                chains[chain] = tuple(decode(list[bytes], shown[chain]))
            found.append(
                Handshake(
                    at_ms,
                    peer,
                    network,
                    service,
                    bool(opened_here),
                    remote,
                    chains[chain],
                    shown[own],
                    policies[believed],
                )
            )
        return found

    @property
    def missed(self) -> int:
        """How many were not recorded because too many came at once."""
        with self._reading() as database:
            row = database.execute("SELECT count FROM missed").fetchone()
        return 0 if row is None else int(row[0])

    def close(self) -> None:
        """Release the file. Nothing is lost without it."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as database, transaction(database):
            yield database

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._database
        except (sqlite3.Error, OSError) as error:
            raise HandshakesNotKept(f"{self._file} cannot be used", why=str(error)) from error


def _kept(database: sqlite3.Connection, shown: bytes) -> bytes:
    """The digest under which `shown` is kept, once."""
    digest = hashlib.sha256(shown).digest()
    with closing(database.execute("INSERT OR IGNORE INTO shown VALUES (?, ?)", (digest, shown))):
        return digest
