"""What a receiving side keeps: files that have arrived, those that are arriving, and which chunks
are in them.

    DIRECTORY/NAME            files that are here, whole and durable
    DIRECTORY/.arriving/KEY   files that are not
    DIRECTORY/.arriving/index.sqlite

The index of chunks is a hint: a chunk that it names is read and verified before it is used. So it
may be stale, torn or lost; its files may be changed, moved or removed by whoever owns them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.files import make_directory, publish
from hypermesh.sqlite.file import opened
from hypermesh.stoq.errors import FileFailed, NoSpace
from hypermesh.stoq.transfer.errors import AlreadyComing, InboxDamaged
from hypermesh.stoq.transfer.manifest import Chunk
from hypermesh.wire.delivery import NAME_BYTES_MAX, Delivery, TransferId
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import Hash, NodeId, OwnerId
from hypermesh.wire.keys import PublicKeys, QuantumSignature
from hypermesh.wire.transfer import Offer

ARRIVING = ".arriving"
ARRIVING_MAX = 64
"""Files that have not arrived yet, given up ones included; the oldest of those are dropped."""
ARRIVING_LIFETIME_S = 7 * 24 * 3600
CHUNKS_KEPT_MAX = 4_000_000
"""In the index, some 250 GiB of files; beyond, those of the oldest are forgotten."""
FILES_KEPT_MAX = 100_000
"""Of which it is known what they are; beyond, the oldest are forgotten, and stay where they are."""
SPARE_BYTES = 64 << 20
"""What the disk shall still have when a file has arrived."""
NAMES_TRIED = 1_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, transfer BLOB, owner BLOB NOT NULL,
    state TEXT NOT NULL, name TEXT NOT NULL, record BLOB
);
CREATE UNIQUE INDEX IF NOT EXISTS files_by_transfer ON files (transfer) WHERE transfer NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS files_arriving ON files (key) WHERE state = 'arriving';
CREATE TABLE IF NOT EXISTS chunks (
    prefix INTEGER NOT NULL, file INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (prefix, file, at)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunks_by_file ON chunks (file);
"""


