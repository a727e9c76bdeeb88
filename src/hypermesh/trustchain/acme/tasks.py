"""The end of background tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 0.5


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` and wait until they are over."""
    left = {each for each in tasks if not each.done()}
    while left:
        for each in left:
            each.cancel()
        # More than once: a cancellation that comes at the instant of an answer can be lost on the
        # way through what a task waits for (`asyncio.wait_for` of Python 3.11 does so).
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
