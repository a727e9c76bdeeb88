"""The sending end of a transfer."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypermesh import _native
from hypermesh.crypto.digest import digest
from hypermesh.crypto.keys import QuantumKeys, key_id
from hypermesh.stoq.delivery import DeliveryInvalid, prove, verify_signature
from hypermesh.stoq.errors import ChunkMismatch, FileChanged, FileFailed, StreamReset
from hypermesh.stoq.stream import Stream
from hypermesh.stoq.transfer.errors import NotAFile, ProtocolBroken
from hypermesh.stoq.transfer.frames import STALL_MS, Frames
from hypermesh.stoq.transfer.progress import Progress, Watcher, unwatched
from hypermesh.wire.delivery import Delivery, DeliveryProof, TransferId
from hypermesh.wire.errors import HyperMeshError, Unreachable
from hypermesh.wire.ids import GenesisId, Hash, NodeId
from hypermesh.wire.transfer import (
    ENTRY_BYTES,
    PAGE_CHUNKS_MAX,
    PAGES_AHEAD_MAX,
    Accepted,
    Countersigned,
    Data,
    Delivered,
    End,
    Offer,
    Page,
    Settled,
    Wants,
)

BATCH_CHUNKS = 64
"""In one native call, some 4 MiB: after each the watcher is told."""
CLOCK_MS_MAX = 3_600_000
"""How far the receiver's clock may be ahead or behind."""
DURABLE_BYTES_PER_S = 10 << 20
"""The slowest disk that is waited for while it makes a file durable."""
REASON_MS = 2_000


