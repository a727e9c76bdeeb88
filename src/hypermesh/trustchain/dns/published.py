"""Zones that are stored, logged and then served: nobody is answered from a change that is not in
the log.

    1  the change is stored as pending, with all that it holds             durable
    2  its acts are recorded in the log                                    durable, seen by others
    3  the zone's records are stored, and the change with its leaf
    4  the server answers from them

After a kill or a power cut between two steps, opening the store again does the rest, in this order;
nothing that was acknowledged is lost. Step 3 is not synced: step 1 is enough to do it again. The
log may then hold an act twice, with the same zone and serial, for of a process that ended while it
waited nobody knows whether the log had answered. Where the log refuses (`LogUnavailable`), the
change is withdrawn and nothing has happened.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from dns.rdatatype import RdataType

from hypermesh._native import DnsKey
from hypermesh.crypto.files import make_directory
from hypermesh.crypto.keystore import KeyStore
from hypermesh.sqlite.file import Synced, opened, sync, transaction
from hypermesh.trustchain.dns.keys import Algorithm, ds, key_name, key_sets, stored_or_new
from hypermesh.trustchain.dns.records import RecordSet, name_text
from hypermesh.trustchain.dns.zone import (
    MADE_TYPES,
    ChangeInvalid,
    Start,
    Zone,
    ZoneExists,
    ZoneMissing,
    changed,
    difference,
    founded,
)
from hypermesh.trustchain.evidence import Act, ActLog, LogUnavailable
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError

UPDATE_KIND = "dns.update"
"""The kind of act that a change of a zone is."""

DOCUMENT_BYTES_MAX = 48 * 1024
"""Bytes of sets in one act; a larger change is several acts, recorded together."""

PENDING_BYTES_MAX = 8 * 1024 * 1024
"""Bytes of one change as it is stored before the log has it."""

ZONES_MAX = 1000
"""Zones that are added at once."""

HISTORY_MAX = 1000
"""Changes that a call answers with at most."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS zone (
    apex BLOB PRIMARY KEY,
    serial INTEGER NOT NULL,
    start BLOB NOT NULL,
    key TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
    apex BLOB NOT NULL,
    owner BLOB NOT NULL,
    kind INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (apex, owner, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS change (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    apex BLOB NOT NULL,
    serial INTEGER NOT NULL,
    pending BLOB,
    leaf INTEGER,
    at_ms INTEGER NOT NULL,
    author TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS change_pending ON change (number) WHERE pending IS NOT NULL;
CREATE INDEX IF NOT EXISTS change_by_zone ON change (apex, number);
"""


class ZoneUpdate(msgspec.Struct, frozen=True, array_like=True):
    """The document of an act: what became of the zone `apex` at `serial`, by `author`.

    `before` is the serial before it, 0 for a new zone; `serial` is 0 for a zone that is served no
    more. A set without data was removed. A change of many sets is `parts` acts, of which this is
    number `part`, from 0.
    """

    apex: bytes
    before: int
    serial: int
    author: str
    at_ms: int
    part: int
    parts: int
    sets: tuple[RecordSet, ...]


class _Pending(msgspec.Struct, frozen=True, array_like=True):
    """All of a change. `start` and `key` are those of a new zone, and None else; a new zone that
    is not signed has the empty `key`."""

    apex: bytes
    before: int
    serial: int
    author: str
    at_ms: int
    start: Start | None
    key: str | None
    sets: tuple[RecordSet, ...]

    def acts(self) -> list[Act]:
        groups: list[list[RecordSet]] = [[]]
        size = 0
        for each in self.sets:
            bytes_here = len(encode(each))
            if groups[-1] and size + bytes_here > DOCUMENT_BYTES_MAX:
                groups.append([])
                size = 0
            groups[-1].append(each)
            size += bytes_here
        shared = (self.apex, self.before, self.serial, self.author, self.at_ms)
        return [
            Act(UPDATE_KIND, encode(ZoneUpdate(*shared, part, len(groups), tuple(group))))
            for part, group in enumerate(groups)
        ]


@dataclass(frozen=True, slots=True)
class NewZone:
    """A zone to be served. `algorithm` None: not signed. `key`: the name of its key in the key
    store, where it is not its own."""

    apex: bytes
    start: Start
    sets: tuple[RecordSet, ...]
    algorithm: Algorithm | None = Algorithm.ED25519
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """A change that is served. `leaf` is the index of its first act in the log of acts, `at_ms` in
    milliseconds since 1970."""

    apex: bytes
    serial: int
    leaf: int
    at_ms: int
    author: str


class Server(Protocol):
    """Whatever answers from zones: `server.NameServer`."""

    def put(self, zones: Sequence[tuple[Zone, DnsKey | None]]) -> None:
        """Serve `zones` from now on."""

    def change(self, zone: Zone, changes: Sequence[RecordSet]) -> None:
        """Serve `zone` from now on, which differs from what is served by `changes`."""

    def remove(self, apexes: Sequence[bytes]) -> None:
        """Serve these zones no more."""


class PublishedZones:
    """The zones of one name server. May be used from several threads, which take turns."""

    def __init__(
        self,
        directory: Path,
        acts: ActLog,
        server: Server,
        keys: KeyStore,
        now_ms: Callable[[], int],
    ) -> None:
        """Serves what is stored in `directory`, after finishing what a crash left half done.

        `now_ms`: milliseconds since 1970. Raises `LogUnavailable`, `sqlite3.Error`, `OSError`.
        """
        self._acts = acts
        self._server = server
        self._keys = keys
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._held_keys: dict[str, DnsKey] = {}
        self._zones: dict[bytes, tuple[Zone, str]] = {}
        self._loaded = False
        make_directory(directory, 0o700)
        self._database = opened(directory / "zones.sqlite", _SCHEMA)
        try:
            self._finish_pending()
            self._load()
            self._loaded = True
            self._server.put([(zone, self._key(key)) for zone, key in self._zones.values()])
        except BaseException:
            self._database.close()
            raise

    def add(self, zones: Sequence[NewZone], author: str) -> list[Published]:
        """Serve new zones, all or none. `author` says to people who asked for it.

        Raises `ZoneExists`, `ChangeInvalid`, `RecordInvalid`, `LogUnavailable`.
        """
        if len(zones) > ZONES_MAX:
            raise ChangeInvalid(f"At most {ZONES_MAX} zones are added at once")
        with self._settled():
            made: list[tuple[Zone, str]] = []
            for each in zones:
                if each.apex in self._zones or any(zone.apex == each.apex for zone, _ in made):
                    raise ZoneExists(f"There is a zone {name_text(each.apex)} already")
                name, shown = "", []
                if each.algorithm is not None:
                    name = each.key or key_name(each.apex)
                    shown = key_sets(each.apex, self._made_key(name, each.algorithm))
                made.append((founded(each.apex, each.start, each.sets, shown), name))
            at_ms = self._now_ms()
            pending = [
                _Pending(
                    zone.apex, 0, zone.serial, author, at_ms, zone.start, key, tuple(zone.all_sets)
                )
                for zone, key in made
            ]
            done = self._publish(pending)
            self._zones.update({zone.apex: (zone, key) for zone, key in made})
            self._server.put([(zone, self._key(key)) for zone, key in made])
            return done

    def change(self, apex: bytes, changes: Sequence[RecordSet], author: str) -> Published:
        """Change sets of the zone `apex`, all or none. A change that changes nothing is one too.

        Raises `ZoneMissing`, `ChangeInvalid`, `RecordInvalid`, `LogUnavailable`.
        """
        return self.derive(apex, lambda _: changes, author)

    def derive(
        self, apex: bytes, rule: Callable[[Zone], Sequence[RecordSet]], author: str
    ) -> Published:
        """`change` by what `rule` says of the zone as it is; nobody changes it between. What it
        raises is raised, and nothing changes."""
        with self._settled():
            before, key = self._found(apex)
            after = changed(before, rule(before))
            return self._change(before, after, key, author)

    def replace(self, apex: bytes, sets: Sequence[RecordSet], author: str) -> Published:
        """Give the zone `apex` the content `sets` in one change; its key stays."""

        def rule(zone: Zone) -> list[RecordSet]:
            made = {each.key for each in zone.sets.values() if each.kind in MADE_TYPES}
            wanted = {each.key for each in sets}
            gone = [
                RecordSet(owner, kind, 0, ())
                for owner, kind in zone.sets
                if (owner, kind) not in wanted | made
            ]
            return [*gone, *sets]

        return self.derive(apex, rule, author)

    def remove(self, apex: bytes, author: str) -> Published:
        """Serve the zone `apex` no more. Its key stays in the key store. Raises `ZoneMissing`,
        `LogUnavailable`."""
        with self._settled():
            zone, _ = self._found(apex)
            at_ms = self._now_ms()
            [done] = self._publish([_Pending(apex, zone.serial, 0, author, at_ms, None, None, ())])
            del self._zones[apex]
            self._server.remove([apex])
            return done

    @property
    def apexes(self) -> list[bytes]:
        """The names of all zones."""
        with self._lock:
            return list(self._zones)

    def zone(self, apex: bytes) -> Zone:
        """The zone as it is served. Raises `ZoneMissing`."""
        with self._lock:
            return self._found(apex)[0]

    def closest(self, owner: bytes) -> Zone | None:
        """The zone that holds the name `owner`."""
        with self._lock:
            at = 0
            while at < len(owner):
                if (found := self._zones.get(owner[at:])) is not None:
                    return found[0]
                at += 1 + owner[at]
            return None

    def ds(self, apex: bytes) -> bytes | None:
        """The data of the DS record that the zone above `apex` needs; None where it is not signed.
        Raises `ZoneMissing`."""
        with self._lock:
            key = self._key(self._found(apex)[1])
        return key and ds(apex, key.dnskey())

    def history(self, apex: bytes, *, limit: int = 100) -> list[Published]:
        """The last changes of the zone `apex`, newest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT apex, serial, leaf, at_ms, author FROM change"
                " WHERE apex = ? AND leaf IS NOT NULL ORDER BY number DESC LIMIT ?",
                (apex, min(limit, HISTORY_MAX)),
            ).fetchall()
        return [Published(*row) for row in rows]

    def close(self) -> None:
        """Release the file. The server goes on answering from what it has."""
        with self._lock:
            self._database.close()

    def _found(self, apex: bytes) -> tuple[Zone, str]:
        found = self._zones.get(apex)
        if found is None:
            raise ZoneMissing(f"There is no zone {name_text(apex)}")
        return found

    def _change(self, before: Zone, after: Zone, key: str, author: str) -> Published:
        sets = difference(before, after)
        at_ms = self._now_ms()
        [done] = self._publish(
            [
                _Pending(
                    before.apex,
                    before.serial,
                    after.serial,
                    author,
                    at_ms,
                    None,
                    None,
                    tuple(sets),
                )
            ]
        )
        self._zones[before.apex] = (after, key)
        self._server.change(after, sets)
        return done

    def _publish(self, changes: Sequence[_Pending]) -> list[Published]:
        """Steps 1 to 3 of the module's text."""
        contents = [encode(each) for each in changes]
        if max(map(len, contents), default=0) > PENDING_BYTES_MAX:
            raise ChangeInvalid(f"A change has at most {PENDING_BYTES_MAX} bytes")
        with self._transaction():
            numbers = [
                self._database.execute(
                    "INSERT INTO change (apex, serial, pending, at_ms, author)"
                    " VALUES (?, ?, ?, ?, ?) RETURNING number",
                    (each.apex, each.serial, content, each.at_ms, each.author),
                ).fetchone()[0]
                for each, content in zip(changes, contents, strict=True)
            ]
        try:
            return self._record(list(zip(numbers, changes, strict=True)))
        except HyperMeshError:
            self._withdraw(numbers)
            raise

    def _withdraw(self, numbers: Sequence[int]) -> None:
        with self._transaction():
            self._database.executemany(
                "DELETE FROM change WHERE number = ?", [(number,) for number in numbers]
            )

    def _record(self, changes: Sequence[tuple[int, _Pending]]) -> list[Published]:
        acts = [change.acts() for _, change in changes]
        leaves = list(self._acts.record([act for group in acts for act in group]))
        done = []
        with self._transaction(Synced.LATER):
            at = 0
            for (number, change), group in zip(changes, acts, strict=True):
                self._apply(change)
                self._database.execute(
                    "UPDATE change SET pending = NULL, leaf = ? WHERE number = ?",
                    (leaves[at], number),
                )
                done.append(
                    Published(change.apex, change.serial, leaves[at], change.at_ms, change.author)
                )
                at += len(group)
        return done

    def _apply(self, change: _Pending) -> None:
        execute = self._database.execute
        if change.serial == 0:
            execute("DELETE FROM zone WHERE apex = ?", (change.apex,))
            execute("DELETE FROM record WHERE apex = ?", (change.apex,))
            return
        if change.start is not None:
            row = (change.apex, change.serial, encode(change.start), change.key)
            execute("INSERT INTO zone VALUES (?, ?, ?, ?)", row)
        else:
            execute("UPDATE zone SET serial = ? WHERE apex = ?", (change.serial, change.apex))
        for each in change.sets:
            if each.kind == RdataType.SOA:
                continue
            if each.data:
                execute(
                    "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)",
                    (change.apex, each.owner, each.kind, encode((each.ttl, each.data))),
                )
            else:
                execute(
                    "DELETE FROM record WHERE apex = ? AND owner = ? AND kind = ?",
                    (change.apex, each.owner, each.kind),
                )

    def _finish_pending(self) -> None:
        """Record and apply what is stored as pending. It may have been acknowledged, so it stays
        where the log takes nothing now, and goes only where no log can ever have taken it."""
        rows = self._database.execute(
            "SELECT number, pending FROM change WHERE pending IS NOT NULL ORDER BY number"
        ).fetchall()
        if not rows:
            return
        touched: set[bytes] = set()
        try:
            for number, pending in rows:
                change = decode(_Pending, pending, size_max=PENDING_BYTES_MAX)
                try:
                    self._record([(number, change)])
                except LogUnavailable:
                    raise
                except HyperMeshError:
                    self._withdraw([number])
                touched.add(change.apex)
        finally:
            if self._loaded:
                self._serve_again(touched)

    def _serve_again(self, apexes: set[bytes]) -> None:
        """Serve these zones as they are stored."""
        self._load()
        self._server.remove([apex for apex in apexes if apex not in self._zones])
        found = [self._zones[apex] for apex in apexes if apex in self._zones]
        self._server.put([(zone, self._key(key)) for zone, key in found])

    def _load(self) -> None:
        sets: dict[bytes, dict[tuple[bytes, int], RecordSet]] = {}
        for apex, owner, kind, content in self._database.execute(
            "SELECT apex, owner, kind, content FROM record"
        ):
            ttl, data = _content(content)
            sets.setdefault(apex, {})[owner, kind] = RecordSet(owner, kind, ttl, data)
        rows = self._database.execute("SELECT apex, start, serial, key FROM zone")
        self._zones = {
            apex: (Zone(apex, decode(Start, start), serial, sets.get(apex, {})), key)
            for apex, start, serial, key in rows
        }

    def _made_key(self, name: str, algorithm: Algorithm) -> DnsKey:
        if name not in self._held_keys:
            self._held_keys[name] = stored_or_new(self._keys, name, algorithm)
        return self._held_keys[name]

    def _key(self, name: str) -> DnsKey | None:
        # A stored zone's key is in the key store, with its own algorithm.
        return self._made_key(name, Algorithm.ED25519) if name else None

    @contextlib.contextmanager
    def _settled(self) -> Iterator[None]:
        """Alone with the zones, after what a caller before left: of one whose log or disk failed
        in the middle, nobody knows whether the log has it."""
        with self._lock:
            self._finish_pending()
            yield

    @contextlib.contextmanager
    def _transaction(self, synced: Synced = Synced.AT_ONCE) -> Iterator[None]:
        sync(self._database, synced)
        with transaction(self._database):
            yield


def _content(content: bytes) -> tuple[int, tuple[bytes, ...]]:
    return decode(tuple[int, tuple[bytes, ...]], content)
