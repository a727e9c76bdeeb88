"""Reads on the event loop: spared those that would wait, and those that take long."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from hypermesh.node.api.prompt import SLOW_S, prompt
from hypermesh.node.waiting import WouldWait, refuse_on_event_loop
from hypermesh.wire.errors import NotFound


def test_a_read_runs_where_the_request_came_in() -> None:
    @prompt
    def read(word: str) -> tuple[str, int]:
        return word, threading.get_ident()

    assert asyncio.run(read("x")) == ("x", threading.get_ident())  # type: ignore[arg-type]


def test_one_that_has_to_wait_is_begun_again_in_a_thread() -> None:
    begun: list[int] = []

    @prompt
    def read() -> int:
        begun.append(threading.get_ident())
        refuse_on_event_loop()
        return threading.get_ident()

    here = threading.get_ident()
    assert asyncio.run(read()) == begun[1] != here  # type: ignore[arg-type]
    assert begun[0] == here
    with pytest.raises(WouldWait):
        asyncio.run(_refusing())
    refuse_on_event_loop()


async def _refusing() -> None:
    refuse_on_event_loop()


def test_while_it_takes_long_it_runs_in_a_thread() -> None:
    busy_s = 2 * SLOW_S

    @prompt
    def read() -> int:
        end = time.thread_time() + busy_s
        while time.thread_time() < end:
            pass
        return threading.get_ident()

    async def scenario() -> list[bool]:
        nonlocal busy_s
        here = threading.get_ident()
        found = [await read() == here, await read() == here]
        busy_s = 0
        return [*found, await read() == here, await read() == here]

    assert asyncio.run(scenario()) == [True, False, False, True]


def test_refusals_pass() -> None:
    @prompt
    def read() -> None:
        raise NotFound("none")

    with pytest.raises(NotFound):
        asyncio.run(read())  # type: ignore[arg-type]
