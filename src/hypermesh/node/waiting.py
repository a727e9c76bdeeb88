"""Which of this node's threads may wait for others: all but the one of the event loop."""

from __future__ import annotations

import asyncio


class WouldWait(Exception):
    """What was begun on the event loop has to wait for another node; to be done in a thread."""


def refuse_on_event_loop() -> None:
    """Raise `WouldWait` where this thread runs an event loop. Called before waiting for another
    node, so that a read which turns out to need one can be begun again elsewhere."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WouldWait
