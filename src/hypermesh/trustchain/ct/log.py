"""The two logs of an authority: sequencing them, and what others read of them.

One thread sequences. It takes whatever waits, gives each submission its index, and writes both
logs' growth in one transaction; what arrives while the disk works is the next batch. A submitter
has its answer only after the commit, and even an SCT's signature is made only then: a process that
dies at any instant has signed nothing that is not stored. Indices, roots and checkpoints follow
from what is stored, so two checkpoints of one log are always consistent.

Where the disk is full, or a database away, the batch is refused and the next one tried. After any
other failure of the store it is open what the disk holds; the logs then stop for good and `failure`
says why.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.files import make_directory, settle
from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ct.checkpoint import (
    Checkpoint,
    LogIdentity,
    LogSigner,
    read_checkpoint,
)
from hypermesh.trustchain.ct.claim import claim
from hypermesh.trustchain.ct.entry import (
    LEAF_HEAD,
    Entry,
    Prepared,
    act_leaf,
    extensions,
    read_tile_leaves,
    timestamped,
)
from hypermesh.trustchain.ct.errors import (
    AnotherLog,
    EntryInvalid,
    LogBusy,
    LogDamaged,
    LogInUse,
    NotInLog,
    ProofInvalid,
)
from hypermesh.trustchain.ct.growing import Edge
from hypermesh.trustchain.ct.note import Line, Note, read_note, with_lines
from hypermesh.trustchain.ct.proof import Inclusion
from hypermesh.trustchain.ct.sct import DETERMINISTIC, Sct
from hypermesh.trustchain.ct.store import (
    ACTS,
    CERTIFICATES,
    Growth,
    Head,
    LogStore,
    NothingStored,
    SqliteLogStore,
)
from hypermesh.trustchain.ct.tiles import (
    WIDTH,
    Tile,
    consistency,
    inclusion,
    read_tile_path,
    root_at,
    tile_path,
    width_of,
)
from hypermesh.trustchain.ct.tree import HASH_BYTES, SIZE_MAX, leaf_hash
from hypermesh.trustchain.evidence import Act, LogUnavailable
from hypermesh.wire.ids import parse_hex

QUEUE_MAX: Final = 16_384
"""Submissions that wait at most; a further one is refused."""
QUEUE_BYTES_MAX: Final = 64 << 20
BATCH_MAX: Final = 2048
"""Submissions of one transaction; a single request may be as large."""
BATCH_BYTES_MAX: Final = 16 << 20
CHECKPOINT_INTERVAL_MS: Final = 500
"""A checkpoint serves that long before a grown log signs another, unless its reader asks for one
that is large enough."""
STOP_WAIT_S: Final = 30.0
DATABASE: Final = "logs.sqlite"
LOCK: Final = "logs.lock"
ISSUERS_KNOWN_MAX: Final = 4096

_ISSUER = "issuer/"
_LEAF_PREFIX = b"\x00" + LEAF_HEAD
_sha256 = hashlib.sha256


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a submission stands. `leaf` is the MerkleTreeLeaf, which is what its SCT signs."""

    index: int
    timestamp_ms: int
    leaf: bytes


