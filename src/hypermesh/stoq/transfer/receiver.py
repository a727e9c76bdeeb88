"""The receiving end of a transfer."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypermesh import _native
from hypermesh.crypto.keys import key_id
from hypermesh.stoq.delivery import DeliveryInvalid, prove, verify_signature
from hypermesh.stoq.errors import ChunkMismatch, StreamReset
from hypermesh.stoq.stream import Stream
from hypermesh.stoq.transfer.errors import ProtocolBroken
from hypermesh.stoq.transfer.frames import STALL_MS, Frames
from hypermesh.stoq.transfer.manifest import RECEIVE, REPEAT, Chunk, Steps, chunks, plan
from hypermesh.stoq.transfer.progress import Progress, Watcher, unwatched
from hypermesh.stoq.transfer.sender import BATCH_CHUNKS, Parties
from hypermesh.stoq.transfer.store import Arrival, Arrived, Store, checked_name
from hypermesh.wire.delivery import Delivery
from hypermesh.wire.errors import HyperMeshError, Unreachable
from hypermesh.wire.ids import Hash, OwnerId
from hypermesh.wire.transfer import (
    ENTRY_BYTES,
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

Policy = Callable[[OwnerId, Offer], None]
"""Raises where a file of this owner is not taken."""
Clock = Callable[[], int]
"""Milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class _Coming:
    """A page whose data have not come yet."""

    page: Page
    chunks: list[Chunk]
    steps: Steps


class Receiver:
    """Takes files into a store."""

    def __init__(self, store: Store, policy: Policy, now_ms: Clock) -> None:
        self._store = store
        self._policy = policy
        self._now_ms = now_ms

    def receive(
        self,
        stream: Stream,
        owner: OwnerId,
        parties: Parties,
        *,
        watcher: Watcher = unwatched,
        stall_ms: int = STALL_MS,
    ) -> Arrived:
        """Take what the peer, a node of `owner`, offers on `stream`. What fails here is said to the
        sender as well, and raised."""
        frames = Frames(stream, stall_ms=stall_ms)
        try:
            arrived = self._receive(frames, owner, parties, watcher)
        except HyperMeshError as error:
            if not isinstance(error, Unreachable | StreamReset):
                frames.fail(error)
            raise
        stream.finish(timeout_ms=stall_ms)
        return arrived

    def _receive(
        self, frames: Frames, owner: OwnerId, parties: Parties, watcher: Watcher
    ) -> Arrived:
        offer = frames.expect(Offer)
        if key_id(offer.keys) != parties.peer:
            raise DeliveryInvalid(why="the sender's keys are not those of its id")
        checked_name(offer.name)
        arrived = self._store.arrived(offer.transfer)
        if arrived is not None and not _is_of(arrived, offer, parties):
            raise ProtocolBroken(why="another file came by this transfer")
        if arrived is None:
            self._policy(owner, offer)
            arrived = self._arrive(frames, owner, offer, parties, watcher)
        frames.say(Delivered(arrived.delivery, arrived.receiver, arrived.receiver_signature))
        signature = frames.expect(Countersigned).signature
        verify_signature(offer.keys, arrived.delivery, signature)
        arrived = self._store.countersign(offer.transfer, signature)
        frames.say(Settled())
        return arrived

    def _arrive(
        self, frames: Frames, owner: OwnerId, offer: Offer, parties: Parties, watcher: Watcher
    ) -> Arrived:
        with self._store.arriving(parties.peer, owner, offer) as arrival:
            frames.say(Accepted(min(arrival.held, offer.size)))
            assembly = _native.ChunkAssembly(arrival.descriptor)
            root = _Assembling(self._store, frames, arrival, assembly, offer.size, watcher).run()
            assembly.settle()
            delivery = Delivery(
                genesis=parties.genesis,
                transfer=offer.transfer,
                sender=parties.peer,
                receiver=parties.keys.id,
                name=offer.name,
                size=offer.size,
                root=root,
                time_ms=self._now_ms(),
            )
            arrived = Arrived(
                name=offer.name,
                owner=owner,
                delivery=delivery,
                sender=offer.keys,
                receiver=parties.keys.public,
                receiver_signature=prove(parties.keys, delivery),
            )
            return self._store.publish(arrival, arrived)


