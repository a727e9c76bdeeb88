"""Reads on the event loop itself.

A read of this node's own state takes some tens of microseconds. Handing it to a thread and back
costs several times that, and under load the threads fight for the interpreter. So reads run where
the request came in; those that turn out to need another node, or that took long the last time (a
large ledger), run in a thread.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from hypermesh.node.waiting import WouldWait

SLOW_S = 0.005
"""Of processor time. While a read takes longer than that, the event loop is spared it."""

P = ParamSpec("P")
T = TypeVar("T")


def prompt(read: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """`read`, which changes nothing, as a coroutine function for a route."""
    is_slow = False

    def timed(*arguments: P.args, **named: P.kwargs) -> T:
        nonlocal is_slow
        started = time.thread_time()
        try:
            return read(*arguments, **named)
        finally:
            is_slow = time.thread_time() - started > SLOW_S

    @functools.wraps(read)
    async def answer(*arguments: P.args, **named: P.kwargs) -> T:
        if not is_slow:
            try:
                return timed(*arguments, **named)
            except WouldWait:
                pass
        return await asyncio.to_thread(timed, *arguments, **named)

    return answer
