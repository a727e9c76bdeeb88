"""The event stream: one task that follows the ledger for everybody, and a reader for each client.

The task makes the frames of a block once and puts them into a ring that all readers share; a reader
holds no more than its place in it. So a slow client costs nothing and holds nobody up: when the
ring has gone past its place it is told to load afresh, and its stream ends. What a client missed
before it came is read from the ledger itself. Nothing runs while nobody reads.

All of it belongs to the event loop of the API, but for `tell`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType

from hypermesh.ledger.errors import Lagging, LedgerStopped
from hypermesh.ledger.feed import Commit, Subscription
from hypermesh.node.chain import Chain
from hypermesh.node.events import RETRY_MS, Frame, Place, Said, frame, frames
from hypermesh.node.trouble import Trouble
from hypermesh.wire.api.event import EventKind, LiveEvent, ResetEvent
from hypermesh.wire.errors import Overloaded
from hypermesh.wire.ids import OwnerId

READERS_MAX = 64
RING_BLOCKS_MAX = 256
RING_BYTES_MAX = 16 << 20
RESUME_BLOCKS_MAX = 4096
"""How far back a client may resume; farther, loading afresh is the shorter way."""
RESUME_PAGE = 32
LIVE_S = 1 / 3
HEARTBEAT_S = 15.0
INDEX_MAX = 999_999_999
"""An index past all events of a block: its place is the block's end."""
FRAMED_HERE_MAX = 64
"""Transactions of a block that is framed on the loop; a larger one would hold up other requests."""

log = logging.getLogger(__name__)


class TooManyReaders(Overloaded):
    """As many clients follow the events as may."""

    code = "HM-API-0030"
    title = "Too many clients follow the events of this node"
    remedy = "Close one of them, or try again in a moment"


class Events:
    """The event stream of a node."""

    def __init__(self, chain: Chain, owner: OwnerId, live: Callable[[], LiveEvent]) -> None:
        """`live` takes a look at the node; it may block and runs in a thread."""
        self._chain = chain
        self._owner = owner
        self._look = live
        self._ring: deque[list[Frame]] = deque()
        self._ring_bytes = 0
        self._next = 0
        """Number of the group that comes next; the ring holds those just below."""
        self._live: tuple[int, Frame] | None = None
        self._readers: set[Reader] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def open(self, kinds: frozenset[EventKind], since: Place | None) -> Reader:
        """A reader of `kinds`, from after `since` or else from now on. Its place is taken until it
        is left as a context manager. Raises `TooManyReaders`."""
        if len(self._readers) >= READERS_MAX:
            raise TooManyReaders(why=f"{READERS_MAX} do already")
        if not self._readers:
            self._begin()
        reader = Reader(self, kinds, since, self._next, self.end)
        self._readers.add(reader)
        return reader

    def tell(self, kind: EventKind, said: Said) -> None:
        """Say something that is on no ledger to whoever listens now. From any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop may close in between
                loop.call_soon_threadsafe(self._append, [frame(kind, said)])

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        self._wake()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def live(self) -> tuple[int, Frame] | None:
        """The newest look and its number."""
        return self._live

    def group(self, number: int) -> list[Frame] | None:
        """The group of that number; None where it is still to come. Raises `LookupError` for one
        that the ring has passed."""
        first = self._next - len(self._ring)
        if number < first:
            raise LookupError(number)
        return None if number >= self._next else self._ring[number - first]

    async def missed(self, since: Place, until: int) -> AsyncIterator[list[Frame]]:
        """The groups after `since` up to block `until`, from the ledger. Raises `LookupError`, with
        words for people, where they are not to be had."""
        if since.height > until:
            raise LookupError(f"the ledger of this node ends at block {until}")
        if until - since.height > RESUME_BLOCKS_MAX:
            raise LookupError(f"it was {until - since.height} blocks ago")
        height = max(1, since.height)
        while height <= until:
            page = min(until, height + RESUME_PAGE - 1)
            groups = await asyncio.to_thread(self._past, height, page)
            for group in groups:
                yield group
            if len(groups) < page - height + 1:
                raise LookupError(f"the events of block {height + len(groups)} are not kept")
            height = page + 1

    def leave(self, reader: Reader) -> None:
        """The reader's place is free."""
        self._readers.discard(reader)
        if not self._readers:
            for task in self._tasks:
                task.cancel()
            self._tasks.clear()

    def _past(self, first: int, last: int) -> list[list[Frame]]:
        return [
            frames(block, events, self._owner)
            for block, events in self._chain.ledger.happened(first, last)
        ]

    @property
    def end(self) -> Place:
        """Past the last event of the ledger."""
        return Place(self._chain.feed.height, INDEX_MAX)

    def _begin(self) -> None:
        """Follow the ledger from now on; what is in the ring may have a gap before it."""
        self._loop = asyncio.get_running_loop()
        self._forget()
        self._live = None
        self._tasks = [self._loop.create_task(self._look_again(), name="events-live")]
        with contextlib.suppress(LedgerStopped):
            commits = self._chain.feed.subscribe()
            self._tasks.append(self._loop.create_task(self._follow(commits), name="events"))

    def _forget(self) -> None:
        """Empty the ring, and let every reader know that it has missed something."""
        self._ring.clear()
        self._ring_bytes = 0
        self._next += 1

    async def _follow(self, commits: Subscription) -> None:
        trouble, cut = Trouble(log, "following the ledger for the event stream"), False
        try:
            while True:
                try:
                    if cut:
                        commits, cut = self._chain.feed.subscribe(), False
                    self._append(await self._framed(await commits.next_async()))
                except LedgerStopped:
                    return
                except Exception as error:  # noqa: BLE001
                    # Every reader is told that it has missed something, and loads afresh.
                    trouble.note(error)
                    cut = cut or isinstance(error, Lagging)
                    self._forget()
                    self._wake()
                    await asyncio.sleep(LIVE_S if cut else 0)
                else:
                    trouble.over()
        finally:
            commits.close()

    async def _framed(self, commit: Commit) -> list[Frame]:
        told = (commit.block, commit.events, self._owner)
        if len(commit.block.entries) > FRAMED_HERE_MAX:
            return await asyncio.to_thread(frames, *told)
        return frames(*told)

    async def _look_again(self) -> None:
        number, trouble = 0, Trouble(log, "looking at the node for its event stream")
        while True:
            if any(EventKind.LIVE in reader.kinds for reader in self._readers):
                try:
                    seen = await asyncio.to_thread(self._look)
                except LedgerStopped:
                    return
                except Exception as error:  # noqa: BLE001
                    trouble.note(error)
                else:
                    trouble.over()
                    number += 1
                    self._live = number, frame(EventKind.LIVE, seen)
                    self._wake()
            else:
                self._live = None
            await asyncio.sleep(LIVE_S)

    def _append(self, group: list[Frame]) -> None:
        self._ring.append(group)
        self._next += 1
        self._ring_bytes += _size(group)
        while len(self._ring) > 1 and (
            len(self._ring) > RING_BLOCKS_MAX or self._ring_bytes > RING_BYTES_MAX
        ):
            self._ring_bytes -= _size(self._ring.popleft())
        self._wake()

    def _wake(self) -> None:
        for reader in self._readers:
            reader.woken.set()