@dataclass(frozen=True, slots=True)
class Parties:
    """Who sends to whom on which network. `keys` are this side's."""

    genesis: GenesisId
    keys: QuantumKeys
    peer: NodeId


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A page that the receiver has been told of."""

    number: int
    offset: int
    chunks: bytes


class Source:
    """A file that is open for sending, and what it was like then. Close it."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        """Raises `NotAFile`, `FileFailed`."""
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
            self.descriptor = os.open(path, flags)
        except OSError as error:
            raise FileFailed(f"{path} cannot be read", why=error.strerror or "") from error
        found = os.fstat(self.descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(self.descriptor)
            raise NotAFile(f"{path} is no regular file")
        self.name = name or path.name
        self._at_first = _traits(found)
        self.size, self.modified_ns, _ = self._at_first

    def check(self) -> None:
        """Raise `FileChanged` where the file is no longer what it was."""
        if _traits(os.fstat(self.descriptor)) != self._at_first:
            raise FileChanged(f"{self.name} changed while it was being sent")

    def close(self) -> None:
        os.close(self.descriptor)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _traits(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def cutting_key(genesis: GenesisId) -> Hash:
    """The key of the cuts (`crates/hm-chunk`): one for a network, so that all its nodes cut alike
    and share chunks, and nobody outside can tell a file by the sizes of its chunks."""
    return digest("transfer/cuts", genesis)


def file_root(path: Path) -> Hash:
    """BLAKE3 of a file. Raises `NotAFile`, `FileFailed`, `FileChanged`."""
    with Source(path) as source:
        # Where it would be cut does not matter.
        scanner = _native.ChunkScanner(source.descriptor, bytes(32))
        while scanner.page(PAGE_CHUNKS_MAX):
            pass
        root = scanner.root()
        source.check()
    if root is None:
        raise FileChanged(f"{path} changed while it was being read")
    return root


def send(
    stream: Stream,
    source: Source,
    transfer: TransferId,
    parties: Parties,
    *,
    since_ms: int,
    watcher: Watcher = unwatched,
    stall_ms: int = STALL_MS,
) -> DeliveryProof:
    """Send a file; the proof that the receiver has it, durably, under both signatures.

    `transfer` stays the same when this is tried again after a cut: then nothing arrives twice, and
    what has arrived is not sent again. `since_ms` is when the first attempt was. Raises what the
    receiver refuses with, `FileChanged`, `FileFailed`, and what cuts the stream.
    """
    frames = Frames(stream, stall_ms=stall_ms)
    try:
        with _reasons(frames):
            delivered = _deliver(frames, source, transfer, parties, watcher)
            _check(delivered, source, transfer, parties, since_ms)
            signature = prove(parties.keys, delivered.delivery)
            frames.say(Countersigned(signature))
            frames.expect(Settled)
    except ChunkMismatch:
        source.check()
        raise
    except HyperMeshError as error:
        if not isinstance(error, Unreachable | StreamReset):
            frames.fail(error)
        raise
    stream.finish(timeout_ms=stall_ms)
    return DeliveryProof(
        delivered.delivery, parties.keys.public, delivered.keys, signature, delivered.signature
    )


def _deliver(
    frames: Frames, source: Source, transfer: TransferId, parties: Parties, watcher: Watcher
) -> Delivered:
    frames.say(Offer(transfer, source.name, source.size, source.modified_ns, parties.keys.public))
    answer = frames.hear()
    if not isinstance(answer, Accepted | Delivered):
        raise ProtocolBroken(why=f"an offer is answered by {type(answer).__name__}")
    scanner = _native.ChunkScanner(source.descriptor, cutting_key(parties.genesis))
    if isinstance(answer, Delivered):
        # It arrived at an earlier attempt. What is to be signed is looked at all the same.
        while scanner.page(PAGE_CHUNKS_MAX):
            pass
        return _same(answer, scanner.root())
    # The next page is scanned while this one is sent.
    with ThreadPoolExecutor(1, thread_name_prefix="chunk-scan") as pool:
        done = moved = 0
        told: deque[_Outgoing] = deque()
        scanning = pool.submit(scanner.page, PAGE_CHUNKS_MAX)
        pages = scanned = 0
        while True:
            while len(told) < PAGES_AHEAD_MAX and (found := scanning.result()):
                scanning = pool.submit(scanner.page, PAGE_CHUNKS_MAX)
                frames.say(Page(pages, found))
                told.append(_Outgoing(pages, scanned, found))
                pages, scanned = pages + 1, scanned + _bytes_in(found)
            if not told:
                break
            page = told.popleft()
            wanted = _wanted(frames.expect(Wants), page)
            frames.say(Data(page.number))
            for offset, chunks, part in _batches(page, wanted):
                moved += frames.stream.send_chunks(
                    source.descriptor, chunks, part, offset, timeout_ms=frames.stall_ms
                )
                done = offset + _bytes_in(chunks)
                watcher(Progress(source.size, done, moved))
            source.check()
    root = scanner.root()
    if root is None or scanned != source.size:
        raise FileChanged(f"{source.name} changed while it was being sent")
    frames.say(End(root))
    patience_ms = frames.stall_ms + source.size * 1000 // DURABLE_BYTES_PER_S
    return _same(frames.expect(Delivered, within_ms=patience_ms), root)


def _same(delivered: Delivered, root: Hash | None) -> Delivered:
    if delivered.delivery.root != root:
        raise DeliveryInvalid(why="the receiver names another digest than the file has")
    return delivered


def _check(
    delivered: Delivered, source: Source, transfer: TransferId, parties: Parties, since_ms: int
) -> None:
    """Sign nothing that did not happen."""
    said = delivered.delivery
    expected = Delivery(
        genesis=parties.genesis,
        transfer=transfer,
        sender=parties.keys.id,
        receiver=parties.peer,
        name=source.name,
        size=source.size,
        root=said.root,
        time_ms=said.time_ms,
    )
    if said != expected:
        raise DeliveryInvalid(why="the receiver states another delivery than this one")
    if said.time_ms < since_ms - CLOCK_MS_MAX:
        raise DeliveryInvalid(why="the receiver states a time before it was sent")
    if key_id(delivered.keys) != parties.peer:
        raise DeliveryInvalid(why="the receiver's keys are not those of its id")
    verify_signature(delivered.keys, said, delivered.signature)


def _wanted(wants: Wants, page: _Outgoing) -> bytes:
    if wants.number != page.number or len(wants.wanted) * ENTRY_BYTES != len(page.chunks):
        raise ProtocolBroken(why="the receiver answers another list than it was sent")
    return wants.wanted


def _batches(page: _Outgoing, wanted: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(offset, chunks, wanted) of parts of a page."""
    offset = page.offset
    for at in range(0, len(wanted), BATCH_CHUNKS):
        chunks = page.chunks[at * ENTRY_BYTES : (at + BATCH_CHUNKS) * ENTRY_BYTES]
        yield offset, chunks, wanted[at : at + BATCH_CHUNKS]
        offset += _bytes_in(chunks)


def _bytes_in(chunks: bytes) -> int:
    return sum(
        int.from_bytes(chunks[at : at + 4], "big") for at in range(0, len(chunks), ENTRY_BYTES)
    )


@contextmanager
def _reasons(frames: Frames) -> Iterator[None]:
    """A receiver that fails says why and stops reading. Who writes meets the second first."""
    try:
        yield
    except StreamReset as reset:
        reason = _said(frames.hear)
        raise reason or reset from None


def _said(hear: Callable[..., object]) -> HyperMeshError | None:
    for _ in range(PAGES_AHEAD_MAX + 1):
        try:
            hear(within_ms=REASON_MS)
        except (Unreachable, StreamReset, ProtocolBroken):
            return None
        except HyperMeshError as error:
            return error
    return None
