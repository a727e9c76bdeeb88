"""Committed blocks as they come, for whoever waits: followers, the event stream, the node itself.

The engine publishes after the commit and never waits for a subscriber: one that falls behind by
`SUBSCRIPTION_MAX` blocks loses its place and is told so.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

from hypermesh.ledger.errors import Lagging, LedgerStopped, QueueFull
from hypermesh.ledger.module import Event
from hypermesh.wire.block import Block
from hypermesh.wire.errors import HyperMeshError, Problem

SUBSCRIPTION_MAX = 256
"""Blocks that wait for one subscriber."""
SUBSCRIBERS_MAX = 256
WAITERS_MAX = 1024
"""Callers that wait for a height at one time."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A durable block, its encoding, and what is known of it besides: events, and refusals in words
    by index."""

    block: Block
    encoded: bytes
    events: tuple[Event, ...]
    problems: Mapping[int, Problem]


class Subscription:
    """The commits published since it was taken out. One reader at a time."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._lock = threading.Lock()
        self._waiting: deque[Commit] = deque()
        self._reader: Future[Commit] | None = None
        self._end: HyperMeshError | None = None

    def next(self, timeout_s: float) -> Commit | None:
        """The next commit, or None when `timeout_s` seconds passed without one.

        Raises `Lagging` or `LedgerStopped`.
        """
        asked = self._ask()
        try:
            return asked.result(timeout_s)
        except TimeoutError:
            return None if asked.cancel() else asked.result()

    async def next_async(self) -> Commit:
        """The next commit. Raises `Lagging` or `LedgerStopped`."""
        return await asyncio.wrap_future(self._ask())

    def close(self) -> None:
        """Take no more commits."""
        self._feed.drop(self)
        self.finish(LedgerStopped("The subscription is closed"))

    def _ask(self) -> Future[Commit]:
        asked: Future[Commit] = Future()
        with self._lock:
            if self._waiting:
                asked.set_result(self._waiting.popleft())
            elif self._end is not None:
                raise self._end
            else:
                self._reader = asked
        return asked

    def give(self, commit: Commit) -> bool:
        """The feed's side: whether the subscriber still keeps up."""
        with self._lock:
            reader, self._reader = self._reader, None
            if reader is not None and reader.set_running_or_notify_cancel():
                reader.set_result(commit)
                return True
            if len(self._waiting) >= SUBSCRIPTION_MAX:
                self._waiting.clear()
                self._end = Lagging()
                return False
            self._waiting.append(commit)
            return True

    def finish(self, end: HyperMeshError) -> None:
        """The feed's side: after what is waiting, `end` is all there is."""
        with self._lock:
            self._end = self._end or end
            reader, self._reader = self._reader, None
        if reader is not None and reader.set_running_or_notify_cancel():
            reader.set_exception(end)


class Feed:
    """Where an engine or a follower publishes its commits."""

    def __init__(self, height: int) -> None:
        self._lock = threading.Lock()
        self._height = height
        self._subscriptions: list[Subscription] = []
        self._waiters: list[tuple[int, Future[int]]] = []
        self._end: HyperMeshError | None = None

    @property
    def height(self) -> int:
        """The last height published."""
        return self._height

    def publish(self, commit: Commit) -> None:
        """Give `commit` to every subscriber and wake those who wait for its height."""
        with self._lock:
            self._height = commit.block.header.height
            subscriptions = list(self._subscriptions)
            due = [each for height, each in self._waiters if height <= self._height]
            self._waiters = [each for each in self._waiters if each[0] > self._height]
        for future in due:
            if future.set_running_or_notify_cancel():
                future.set_result(self._height)
        for subscription in subscriptions:
            if not subscription.give(commit):
                self.drop(subscription)

    def subscribe(self) -> Subscription:
        """Every commit from now on."""
        with self._lock:
            if self._end is not None:
                raise self._end
            if len(self._subscriptions) >= SUBSCRIBERS_MAX:
                raise QueueFull(why=f"there are {SUBSCRIBERS_MAX} subscribers already")
            subscription = Subscription(self)
            self._subscriptions.append(subscription)
        return subscription

    def wait(self, height: int, timeout_s: float) -> bool:
        """Whether `height` is reached within `timeout_s` seconds."""
        reached = self._reached(height)
        try:
            reached.result(timeout_s)
        except (TimeoutError, CancelledError):
            reached.cancel()
        return self._height >= height

    async def wait_async(self, height: int, timeout_s: float) -> bool:
        """Whether `height` is reached within `timeout_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(self._reached(height)), timeout_s)
        return self._height >= height

    def end_waits(self) -> None:
        """Those who wait for a height go on with what there is."""
        with self._lock:
            waiters, self._waiters = self._waiters, []
        for _, future in waiters:
            if future.set_running_or_notify_cancel():
                future.set_result(self._height)

    def close(self, end: HyperMeshError) -> None:
        """No commit follows: every waiting subscriber gets `end`."""
        with self._lock:
            self._end = end
            subscriptions, self._subscriptions = self._subscriptions, []
            waiters, self._waiters = self._waiters, []
        for subscription in subscriptions:
            subscription.finish(end)
        for _, future in waiters:
            if future.set_running_or_notify_cancel():
                future.set_exception(end)

    def _reached(self, height: int) -> Future[int]:
        future: Future[int] = Future()
        with self._lock:
            if self._height >= height:
                future.set_result(self._height)
                return future
            if self._end is not None:
                raise self._end
            self._waiters = [each for each in self._waiters if not each[1].cancelled()]
            if len(self._waiters) >= WAITERS_MAX:
                raise QueueFull(why=f"{WAITERS_MAX} callers wait for a block already")
            self._waiters.append((height, future))
        return future

    def drop(self, subscription: Subscription) -> None:
        """Publish to it no more."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
