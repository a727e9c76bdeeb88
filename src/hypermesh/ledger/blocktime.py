"""Block time: milliseconds since 1970, that start from the machine's clock and then only elapse.

The wall clock is read once, at start. A clock that is more than a day away from the last block is
more likely wrong than right, and block time can never go back, so the operator decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from hypermesh.ledger.errors import ClockJumped

JUMP_MS_MAX = 24 * 60 * 60 * 1000
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def starting_time_ms(last_ms: int, wall_ms: int, confirmed_ms: int | None = None) -> int:
    """The block time to start from, after a last block of `last_ms`, when the clock says `wall_ms`.

    `confirmed_ms` is the time that the operator has confirmed; it need be right only to a day.
    Raises `ClockJumped` where the clock is more than a day away from the last block and from what
    the operator confirmed. A clock that is behind by less waits, as it were: time starts from the
    last block.
    """
    if abs(wall_ms - last_ms) > JUMP_MS_MAX and (
        confirmed_ms is None or abs(wall_ms - confirmed_ms) > JUMP_MS_MAX
    ):
        raise ClockJumped(
            f"The clock says {_text(wall_ms)}, the last block {_text(last_ms)}",
            why="a jump of more than 24 hours would end leases and certificates at once",
            fix="Set the clock; if it is right, say so: hm up --clock-is-right",
        )
    return max(last_ms, wall_ms)


def elapsed_ns() -> int:
    """Nanoseconds on a clock that never goes back and, where the system has it, counts suspension:
    deadlines also fall due while a laptop sleeps."""
    return time.clock_gettime_ns(_CLOCK)


class BlockClock:
    """`start_ms` plus what has elapsed since."""

    def __init__(self, start_ms: int, elapsed_ns: Callable[[], int] = elapsed_ns) -> None:
        self._start_ms = start_ms
        self._elapsed_ns = elapsed_ns
        self._start_ns = elapsed_ns()

    def now_ms(self) -> int:
        return self._start_ms + (self._elapsed_ns() - self._start_ns) // 1_000_000


def _text(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"
