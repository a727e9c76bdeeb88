"""Block time: where it starts and how it goes on."""

from __future__ import annotations

import pytest

from hypermesh.ledger.blocktime import JUMP_MS_MAX, BlockClock, elapsed_ns, starting_time_ms
from hypermesh.ledger.errors import ClockJumped

from .toys import START_MS, Ticking


@pytest.mark.parametrize(
    ("jump_ms", "start_ms"),
    [
        (0, 0),
        (1, 1),
        (JUMP_MS_MAX, JUMP_MS_MAX),
        (-1, 0),
        (-JUMP_MS_MAX, 0),
    ],
)
def test_within_a_day_time_starts_from_the_later_of_both(jump_ms: int, start_ms: int) -> None:
    assert starting_time_ms(START_MS, START_MS + jump_ms) == START_MS + start_ms


@pytest.mark.parametrize("jump_ms", [JUMP_MS_MAX + 1, -JUMP_MS_MAX - 1, 10**16])
def test_a_jump_of_more_than_a_day_waits_for_the_operator(jump_ms: int) -> None:
    with pytest.raises(ClockJumped, match="24 hours") as refused:
        starting_time_ms(START_MS, START_MS + jump_ms)
    assert "--clock-is-right" in refused.value.fix


def test_the_operator_confirms_the_time_to_a_day() -> None:
    wall_ms = START_MS + 30 * JUMP_MS_MAX
    assert starting_time_ms(START_MS, wall_ms, wall_ms - JUMP_MS_MAX) == wall_ms
    with pytest.raises(ClockJumped):
        starting_time_ms(START_MS, wall_ms, wall_ms - JUMP_MS_MAX - 1)
    assert starting_time_ms(START_MS, START_MS - 2 * JUMP_MS_MAX, START_MS - 2 * JUMP_MS_MAX) == (
        START_MS
    )


def test_afterwards_time_only_elapses() -> None:
    ticking = Ticking(ns=123_456_789)
    clock = BlockClock(START_MS, ticking)
    assert clock.now_ms() == START_MS
    ticking.ns += 999_999
    assert clock.now_ms() == START_MS
    ticking.ns += 1
    assert clock.now_ms() == START_MS + 1
    ticking.advance_ms(60_000)
    assert clock.now_ms() == START_MS + 60_001


def test_the_real_clock_never_goes_back() -> None:
    readings = [elapsed_ns() for _ in range(1000)]
    assert readings == sorted(readings)