class Reader:
    """One client's way through the stream."""

    def __init__(
        self,
        events: Events,
        kinds: frozenset[EventKind],
        since: Place | None,
        number: int,
        end: Place,
    ) -> None:
        self.kinds = kinds
        self.woken = asyncio.Event()
        self._events = events
        self._since = since
        self._number = number
        self._end = end
        self._told = since or end
        self._live = 0

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._events.leave(self)

    async def texts(self) -> AsyncGenerator[bytes]:
        """What to send, for as long as the stream goes on."""
        yield b"retry: %d\n%b" % (RETRY_MS, self._heartbeat())
        if self._since is not None:
            async for text in self._resumed(self._since):
                yield text
        loop = asyncio.get_running_loop()
        due = loop.time() + HEARTBEAT_S
        while not self._events.closed:
            self.woken.clear()
            try:
                text = self._take() + self._look()
            except LookupError:
                self._told = self._events.end
                yield self._reset("this client does not keep up with the events")
                return
            if text:
                yield text
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self.woken.wait()
            if loop.time() >= due:
                yield self._heartbeat()
                due = loop.time() + HEARTBEAT_S

    async def _resumed(self, since: Place) -> AsyncIterator[bytes]:
        try:
            async for group in self._events.missed(since, self._end.height):
                if text := self._pick(group):
                    yield text
        except LookupError as error:
            self._told = self._end
            yield self._reset(f"what came after {since} cannot be sent: {error}")

    def _take(self) -> bytes:
        """What is next in the ring, empty when all is told."""
        while (group := self._events.group(self._number)) is not None:
            self._number += 1
            if text := self._pick(group):
                return text
        return b""

    def _look(self) -> bytes:
        live = self._events.live
        if live is None or live[0] == self._live or EventKind.LIVE not in self.kinds:
            return b""
        self._live = live[0]
        return live[1].text

    def _pick(self, group: list[Frame]) -> bytes:
        """Of a group, what this client has asked for and not been told."""
        new = [each for each in group if each.place is None or each.place > self._told]
        self._told = max([self._told, *(each.place for each in new if each.place is not None)])
        return b"".join(each.text for each in new if each.kind in self.kinds)

    def _heartbeat(self) -> bytes:
        """A comment, and how far the client is: after a break it need not go back to the last event
        of the kinds that it asked for (an id without data is no event, and is remembered)."""
        return b": here\nid: %b\n\n" % str(self._told).encode()

    def _reset(self, reason: str) -> bytes:
        return frame(EventKind.RESET, ResetEvent(reason, str(self._told)), self._told).text


def _size(group: list[Frame]) -> int:
    return sum(len(each.text) for each in group)
