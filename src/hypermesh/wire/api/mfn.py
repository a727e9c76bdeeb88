"""What the router has learned of providers, as the API shows it."""

from __future__ import annotations

from typing import Literal

import msgspec

from hypermesh.wire.api.body import Hex32


class RouteView(msgspec.Struct, frozen=True):
    """What this node's router of jobs knows of one host; times in microseconds.

    It chooses the host with the least `expected_us`, give or take 5 %: `service_us`, which it has
    learned, times one more than the requests `in_flight`, and `silence_us`, by which an answer is
    overdue. `won`: it was chosen since the losers were last moved towards the winners.
    `last_outcome` is null where no job has ended there since this node was started.
    """

    host: Hex32
    host_name: str
    service_us: float
    in_flight: int
    silence_us: int
    expected_us: float
    active_ms_ago: int
    won: bool
    last_outcome: Literal["completed", "failed", "withdrawn"] | None
    last_outcome_ms_ago: int | None


class RoutePage(msgspec.Struct, frozen=True):
    """A page of routes by ascending host id; `next_cursor` is null at the end."""

    items: list[RouteView]
    next_cursor: str | None
