"""The path of a connection: what kind it is, and what the connection waits for on it.

Every moment of a connection is held up by one thing. `receiver`: the peer's flow control gives no
leave. `window`: the window is full while the path's rate is still looked for, or what was sent
before is not acknowledged. `loss`: losses or congestion marks hold the window below the path's own
measure. `path`: the path carries no more. `sender`: the application gives less than could be sent.
`idle`: it has given nothing for 100 ms. `crates/stoq/src/path/bottleneck.rs` has the rules.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

NativeSettings: TypeAlias = tuple[int, int, int, int, int, int, int, int]
NativePath: TypeAlias = tuple[str, str, str, str, int, int, int, int, list[int], NativeSettings]

BOUNDS = ("sender", "receiver", "window", "loss", "path", "idle")


class PathSettings(NamedTuple):
    """What a connection has made of its path. Windows in bytes, the pace in bits per second.

    `window_bytes` is what congestion control lets be in flight, and `pace` the rate at which that
    leaves at most (0 before the first round trip). The peer may send `receive_window_bytes` beyond
    what was read here, and `stream_window_bytes` on one stream; `send_window_bytes` are kept here
    until they are acknowledged. The peer is asked to acknowledge after `ack_packets` packets, or
    `ack_delay_us`. One system call sends up to `batch_datagrams`, where as many fit into it.
    """

    window_bytes: int
    pace: int
    receive_window_bytes: int
    send_window_bytes: int
    stream_window_bytes: int
    ack_packets: int
    ack_delay_us: int
    batch_datagrams: int


class Path(NamedTuple):
    """A path as its connection knows it. Rates in bits per second, times in microseconds.

    `tier` is the kind of path, `reason` why it is taken for that, `phase` what congestion control
    is doing, `waits_for` one of `BOUNDS`; `round_trip_us` is the least of the last seconds, and
    `waited_us` the time spent on each of `BOUNDS` so far; `settings` what it has made of all that.
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
    settings: PathSettings

    @classmethod
    def of(cls, native: NativePath) -> Path:
        """As native code shows it."""
        return cls(*native[:-1], PathSettings(*native[-1]))

    @property
    def shares(self) -> dict[str, float]:
        """The share of its time that the connection has waited for each of `BOUNDS`."""
        return self.shares_since([0] * len(BOUNDS))

    def shares_since(self, waited_us: list[int]) -> dict[str, float]:
        """The same of the time since `waited_us` was read."""
        spent = [now - then for now, then in zip(self.waited_us, waited_us, strict=True)]
        whole = sum(spent) or 1
        return {bound: waited / whole for bound, waited in zip(BOUNDS, spent, strict=True)}