class Request:
    """Submissions that wait together for one commit. `done` is released with the answer."""

    __slots__ = ("acts", "bytes", "certificates", "done", "error", "indices", "placed", "taken")

    def __init__(self, certificates: Sequence[Prepared], acts: Sequence[Act]) -> None:
        self.certificates = certificates
        self.acts = acts
        self.bytes = sum(len(each.signed) + len(each.tail) for each in certificates)
        self.bytes += sum(len(act.document) for act in acts)
        self.done = threading.Lock()
        self.done.acquire()
        self.taken = False
        self.error: Exception | None = None
        self.placed: list[Placed] = []
        self.indices: list[int] = []

    @property
    def count(self) -> int:
        return len(self.certificates) + len(self.acts)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class TransparencyLogs:
    """The log of certificates and the log of acts, in `directory`, open in this process alone.

    `origin` is a schema-less URL; the logs' own origins are it with `/certificates` and `/acts`.
    Keys that are not in `keys` yet are made, under names that begin with `secrets_prefix`. With
    `ended` (the reason) they are only read: a copy restored from a backup must not go on, for it
    may have forgotten what it signed. Raises `LogInUse`, `AnotherLog`, `LogDamaged`,
    `LogUnavailable`, and what `KeyStore.get` does.
    """

    def __init__(
        self,
        directory: Path,
        keys: KeyStore,
        origin: str,
        *,
        ended: str | None = None,
        secrets_prefix: str = "ct",
        clock_ms: Callable[[], int] = _now_ms,
        store: Callable[[Path], LogStore] = SqliteLogStore,
    ) -> None:
        signers = {
            CERTIFICATES: _signer(keys, secrets_prefix, f"{origin}/certificates", with_p256=True),
            ACTS: _signer(keys, secrets_prefix, f"{origin}/acts", with_p256=False),
        }
        self._claim: int | None = None
        self._opened: LogStore | None = None
        try:
            make_directory(directory, 0o700)
            self._claim = claim(directory / LOCK, LogInUse.title)
            settle(directory)
            self._store = self._opened = store(directory / DATABASE)
            self._adopt(signers)
            self.certificates = CertificateView(
                CERTIFICATES, self._store, signers[CERTIFICATES], clock_ms
            )
            self.acts = LogView(ACTS, self._store, signers[ACTS], clock_ms)
            self._views: dict[int, LogView] = {CERTIFICATES: self.certificates, ACTS: self.acts}
            self._edges = {log: view.read_edge() for log, view in self._views.items()}
        except (OSError, sqlite3.OperationalError, NothingStored) as error:
            self._release()
            raise LogUnavailable(f"{directory} cannot be opened", why=str(error)) from error
        except sqlite3.DatabaseError as error:
            self._release()
            raise LogDamaged(why=f"{directory}: {error}") from error
        except BaseException:
            self._release()
            raise
        self._clock_ms = clock_ms
        self._issuers: set[bytes] = set()
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[Request] = deque()
        self._waiting = 0
        self._waiting_bytes = 0
        self._idle = False
        self._closing = False
        self._failure: LogUnavailable | None = None
        if ended is not None:
            self._failure = LogUnavailable(
                "The transparency log takes no entries",
                why=ended,
                fix="Begin a log under another origin; this one stays readable",
            )
        self._thread = threading.Thread(target=self._run, name="transparency-logs", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> LogUnavailable | None:
        """Why the logs stopped for good; None while they take submissions."""
        return self._failure

    @property
    def waiting(self) -> int:
        """Submissions that wait to be sequenced."""
        return self._waiting

    def close(self) -> None:
        """Sequence what waits, and give the logs up."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(STOP_WAIT_S)
        if self._thread.is_alive():
            # The disk does not answer. The claim stays with this process.
            return
        self._release()

    def submit(self, request: Request, wait_s: float) -> None:
        """Have `request` sequenced; durable when this returns.

        Raises `LogBusy` where the queue is full, `LogUnavailable` where the logs cannot take it. If
        the disk does not answer within `wait_s` either, the error says that it may have been taken.
        """
        if request.count > BATCH_MAX or request.bytes > BATCH_BYTES_MAX:
            raise EntryInvalid(
                f"{request.count} submissions of {request.bytes} bytes are too many at once",
                why=f"at most {BATCH_MAX}, and {BATCH_BYTES_MAX} bytes",
            )
        with self._changed:
            self._require_open()
            if (
                self._waiting + request.count > QUEUE_MAX
                or self._waiting_bytes + request.bytes > QUEUE_BYTES_MAX
            ):
                raise LogBusy(why=f"{self._waiting} submissions wait")
            self._queue.append(request)
            self._waiting += request.count
            self._waiting_bytes += request.bytes
            if self._idle:
                self._changed.notify()
        if not request.done.acquire(timeout=wait_s):
            self._withdraw(request, wait_s)
        if request.error is not None:
            # Each submitter raises its own: a traceback belongs to one thread.
            raise LogUnavailable(why=str(request.error)) from request.error

    def _withdraw(self, request: Request, wait_s: float) -> None:
        with self._changed:
            if not request.taken:
                self._queue.remove(request)
                self._waiting -= request.count
                self._waiting_bytes -= request.bytes
                raise LogUnavailable(
                    f"The transparency log took nothing within {wait_s:g} s; nothing was recorded"
                )
        if not request.done.acquire(timeout=wait_s):
            raise LogUnavailable(
                f"The transparency log did not answer within {2 * wait_s:g} s",
                why="the disk is slow; what was submitted may still be recorded",
                fix="Try again: a certificate is recorded once, an act perhaps twice",
            )

    def _require_open(self) -> None:
        if self._failure is not None:
            failure = self._failure
            raise LogUnavailable(failure.what, why=failure.why, fix=failure.fix) from failure
        if self._closing:
            raise LogUnavailable("The transparency log is closed")

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._sequence(batch)
            except NothingStored as error:
                self._answer(batch, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the store is in doubt
                self._stop(error, batch)
                return
            else:
                self._answer(batch, None)

    def _next_batch(self) -> list[Request]:
        with self._changed:
            while not self._queue and not self._closing:
                self._idle = True
                self._changed.wait()
            self._idle = False
            batch: list[Request] = []
            count = size = 0
            while self._queue:
                request = self._queue[0]
                count += request.count
                size += request.bytes
                if batch and (count > BATCH_MAX or size > BATCH_BYTES_MAX):
                    break
                request.taken = True
                batch.append(self._queue.popleft())
                self._waiting -= request.count
                self._waiting_bytes -= request.bytes
            return batch

    def _answer(self, batch: Sequence[Request], error: Exception | None) -> None:
        for request in batch:
            request.error = error
            request.done.release()

    def _stop(self, error: Exception, batch: Sequence[Request]) -> None:
        with self._changed:
            self._failure = LogUnavailable(
                "The transparency log has stopped",
                why=f"its store failed: {type(error).__name__}: {error}",
                fix="Repair the disk, then start this program again",
            )
            self._failure.__cause__ = error
            left = [*batch, *self._queue]
            for request in left:
                request.taken = True
            self._queue.clear()
            self._waiting = self._waiting_bytes = 0
        self._answer(left, self._failure)

    def _sequence(self, batch: Sequence[Request]) -> None:
        now_ms = self._clock_ms()
        growths = []
        edges = dict(self._edges)
        grown = self._grow_certificates(batch, now_ms)
        if grown is not None:
            growths.append(grown)
        grown = self._grow_acts(batch, now_ms)
        if grown is not None:
            growths.append(grown)
        for growth in growths:
            edge, growth.tiles = edges[growth.log].grown(growth.leaves)
            edges[growth.log] = edge
            growth.head = Head(edge.size, edge.root(), growth.head.timestamp_ms)
        if growths:
            self._store.append(growths)
        self._edges = edges
        for growth in growths:
            self._views[growth.log].head = growth.head
            self._know(growth.issuers)

    def _grow_certificates(self, batch: Sequence[Request], now_ms: int) -> Growth | None:
        asked = [each.identity for request in batch for each in request.certificates]
        if not asked:
            return None
        head = self._views[CERTIFICATES].head
        timestamp_ms = max(now_ms, head.timestamp_ms)
        places = self._store.placed(asked)
        growth = Growth(CERTIFICATES, Head(timestamp_ms=timestamp_ms), [], [], [])
        index = head.size
        for request in batch:
            answers = []
            for each in request.certificates:
                place = places.get(each.identity)
                if place is None:
                    if index >= SIZE_MAX:
                        raise LogDamaged("The log is full: no index is left")
                    place = places[each.identity] = (index, timestamp_ms)
                    entry = timestamped(timestamp_ms, each.signed, index)
                    growth.entries.append(entry + each.tail)
                    growth.leaves.append(_sha256(_LEAF_PREFIX + entry).digest())
                    growth.identities.append(each.identity)
                    for issuer in each.issuers:
                        if issuer[0] not in self._issuers:
                            growth.issuers.append(issuer)
                    index += 1
                else:
                    entry = timestamped(place[1], each.signed, place[0])
                answers.append(Placed(*place, LEAF_HEAD + entry))
            request.placed = answers
        return growth if growth.entries else None

    def _grow_acts(self, batch: Sequence[Request], now_ms: int) -> Growth | None:
        head = self._views[ACTS].head
        timestamp_ms = max(now_ms, head.timestamp_ms)
        growth = Growth(ACTS, Head(timestamp_ms=timestamp_ms), [], [], [])
        index = head.size
        for request in batch:
            request.indices = list(range(index, index + len(request.acts)))
            for act in request.acts:
                leaf = act_leaf(act, index, timestamp_ms)
                growth.entries.append(leaf)
                growth.leaves.append(leaf_hash(leaf))
                index += 1
        return growth if growth.entries else None

    def _know(self, issuers: Sequence[tuple[bytes, bytes]]) -> None:
        if len(self._issuers) > ISSUERS_KNOWN_MAX:
            self._issuers.clear()
        self._issuers.update(fingerprint for fingerprint, _ in issuers)

    def _adopt(self, signers: dict[int, LogSigner]) -> None:
        wanted = {log: signer.identity.fingerprint for log, signer in signers.items()}
        if self._store.adopt(wanted) != wanted:
            raise AnotherLog(
                why="the stored logs have another origin, or were begun with other keys",
                fix="Open them with the key store and origin that they were begun with",
            )

    def _release(self) -> None:
        if self._opened is not None:
            self._opened.close()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None


class LogView:
    """One log for its readers, from any thread. All of it is committed and durable. It is a
    `watch.LogSource`."""

    entries_name = "entries"

    def __init__(
        self, log: int, store: LogStore, signer: LogSigner, clock_ms: Callable[[], int]
    ) -> None:
        self.log = log
        self.store = store
        self.identity: LogIdentity = signer.identity
        self._signer = signer
        self._clock_ms = clock_ms
        self._signing = threading.Lock()
        self.head: Head = store.head(log)
        """Replaced as a whole, after each commit."""
        self._published: tuple[Checkpoint, Note, int] | None = None
        """The last checkpoint shown, as a note, and when it was signed."""

    def read_edge(self) -> Edge:
        """The right edge as stored; raises `LogDamaged` unless everything that says how the log
        stands agrees."""
        head = self.head
        if not self._is_counted():
            raise LogDamaged(why=f"{self.identity.origin} lacks entries")
        try:
            edge = Edge.read(self.hashes, head.size)
            if edge.root() != head.root:
                raise LogDamaged(why=f"the tiles of {self.identity.origin} have another root")
            self._recall()
        except (NotInLog, EntryInvalid, ProofInvalid) as error:
            raise LogDamaged(why=str(error)) from error
        return edge

    def hashes(self, level: int, index: int, width: int) -> bytes:
        """The first `width` hashes of a tile (a `tiles.ReadTile`); raises `NotInLog`."""
        hashes = (self.store.hashes(self.log, level, index) or b"")[: width * HASH_BYTES]
        if len(hashes) != width * HASH_BYTES:
            raise NotInLog(f"The log has no {width} hashes in tile {index} of level {level}")
        return hashes

    def checkpoint(self, at_least: int = 0) -> bytes:
        """A checkpoint of at least `at_least` entries as a signed note, with the cosignatures that
        it has. Raises `NotInLog` where the log is smaller, `LogUnavailable` where the disk is
        full: what is shown is stored first, so that a log that lost entries is found out."""
        with self._signing:
            head, known, now_ms = self.head, self._published, self._clock_ms()
            if head.size < at_least:
                raise NotInLog(f"The log has {head.size} entries, not {at_least}")
            if known is not None and known[0].size >= at_least:
                age_ms = now_ms - known[2]
                if known[0].size == head.size or 0 <= age_ms < CHECKPOINT_INTERVAL_MS:
                    return known[1].encoded()
            checkpoint = Checkpoint(self.identity.origin, head.size, head.root)
            note = self._signer.sign(checkpoint, max(now_ms, head.timestamp_ms))
            self._publish(checkpoint, note, now_ms)
            return note.encoded()

    def add_lines(self, size: int, lines: Sequence[Line]) -> None:
        """Put verified cosignatures under the checkpoint of `size`, if that is still the last."""
        with self._signing:
            if self._published is not None and self._published[0].size == size:
                checkpoint, note, signed_ms = self._published
                self._publish(checkpoint, with_lines(note, lines), signed_ms)

    def root(self, size: int) -> bytes:
        """The root of the first `size` entries; raises `NotInLog`."""
        self._require(size)
        return root_at(self.hashes, size)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that entry `index` is among the first `size`; raises `NotInLog`."""
        self._require(size)
        return inclusion(self.hashes, index, size)

    def prove(self, index: int) -> Inclusion:
        """The evidence that entry `index` is in the log, under a checkpoint that has it."""
        note = self.checkpoint(index + 1)
        size = read_checkpoint(read_note(note).text).size
        return Inclusion(index, self.inclusion(index, size), note)

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The proof that the first `first` entries begin the first `second`; raises `NotInLog`."""
        self._require(second)
        return consistency(self.hashes, first, second)

    def index_of(self, leaf: bytes) -> int:
        """The index of the leaf with the hash `leaf`; raises `NotInLog`."""
        index = self.store.index_of(self.log, leaf)
        if index is None or index >= self.head.size:
            raise NotInLog("The log has no leaf with this hash")
        return index

    def leaf(self, index: int) -> bytes:
        """The leaf at `index`; raises `NotInLog`."""
        return self.leaves(index, 1)[0]

    def leaves(self, first: int, count: int) -> list[bytes]:
        """Up to `count` leaves from `first` on; raises `NotInLog` where there is none."""
        found = self.stored(first, min(count, self.head.size - first))
        if not found:
            raise NotInLog(f"The log has {self.head.size} entries, and none at {first}")
        return found

    def stored(self, first: int, count: int) -> list[bytes]:
        """Entries as stored."""
        return self.store.entries(self.log, first, count) if first >= 0 and count > 0 else []

    def tile(self, tile: Tile) -> bytes:
        """A tile's bytes; raises `NotInLog` where the log is too small for it."""
        level = 0 if tile.level is None else tile.level
        width = width_of(level, tile.index, self.head.size)
        if not 0 < tile.width <= width or tile.index >= SIZE_MAX:
            raise NotInLog(f"The log has no {tile_path(tile, self.entries_name)} yet")
        if tile.level is None:
            return self.bundled(self.stored(tile.index * WIDTH, tile.width))
        return self.hashes(tile.level, tile.index, tile.width)

    def bundled(self, entries: Sequence[bytes]) -> bytes:
        """Entries as one tile of entries."""
        return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)

    def resource(self, path: str) -> bytes:
        """What the log serves under `path`, relative to its prefix (`checkpoint`, `tile/...`)."""
        if path == "checkpoint":
            return self.checkpoint()
        return self.tile(read_tile_path(path, self.entries_name))

    def _require(self, size: int) -> None:
        if not 0 <= size <= self.head.size:
            raise NotInLog(f"The log has {self.head.size} entries, not {size}")

    def _publish(self, checkpoint: Checkpoint, note: Note, signed_ms: int) -> None:
        try:
            self.store.publish(self.log, note.encoded())
        except (NothingStored, sqlite3.Error) as error:
            raise LogUnavailable(why=str(error)) from error
        self._published = (checkpoint, note, signed_ms)

    def _recall(self) -> None:
        """Take up the last checkpoint shown; raises `LogDamaged` where the log has gone back."""
        data = self.store.published(self.log)
        if data is None:
            return
        checkpoint = self.identity.opened(data)
        if checkpoint.size > self.head.size or checkpoint.root != self.root(checkpoint.size):
            raise LogDamaged(
                why=f"{self.identity.origin} showed a checkpoint of {checkpoint.size} entries that "
                f"its {self.head.size} entries do not lead to"
            )
        note = read_note(data)
        self._published = (read_checkpoint(note.text), note, 0)

    def _is_counted(self) -> bool:
        """Whether the last entry is where the head says, and none after it."""
        size = self.head.size
        return len(self.store.entries(self.log, max(0, size - 1), 2)) == min(size, 1)


