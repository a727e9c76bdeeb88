"""Why peers were turned away lately. Kept in memory alone."""

from __future__ import annotations

import threading
import time
from collections import deque

from hypermesh.wire.api.stoq import StoqRefusals
from hypermesh.wire.errors import HyperMeshError

REFUSALS_KEPT = 256
"""As many as the transport itself remembers for whoever asks."""


class Refusals:
    """The last refusals, by any thread."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, type[HyperMeshError]]] = deque(maxlen=REFUSALS_KEPT)
        self._lock = threading.Lock()

    def note(self, error: HyperMeshError) -> None:
        """A peer was refused for `error` just now."""
        with self._lock:
            self._last.append((time.time_ns() // 1_000_000, type(error)))

    def by_code(self) -> list[StoqRefusals]:
        """Those remembered, by their code; the most recent first."""
        with self._lock:
            newest = list(reversed(self._last))
        kinds = [kind for _, kind in newest]
        last_ms = {kind: at_ms for at_ms, kind in reversed(newest)}
        return [
            StoqRefusals(kind.code, kind.title, kinds.count(kind), last_ms[kind])
            for kind in dict.fromkeys(kinds)
        ]
