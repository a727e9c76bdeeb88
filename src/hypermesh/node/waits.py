"""Waiting, on behalf of another node, until this copy of the ledger has what that node has seen.

Whoever calls names the height it saw, and anybody may name any height. A wait holds one of the
threads that answer calls, so waits take up at most a part of them, one caller's a part of that, and
for a height far above this copy's nobody waits at all.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from hypermesh.ledger.feed import Feed
from hypermesh.wire.errors import Overloaded

AHEAD_MAX = 256
"""Blocks. A copy that follows is a few behind; one that catches up says so."""
SEEN_TIMEOUT_S = 10.0


class FarBehind(Overloaded):
    """The caller has seen blocks that this copy of the ledger will not have soon."""

    code = "HM-NODE-0037"
    title = "This node is far behind the caller on the ledger"


class Waits:
    """A bounded number of waits at one time, few of them of one caller. By any thread."""

    def __init__(self, at_once: int, of_one: int) -> None:
        self._at_once = at_once
        self._of_one = of_one
        self._waiting: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def one(self, caller: bytes) -> Iterator[None]:
        """A place to wait, for `caller`. Raises `Overloaded` where there is none."""
        with self._lock:
            if self._waiting[caller] >= self._of_one or self._waiting.total() >= self._at_once:
                raise Overloaded("Too many calls wait here for a block")
            self._waiting[caller] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting[caller] -= 1
                if not self._waiting[caller]:
                    del self._waiting[caller]

    def seen(self, feed: Feed, height: int, caller: bytes) -> None:
        """Return once `feed` has `height`, or has not come to it within `SEEN_TIMEOUT_S`. Raises
        `FarBehind`, `Overloaded`."""
        ahead = height - feed.height
        if ahead <= 0:
            return
        if ahead > AHEAD_MAX:
            raise FarBehind(why=f"it is at block {feed.height}, the caller at {height}")
        with self.one(caller):
            feed.wait(height, SEEN_TIMEOUT_S)
