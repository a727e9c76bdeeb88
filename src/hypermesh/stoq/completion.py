"""From completed calls of the I/O thread to futures of an event loop.

Each loop has one eventfd and one list of results. The I/O thread rings the eventfd without taking
Python's lock; the loop then takes all results in one go. So a burst of answers costs one wake-up.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, final

from hypermesh import _native


@final
class Completions:
    """The calls of one event loop that are under way. Used on that loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.native = _native.StoqCompletions()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        loop.add_reader(self.native.fileno(), self._take)

    async def call(self, start: Callable[[_native.StoqCompletions], int]) -> Any:
        """The value of the call that `start` begins. Cancelling the task ends the call."""
        number = start(self.native)
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            return await future
        finally:
            if self._waiting.pop(number, None) is not None:
                self.native.cancel(number)

    async def count(self, start: Callable[[_native.StoqCompletions], int]) -> int:
        """The same for a call whose value is a number."""
        value: int = await self.call(start)
        return value

    def _take(self) -> None:
        for number, value, error in self.native.take():
            future = self._waiting.pop(number, None)
            if future is None or future.done():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Completions] = (
    weakref.WeakKeyDictionary()
)


def of_running_loop() -> Completions:
    """The completions of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _loops.get(loop)
    if found is None:
        found = _loops[loop] = Completions(loop)
    return found
