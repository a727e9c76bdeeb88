"""One neuron: what a router knows of one provider, and when that provider would spike.

**The race.** Each provider has a leaky integrate-and-fire neuron (Lapicque 1907): charge lifts its
membrane to a threshold, where it spikes. For a request, all candidates' neurons race, driven so
that the time to the threshold is the time in which the provider is expected to answer:

    C = (s * (n + 1) + Q) * (1 +- 5 % jitter)

with `s` the learned service time, `n` the requests in flight to it from here, and `Q` its silence.
The first spike wins and resets all others (lateral inhibition, winner takes all), so the race is
one `argmin` of closed forms and no time is stepped through. The jitter keeps routers that learned
the same from acting as one.

**The leak is an event.** A dispatch hyperpolarises the winner (n + 1), and only that request's
completion discharges it (n - 1). A textbook membrane forgets by the clock, V * e^(-t / tau): then
load nobody has seen finish looks gone, every router finds the same provider "empty", and they
stampede there together. `tests/mfn/test_simulation.py` measures that design as the control.

**Silence.** While requests are in flight, missing completions are charge too:

    Q = max(0, t - l - 3 s),    l the last completion, or the dispatch that ended idleness

so a provider that hangs is avoided before any of its requests has failed.

**Learning** is competitive: who wins is who learns. A completion at `t` of a request sent at `t0`
shows the service time x = t - max(l, t0), since before `l` the provider was busy with another:

    s += 0.10 (x - s) where x > s,  s += 0.05 (x - s) otherwise;    a failure: x >= 5 seconds

Slower is believed sooner than faster, and a provider that fails at once cannot attract by haste.

**Homeostasis** is exploration: after each 64 completions of a router, the losers (routes that won
no race meanwhile and have nothing in flight) move 5 % towards the mean of the winners. They drift
to where they win again, are tried, and are judged anew; so nobody starves and nobody is condemned
for good. The mean of all routes was tried instead: it costs 4 % less at p99 under load, but one
dead provider lifts that mean and with it every honest loser, and a router with one request at a
time then tried a provider of 50 ms, beside one of 10 ms and one of 2 s, 3 times in 100,000
requests instead of 36 times.

**Where it is weak.** A router that sends a provider less than about one request in ten of its
service times learns too little of it; with very many routers, each sees a small part of the load.
Asking the providers (probes, as in Prequal, arXiv 2312.10172) is the known answer and is not part
of this. And exploration is paid in requests, not in time: a router with one request at a time and
one fast provider may go 10,000 requests without trying a far slower one again.

All arithmetic is on integers, so a decision is reproducible from its inputs on any machine.
Service times are in nanoseconds, so that 5 % of a microsecond is not lost; `now_us` is in
microseconds, from any monotonic clock of the caller.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.ids import Hash

SILENCE_FACTOR = 3
"""Service times without a completion before silence counts."""
LEARN_SLOWER_PERCENT = 10
LEARN_FASTER_PERCENT = 5
RELAX_PERCENT = 5
FAILURE_US = 5_000_000
"""A failure counts as at least this service time, in microseconds."""
SAMPLE_US_MAX = 600_000_000
"""A sample counts as at most this service time, in microseconds: ten minutes."""
NS_PER_US = 1000


class Outcome(enum.StrEnum):
    """What became of a request."""

    COMPLETED = "completed"
    FAILED = "failed"
    """An error, or no answer within the caller's patience."""
    WITHDRAWN = "withdrawn"
    """The caller lost interest; it says nothing about the provider. A timeout is FAILED."""


class Route(msgspec.Struct, frozen=True, array_like=True):
    """What one router knows of one provider.

    `active_us` is when the provider last showed what it does: its last completion, or the dispatch
    that found it idle. `won` says whether it won a race since the last homeostasis.
    """

    provider: Hash
    service_ns: Annotated[int, Meta(ge=1)]
    in_flight: Annotated[int, Meta(ge=0)]
    active_us: int
    won: bool

    def silence_us(self, now_us: int) -> int:
        """Q: microseconds of unexpected silence; 0 with nothing in flight."""
        if self.in_flight == 0:
            return 0
        patience_us = SILENCE_FACTOR * self.service_ns // NS_PER_US
        return max(0, now_us - self.active_us - patience_us)

    def spike_ns(self, now_us: int) -> int:
        """C without its jitter: nanoseconds until this neuron would spike."""
        return self.service_ns * (self.in_flight + 1) + NS_PER_US * self.silence_us(now_us)

    def dispatched(self, now_us: int) -> Route:
        """After winning a race."""
        return msgspec.structs.replace(
            self,
            in_flight=self.in_flight + 1,
            active_us=self.active_us if self.in_flight else now_us,
            won=True,
        )

    def discharged(self, outcome: Outcome, latency_us: int, now_us: int) -> Route:
        """After one of the requests in flight ended at `now_us`, `latency_us` after its dispatch.

        A withdrawn request neither teaches nor breaks the silence.
        """
        if outcome is Outcome.WITHDRAWN:
            return msgspec.structs.replace(self, in_flight=self.in_flight - 1)
        sample_us = max(0, now_us - max(self.active_us, now_us - latency_us))
        if outcome is Outcome.FAILED:
            sample_us = max(sample_us, FAILURE_US)
        return msgspec.structs.replace(
            self,
            service_ns=self._learned(min(sample_us, SAMPLE_US_MAX) * NS_PER_US),
            in_flight=self.in_flight - 1,
            active_us=max(self.active_us, now_us),
        )

    @property
    def winner(self) -> bool:
        """Whether it won a race since the last homeostasis, or still serves one it won before."""
        return self.won or self.in_flight > 0

    def relaxed(self, mean_ns: int) -> Route:
        """After homeostasis: a loser is drawn towards the mean, a winner only begins anew."""
        if self.winner:
            return msgspec.structs.replace(self, won=False)
        return msgspec.structs.replace(
            self, service_ns=_towards(self.service_ns, mean_ns, RELAX_PERCENT)
        )

    def _learned(self, sample_ns: int) -> int:
        slower = sample_ns > self.service_ns
        percent = LEARN_SLOWER_PERCENT if slower else LEARN_FASTER_PERCENT
        return _towards(self.service_ns, sample_ns, percent)


def _towards(value: int, target: int, percent: int) -> int:
    """`value` moved `percent` of the way to `target`, rounded towards `value`; at least 1."""
    if target > value:
        return value + (target - value) * percent // 100
    return max(1, value - (value - target) * percent // 100)