class _Assembling:
    """One file, from its first page to its end."""

    def __init__(
        self,
        store: Store,
        frames: Frames,
        arrival: Arrival,
        assembly: _native.ChunkAssembly,
        size: int,
        watcher: Watcher,
    ) -> None:
        self._store = store
        self._frames = frames
        self._arrival = arrival
        self._assembly = assembly
        self._size = size
        self._watcher = watcher
        self._coming: deque[_Coming] = deque()
        self._pages = 0
        self._told = 0
        """Bytes of the file in the pages so far."""
        self._moved = 0

    def run(self) -> Hash:
        """The digest of the file, which is whole."""
        while not isinstance(message := self._frames.hear(), End):
            if isinstance(message, Page):
                self._answer(message)
            elif isinstance(message, Data):
                self._take(message)
            else:
                raise ProtocolBroken(why=f"{type(message).__name__} among the pages of a file")
        if self._coming or self._assembly.complete != self._size:
            raise ProtocolBroken(why="the file ends before its size")
        if self._assembly.root() != message.root:
            raise ChunkMismatch("The file is not the one that its digest announces")
        return message.root

    def _answer(self, page: Page) -> None:
        if page.number != self._pages or len(self._coming) >= PAGES_AHEAD_MAX:
            raise ProtocolBroken(why="a page out of turn")
        found = chunks(page, self._told, self._size)
        steps = plan(found, self._present(page, found), self._digests_coming())
        self._coming.append(_Coming(page, found, steps))
        self._pages += 1
        self._told = found[-1].offset + found[-1].length
        self._frames.say(Wants(page.number, steps.wanted))

    def _take(self, data: Data) -> None:
        if not self._coming or self._coming[0].page.number != data.number:
            raise ProtocolBroken(why="the data of a page out of turn")
        coming = self._coming[0]
        repeats = iter(coming.steps.repeats)
        for at in range(0, len(coming.chunks), BATCH_CHUNKS):
            part = coming.chunks[at : at + BATCH_CHUNKS]
            steps = coming.steps.steps[at : at + BATCH_CHUNKS]
            self._frames.stream.receive_chunks(
                self._assembly,
                coming.page.chunks[at * ENTRY_BYTES : (at + BATCH_CHUNKS) * ENTRY_BYTES],
                steps,
                [next(repeats) for step in steps if step == REPEAT],
                timeout_ms=self._frames.stall_ms,
            )
            self._moved += sum(
                chunk.length for chunk, step in zip(part, steps, strict=True) if step == RECEIVE
            )
            done = part[-1].offset + part[-1].length
            self._watcher(Progress(self._size, done, self._moved))
        self._coming.popleft()
        self._store.note(self._arrival, coming.chunks)

    def _digests_coming(self) -> dict[Hash, int]:
        return {chunk.digest: chunk.offset for each in self._coming for chunk in each.chunks}

    def _present(self, page: Page, found: list[Chunk]) -> set[int]:
        """The places of chunks that are in the file now: left of an earlier attempt, or copied from
        where the index says."""
        present: set[int] = set()
        if found[0].offset < self._arrival.held:
            holds = self._assembly.holds(page.chunks, found[0].offset)
            present = {place for place, is_there in enumerate(holds) if is_there}
        missing = [place for place in range(len(found)) if place not in present]
        if not missing:
            return present
        known = self._store.find(self._arrival.owner, [found[place].digest for place in missing])
        copies: dict[Path, list[tuple[int, int, int]]] = defaultdict(list)
        for place in missing:
            for path, at in known.get(found[place].digest, ())[:1]:
                copies[path].append((place, at, found[place].offset))
        for path, wanted in copies.items():
            present.update(self._copied(path, page, wanted))
        return present

    def _copied(self, path: Path, page: Page, wanted: list[tuple[int, int, int]]) -> list[int]:
        if path == self._arrival.path:
            # What it had there may have been overwritten since; `copy` verifies what it finds.
            return self._assembly.copy(self._arrival.descriptor, page.chunks, wanted)
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
            descriptor = os.open(path, flags)
        except OSError:
            return []
        try:
            return self._assembly.copy(descriptor, page.chunks, wanted)
        finally:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _is_of(arrived: Arrived, offer: Offer, parties: Parties) -> bool:
    said = arrived.delivery
    known = (said.sender, said.receiver, said.name, said.size)
    return known == (parties.peer, parties.keys.id, offer.name, offer.size)