class CertificateView(LogView):
    """The log of certificates (C2SP static-ct-api)."""

    entries_name = "data"

    def leaves(self, first: int, count: int) -> list[bytes]:
        return [entry.leaf for entry in self.entries(first, count)]

    def entries(self, first: int, count: int) -> list[Entry]:
        """Up to `count` entries from `first` on; raises `NotInLog` where there is none."""
        return list(read_tile_leaves(b"".join(super().leaves(first, count))))

    def entry(self, index: int) -> Entry:
        """The entry at `index`; raises `NotInLog`."""
        return self.entries(index, 1)[0]

    def bundled(self, entries: Sequence[bytes]) -> bytes:
        return b"".join(entries)

    def issuer(self, fingerprint: bytes) -> bytes:
        """The certificate (DER) with this SHA-256 that stands in some chain; raises `NotInLog`."""
        certificate = self.store.issuer(fingerprint)
        if certificate is None:
            raise NotInLog("The log knows no issuer with this fingerprint")
        return certificate

    def resource(self, path: str) -> bytes:
        if path.startswith(_ISSUER):
            return self.issuer(parse_hex(path.removeprefix(_ISSUER), HASH_BYTES, "fingerprint"))
        return super().resource(path)

    def sct(self, placed: Placed) -> Sct:
        """The SCT of an entry that is stored; the same again each time."""
        key = self._signer.p256
        assert key is not None  # noqa: S101 - a log of certificates has one
        signature = key.sign(placed.leaf, DETERMINISTIC)
        return Sct(self.identity.log_id, placed.timestamp_ms, extensions(placed.index), signature)


def _signer(keys: KeyStore, prefix: str, origin: str, *, with_p256: bool) -> LogSigner:
    """The keys of a log, made where they are not there yet."""
    name = f"{prefix}-{origin.rpartition('/')[2]}"
    ed25519 = Ed25519PrivateKey.from_private_bytes(
        _secret(keys, f"{name}-ed25519", lambda: Ed25519PrivateKey.generate().private_bytes_raw())
    )
    falcon = FalconKey.from_secret_bytes(
        _secret(keys, f"{name}-falcon", lambda: FalconKey.generate().secret_bytes())
    )
    p256 = None
    if with_p256:
        loaded = load_der_private_key(_secret(keys, f"{name}-p256", _fresh_p256), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise AnotherLog(f"The secret {name}-p256 is no P-256 key")
        p256 = loaded
    identity = LogIdentity(
        origin,
        ed25519.public_key().public_bytes_raw(),
        falcon.public,
        None if p256 is None else p256.public_key(),
    )
    return LogSigner(identity, ed25519, falcon, p256)


def _secret(keys: KeyStore, name: str, fresh: Callable[[], bytes]) -> bytes:
    if name not in keys:
        keys.put(name, fresh())
    return keys.get(name)


def _fresh_p256() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
