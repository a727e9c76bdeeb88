"""How a node is, in one line of plain words, and what its owner should do about it."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "attention", "failing"]


class ActionView(msgspec.Struct, frozen=True):
    """Something to see to: what is so, why it matters, and `fix`, a command to paste (or, where
    none would help, what to do). A `note` leaves the level as it is. `name` is stable, for
    programs."""

    name: str
    level: Literal["note", "attention", "failing"]
    what: str
    why: str
    fix: str


class HealthView(msgspec.Struct, frozen=True):
    """`GET /v1/network/health`. `level` is the worst of the actions; they come worst first."""

    level: Level
    summary: str
    actions: list[ActionView]
    time_ms: int
