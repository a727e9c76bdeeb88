"""The path of a connection: what kind it is, and what the connection waits for on it.

Every moment of a connection is held up by one thing. `receiver`: the peer's flow control gives no
leave. `window`: the window is full while the path's rate is still looked for, or what was sent
before is not acknowledged. `loss`: losses or congestion marks hold the window below the path's own
measure. `path`: the path carries no more. `sender`: the application gives less than could be sent.
`idle`: it has given nothing for 100 ms. `crates/stoq/src/path/bottleneck.rs` has the rules.
"""

from __future__ import annotations

from typing import NamedTuple

BOUNDS = ("sender", "receiver", "window", "loss", "path", "idle")


class Path(NamedTuple):
    """A path as its connection knows it. Rates in bits per second, times in microseconds.

    `tier` is the kind of path, `reason` why it is taken for that, `phase` what congestion control
    is doing, `waits_for` one of `BOUNDS`; `round_trip_us` is the least of the last seconds, and
    `waited_us` the time spent on each of `BOUNDS` so far.
    """

    tier: str
    reason: str
    phase: str
    waits_for: str
    in_flight_bytes: int
    delivery_rate: int
    round_trip_us: int
    loss_per_million: int
    waited_us: list[int]

    @property
    def shares(self) -> dict[str, float]:
        """The share of its time that the connection has waited for each of `BOUNDS`."""
        whole = sum(self.waited_us) or 1
        return {bound: waited / whole for bound, waited in zip(BOUNDS, self.waited_us, strict=True)}