class Arrived(msgspec.Struct, frozen=True):
    """A file that is here: what it is called here, what was signed of it, and by whom. Until the
    sender has signed as well, `sender_signature` is None."""

    name: str
    owner: OwnerId
    delivery: Delivery
    sender: PublicKeys
    receiver: PublicKeys
    receiver_signature: QuantumSignature
    sender_signature: QuantumSignature | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that is arriving, open for writing. `held` bytes are left of an earlier attempt."""

    number: int
    key: str
    path: Path
    descriptor: int
    held: int
    owner: OwnerId


class Store:
    """The files of one inbox. Safe to use from any thread of one process."""

    def __init__(self, directory: Path) -> None:
        """Raises `InboxDamaged`."""
        self.directory = directory
        self._arriving = directory / ARRIVING
        file = self._arriving / "index.sqlite"
        try:
            make_directory(directory, 0o700)
            make_directory(self._arriving, 0o700)
            self._database = opened(file, _SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise InboxDamaged(
                f"{file} cannot be used",
                why=str(error),
                fix="Make room on its disk; if it is damaged, remove it: the files stay",
            ) from error
        self._lock = threading.RLock()
        self._active: set[str] = set()
        self._chunks = self._query("SELECT count(*) FROM chunks")[0][0]
        self._finish_published()
        self._drop_given_up(time.time())

    def close(self) -> None:
        with self._lock:
            self._database.close()

    # Arriving

    @contextmanager
    def arriving(self, sender: NodeId, owner: OwnerId, offer: Offer) -> Iterator[Arrival]:
        """The place of an offered file, with what an earlier attempt left of the same file. Raises
        `AlreadyComing`, `NoSpace`, `FileFailed`."""
        key = digest_of(
            "transfer/arriving", [sender, offer.name, offer.size, offer.modified_ns]
        ).hex()[:32]
        with self._lock:
            if key in self._active:
                raise AlreadyComing(f"{offer.name} is arriving already")
            self._active.add(key)
        try:
            self._drop_given_up(time.time())
            path = self._arriving / key
            with _named_failures(path):
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                descriptor = os.open(path, flags, 0o600)
            try:
                found = os.fstat(descriptor)
                self._check_room(offer, found.st_blocks * 512)
                os.utime(descriptor)
                number = self._number(key, owner, offer.name)
                yield Arrival(number, key, path, descriptor, found.st_size, owner)
            finally:
                os.close(descriptor)
        finally:
            with self._lock:
                self._active.discard(key)

    def find(self, owner: OwnerId, digests: Sequence[Hash]) -> dict[Hash, list[tuple[Path, int]]]:
        """Where chunks may be, in files that came from nodes of `owner`: paths and offsets. So no
        sender learns by asking what another one has sent."""
        prefixes = {_prefix(digest): digest for digest in digests}
        marks = ", ".join("?" * len(prefixes))
        rows = self._query(
            "SELECT prefix, at, key, state, name FROM chunks JOIN files ON file = number "  # noqa: S608
            f"WHERE prefix IN ({marks}) AND owner = ? ORDER BY number DESC",
            *prefixes,
            owner,
        )
        found: dict[Hash, list[tuple[Path, int]]] = {}
        for prefix, at, key, state, name in rows:
            path = self.directory / name if state == "here" else self._arriving / key
            found.setdefault(prefixes[prefix], []).append((path, at))
        return found

    def note(self, arrival: Arrival, chunks: Sequence[Chunk]) -> None:
        """These chunks are in a file now."""
        with self._transaction(durable=False):
            before = self._database.total_changes
            rows = [(_prefix(chunk.digest), arrival.number, chunk.offset) for chunk in chunks]
            try:
                self._database.executemany("INSERT OR IGNORE INTO chunks VALUES (?, ?, ?)", rows)
            except sqlite3.Error as error:
                raise InboxDamaged(why=str(error)) from error
            self._chunks += self._database.total_changes - before
            self._forget_old_chunks(arrival.number)

    def publish(self, arrival: Arrival, arrived: Arrived) -> Arrived:
        """Show a file that is whole and durable, under a name that was free. When this returns, it
        and what is said of it are durable."""
        with self._lock:
            for name in _names(arrived.name):
                shown = msgspec.structs.replace(arrived, name=name)
                if os.path.lexists(self.directory / name):
                    continue
                with self._transaction(durable=True):
                    self._put(arrival.number, "publishing", shown)
                try:
                    with _named_failures(self.directory / name):
                        publish(arrival.path, self.directory / name)
                except FileExistsError:
                    continue
                with self._transaction(durable=True):
                    self._put(arrival.number, "here", shown)
                    self._forget_old_files()
                return shown
        raise FileFailed(f"There are {NAMES_TRIED} files like {arrived.name} in the inbox")

    def countersign(self, transfer: TransferId, signature: QuantumSignature) -> Arrived:
        """Keep the sender's signature, durably."""
        with self._lock:
            number, found = self._found(transfer)
            signed = msgspec.structs.replace(found, sender_signature=signature)
            with self._transaction(durable=True):
                self._put(number, "here", signed)
        return signed

    # What is here

    def arrived(self, transfer: TransferId) -> Arrived | None:
        """The file that came by this transfer."""
        with self._lock:
            try:
                return self._found(transfer)[1]
            except KeyError:
                return None

    def newest(self, before: int, limit: int) -> list[tuple[int, Arrived]]:
        """Files from the newest on, each with its number, of those below `before`."""
        rows = self._query(
            "SELECT number, record FROM files WHERE state = 'here' AND number < ? "
            "ORDER BY number DESC LIMIT ?",
            before,
            limit,
        )
        return [(number, msgspec.msgpack.decode(record, type=Arrived)) for number, record in rows]

    def bytes_of(self, owner: OwnerId) -> int:
        """Of what came from nodes of `owner`, how many bytes are still here."""
        rows = self._query("SELECT key, state, name FROM files WHERE owner = ?", owner)
        held = 0
        for key, state, name in rows:
            path = self.directory / name if state == "here" else self._arriving / key
            with contextlib.suppress(OSError):
                held += path.lstat().st_size
        return held

    # The parts

    def _found(self, transfer: TransferId) -> tuple[int, Arrived]:
        rows = self._query(
            "SELECT number, record FROM files WHERE transfer = ? AND state = 'here'", transfer
        )
        if not rows:
            raise KeyError(transfer)
        number, record = rows[0]
        return number, msgspec.msgpack.decode(record, type=Arrived)

    def _number(self, key: str, owner: OwnerId, name: str) -> int:
        with self._transaction(durable=False):
            rows = self._query("SELECT number FROM files WHERE key = ? AND state = 'arriving'", key)
            if rows:
                return int(rows[0][0])
            self._query(
                "INSERT INTO files (key, owner, state, name) VALUES (?, ?, 'arriving', ?)",
                key,
                owner,
                name,
            )
            return int(self._query("SELECT last_insert_rowid()")[0][0])

    def _put(self, number: int, state: str, arrived: Arrived) -> None:
        self._query(
            "UPDATE files SET state = ?, transfer = ?, name = ?, record = ? WHERE number = ?",
            state,
            arrived.delivery.transfer,
            arrived.name,
            msgspec.msgpack.encode(arrived),
            number,
        )

    def _check_room(self, offer: Offer, there: int) -> None:
        room = os.statvfs(self._arriving)
        free = room.f_bavail * room.f_frsize
        if offer.size - there > free - SPARE_BYTES:
            raise NoSpace(
                f"There is no room for {offer.name}", why=f"{offer.size} bytes, and {free} are free"
            )

    def _finish_published(self) -> None:
        """A process that was killed while it published a file had all of it, durably."""
        rows = self._query("SELECT number, key, record FROM files WHERE state = 'publishing'")
        for number, key, record in rows:
            arrived = msgspec.msgpack.decode(record, type=Arrived)
            fresh, path = self._arriving / key, self.directory / arrived.name
            if fresh.exists() and not (path.exists() and fresh.samefile(path)):
                self.publish(Arrival(number, key, fresh, -1, 0, arrived.owner), arrived)
            elif path.exists():
                fresh.unlink(missing_ok=True)
                with self._transaction(durable=True):
                    self._put(number, "here", arrived)
            else:
                self._forget(number)

    def _drop_given_up(self, now: float) -> None:
        """Remove what nobody completes, and what was left behind."""
        with self._lock:
            known: dict[str, int] = dict(
                self._query(
                    "SELECT key, number FROM files WHERE state = 'arriving' ORDER BY number DESC"
                )
            )
            keep = {*list(known)[: ARRIVING_MAX - 1], *self._active}
            for key, number in known.items():
                path = self._arriving / key
                with contextlib.suppress(FileNotFoundError):
                    old = now - path.stat().st_mtime > ARRIVING_LIFETIME_S
                    if key in self._active or (key in keep and not old):
                        continue
                    path.unlink()
                if key not in self._active:
                    self._forget(number)

    def _forget_old_chunks(self, but: int) -> None:
        while self._chunks > CHUNKS_KEPT_MAX:
            rows = self._query("SELECT min(file) FROM chunks WHERE file != ?", but)
            if rows[0][0] is None:
                return
            self._forget_chunks(rows[0][0])

    def _forget_old_files(self) -> None:
        while self._query("SELECT count(*) FROM files")[0][0] > FILES_KEPT_MAX:
            oldest = self._query("SELECT min(number) FROM files WHERE state = 'here'")[0][0]
            if oldest is None:
                return
            self._forget_chunks(oldest)
            self._query("DELETE FROM files WHERE number = ?", oldest)

    def _forget(self, number: int) -> None:
        with self._transaction(durable=False):
            self._forget_chunks(number)
            self._query("DELETE FROM files WHERE number = ?", number)

    def _forget_chunks(self, number: int) -> None:
        before = self._database.total_changes
        self._query("DELETE FROM chunks WHERE file = ?", number)
        self._chunks -= self._database.total_changes - before

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[None]:
        with self._lock:
            is_within_another = bool(self._database.in_transaction)
            if is_within_another:
                yield
                return
            self._query(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._query("BEGIN IMMEDIATE")
            try:
                yield
                self._query("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._query("ROLLBACK")
                raise

    def _query(self, statement: str, *values: object) -> list[Any]:
        try:
            with self._lock, closing(self._database.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise InboxDamaged(why=str(error)) from error


def checked_name(name: str) -> str:
    """`name`, where a file may have it here: one component, none that is hidden, none that would
    act on a terminal. Raises `InvalidInput`."""
    bad = not name or name.startswith(".") or "/" in name or not name.isprintable()
    if bad or len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        raise InvalidInput(
            f"{name[:80]!r} is no name for a file that is sent",
            why="it is hidden, has several parts, or characters that cannot be shown",
            fix="Rename it",
        )
    return name


def _names(name: str) -> Iterator[str]:
    """`name`, then the same with a number before its suffix."""
    yield name
    stem, dot, suffix = name.partition(".")
    for number in range(2, NAMES_TRIED):
        extra = f" ({number}){dot}{suffix}"
        room = NAME_BYTES_MAX - len(extra.encode())
        if room < 1:
            extra, room = f" ({number})", NAME_BYTES_MAX - len(f" ({number})")
        yield stem.encode()[:room].decode("utf-8", "ignore") + extra


def _prefix(digest: Hash) -> int:
    """What the index has of a digest."""
    return int.from_bytes(digest[:8], "big", signed=True)


@contextmanager
def _named_failures(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise FileFailed(f"{path} cannot be written", why=error.strerror or "") from error
