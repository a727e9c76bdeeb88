"""Requests that are answered together: those that come while others are worked on go next, as one.

A thread for each would contend with the others for the interpreter's lock; one thread for all of
them takes it once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from hypermesh.standalone.trust.call import Answer, Call

TOGETHER_MAX = 64
"""Requests in one call."""
WORKERS = 2
"""Calls under way: one computes while the other waits for the disk."""

Outcome = Answer | Exception
AnswerAll = Callable[[Sequence[Call]], Sequence[Outcome]]
"""Gives each request its answer, or why it has none, in their order."""


class Together:
    """The requests of one route, in one event loop. How many wait is the server's to bound
    (`hypermesh.http.protocol.UNDER_WAY_MAX`)."""

    def __init__(self, answer_all: AnswerAll, pool: ThreadPoolExecutor) -> None:
        self._answer_all = answer_all
        self._pool = pool
        self._waiting: deque[tuple[Call, asyncio.Future[Answer]]] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    async def answer(self, call: Call) -> Answer:
        """The answer of `call`, made with those of others. Raises what stands in its place."""
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, done))
        if len(self._workers) < WORKERS:
            task = asyncio.create_task(self._work(), name="together")
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)
        return await done

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            count = min(len(self._waiting), TOGETHER_MAX)
            taken = [self._waiting.popleft() for _ in range(count)]
            calls = [call for call, _ in taken]
            outcomes: Sequence[Outcome]
            try:
                outcomes = await loop.run_in_executor(self._pool, self._answer_all, calls)
            except Exception as error:  # noqa: BLE001 (each who waits is told)
                outcomes = [error] * count
            for (_, done), outcome in zip(taken, outcomes, strict=True):
                # One who went away waits no more.
                with contextlib.suppress(asyncio.InvalidStateError):
                    if isinstance(outcome, Exception):
                        done.set_exception(outcome)
                    else:
                        done.set_result(outcome)
