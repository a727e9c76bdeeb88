"""What goes wrong in the threads that last as long as their node.

Such a thread ends when the node stops, and for nothing else: whatever goes wrong in one round, the
next one is tried. One that has ended all the same is named by `/readyz`.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable

from hypermesh.wire.errors import HyperMeshError

EXPECTED = (HyperMeshError, OSError, sqlite3.Error)
"""What the world does to a node; anything else is a mistake of its own."""


class Trouble:
    """The failures of one thread, each logged when it is another than the one before."""

    def __init__(self, log: logging.Logger, doing: str) -> None:
        self._log = log
        self._doing = doing
        self._said = ""

    def note(self, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"
        if said == self._said:
            return
        self._said = said
        if isinstance(error, EXPECTED):
            self._log.warning("%s failed, and is tried again: %s", self._doing, error)
        else:
            self._log.error("%s failed, and is tried again", self._doing, exc_info=error)

    def over(self) -> None:
        """It went well again."""
        self._said = ""


def state_of(threads: Iterable[threading.Thread]) -> str:
    """`ok`, or which of `threads` were started and have ended."""
    ended = [each.name for each in threads if each.ident is not None and not each.is_alive()]
    return f"ended: {', '.join(ended)}; the log says why" if ended else "ok"
