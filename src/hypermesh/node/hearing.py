"""When other nodes last called this one."""

from __future__ import annotations

import threading
import time

from hypermesh.wire.ids import NodeId

CALLERS_MAX = 65_536


class Hearing:
    """The last call of each node, by any thread. Kept in memory alone."""

    def __init__(self) -> None:
        self._last: dict[NodeId, float] = {}
        self._lock = threading.Lock()

    def heard(self, node: NodeId) -> None:
        """`node` has called just now."""
        with self._lock:
            self._last.pop(node, None)
            if len(self._last) >= CALLERS_MAX:
                del self._last[next(iter(self._last))]
            self._last[node] = time.monotonic()

    def age_ms(self, node: NodeId) -> int | None:
        """How long ago `node` called; None where it has not since this process began."""
        last = self._last.get(node)
        return None if last is None else int((time.monotonic() - last) * 1000)
