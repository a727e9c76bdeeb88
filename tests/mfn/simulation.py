"""A small discrete-event simulation of many routers in front of many servers.

Each server has one worker and a FIFO queue; a request takes `work / speed` with the speed at its
start. Arrivals are Poisson, work is lognormal (mean 10 ms, sigma 1); both are drawn beforehand
from the seed, so that all policies see the same requests (common random numbers).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hypermesh.mfn.route import Outcome
from hypermesh.mfn.router import Router

from .conftest import provider

WORK_US = 10_000
SIGMA = 1.0
SPEEDS = (1.0, 0.5, 1.0, 2.0)
ANTAGONIST_FACTOR = 0.25
ANTAGONIST_ON_US, ANTAGONIST_PERIOD_US = 500_000, 5_000_000
BROKEN_SPEED = 0.02


class Policy(Protocol):
    """What a router does for each request."""

    def choose(self, now_us: int, seed: int, /) -> int: ...

    def observe(self, server: int, latency_us: int, now_us: int, /) -> None: ...


class Mfn:
    def __init__(self, servers: int, _router: int) -> None:
        self.servers = [provider(number) for number in range(servers)]
        self.router = Router()

    def choose(self, now_us: int, seed: int) -> int:
        return int.from_bytes(self.router.choose(self.servers, now_us, seed)[:4], "big")

    def observe(self, server: int, latency_us: int, now_us: int) -> None:
        self.router.observe(self.servers[server], Outcome.COMPLETED, latency_us, now_us)


class RandomChoice:
    def __init__(self, servers: int, _router: int) -> None:
        self.servers = servers

    def choose(self, _now_us: int, seed: int) -> int:
        return seed % self.servers

    def observe(self, server: int, latency_us: int, now_us: int) -> None: ...


class RoundRobin:
    def __init__(self, servers: int, router: int) -> None:
        self.servers = servers
        self.next = router * 7 % servers

    def choose(self, _now_us: int, _seed: int) -> int:
        self.next = (self.next + 1) % self.servers
        return self.next

    def observe(self, server: int, latency_us: int, now_us: int) -> None: ...


class LeastRequest:
    """Fewest requests in flight from this router: of all servers, or of two drawn at random."""

    def __init__(self, servers: int, _router: int, *, sampled: int | None = None) -> None:
        self.in_flight = [0] * servers
        self.sampled = sampled

    def choose(self, _now_us: int, seed: int) -> int:
        servers = len(self.in_flight)
        if self.sampled is None:
            # Begin the scan anywhere, so that ties do not all go to the first.
            order = [(seed + step) % servers for step in range(servers)]
        else:
            order = [(seed >> (20 * draw)) % servers for draw in range(self.sampled)]
        winner = min(order, key=self.in_flight.__getitem__)
        self.in_flight[winner] += 1
        return winner

    def observe(self, server: int, _latency_us: int, _now_us: int) -> None:
        self.in_flight[server] -= 1


class ClockLeak:
    """The design that MFN rejects, as a control: the membrane forgets by the clock, with a time
    constant of 20 ms, and completions teach but do not discharge."""

    TAU_US = 20_000

    def __init__(self, servers: int, _router: int) -> None:
        self.charge = np.zeros(servers)
        self.service_us = np.full(servers, float(WORK_US))
        self.at_us = 0

    def choose(self, now_us: int, seed: int) -> int:
        self.charge *= np.exp(-(now_us - self.at_us) / self.TAU_US)
        self.at_us = now_us
        jitter = 1 + 0.05 * np.random.default_rng(seed).uniform(-1, 1, len(self.charge))
        winner = int(np.argmin(self.service_us * (self.charge + 1) * jitter))
        self.charge[winner] += 1
        return winner

    def observe(self, server: int, latency_us: int, _now_us: int) -> None:
        difference = latency_us - self.service_us[server]
        self.service_us[server] += difference * (0.10 if difference > 0 else 0.05)


@dataclass(frozen=True)
class Scenario:
    """`load` is the share of all servers' capacity that arrives."""

    servers: int = 20
    routers: int = 10
    requests: int = 20_000
    load: float = 0.7
    equal: bool = False
    broken: tuple[int, ...] = ()
    """Servers that drop to 2 % of their speed half-way."""


@dataclass
class Run:
    """What happened: for each request when it was sent, to whom, and how long it took."""

    sent_us: list[int] = field(default_factory=list)
    server: list[int] = field(default_factory=list)
    latency_us: list[int] = field(default_factory=list)
    half_us: int = 0

    def p99_ms(self, begin_us: int = 0, end_us: int = 2**62) -> float:
        """The 99th percentile of latency of requests sent in this time."""
        sent = np.array(self.sent_us)
        chosen = np.array(self.latency_us)[(sent >= begin_us) & (sent < end_us)]
        return float(np.percentile(chosen, 99)) / 1000

    def share(self, servers: tuple[int, ...], begin_us: int) -> float:
        """The share of requests sent to `servers` from `begin_us` on."""
        to = [who for who, at in zip(self.server, self.sent_us, strict=True) if at >= begin_us]
        return sum(1 for who in to if who in servers) / len(to)


def simulate(make: Callable[[int, int], Policy], scenario: Scenario, seed: int) -> Run:
    """One run; the same `scenario` and `seed` give every policy the same requests."""
    draw = np.random.default_rng(seed)
    speeds = [1.0 if scenario.equal else SPEEDS[i % 4] for i in range(scenario.servers)]
    phases = draw.integers(0, ANTAGONIST_PERIOD_US, scenario.servers).tolist()
    interval_us = WORK_US / (sum(speeds) * scenario.load)
    arrivals: NDArray[np.int64] = np.cumsum(
        draw.exponential(interval_us, scenario.requests)
    ).astype(np.int64)
    work = draw.lognormal(np.log(WORK_US) - SIGMA**2 / 2, SIGMA, scenario.requests).tolist()
    sender = draw.integers(0, scenario.routers, scenario.requests).tolist()
    seeds = draw.integers(0, 2**62, scenario.requests).tolist()
    times = arrivals.tolist()

    policies = [make(scenario.servers, number) for number in range(scenario.routers)]
    free_us = [0] * scenario.servers
    ends: list[tuple[int, int, int, int]] = []
    run = Run(half_us=times[-1] // 2)

    def speed(server: int, at_us: int) -> float:
        if server in scenario.broken and at_us >= run.half_us:
            return BROKEN_SPEED
        slowed = (at_us + phases[server]) % ANTAGONIST_PERIOD_US < ANTAGONIST_ON_US
        return speeds[server] * (ANTAGONIST_FACTOR if slowed and not scenario.equal else 1.0)

    for number, now_us in enumerate(times):
        while ends and ends[0][0] <= now_us:
            end_us, server, router, sent_us = heapq.heappop(ends)
            policies[router].observe(server, end_us - sent_us, end_us)
        router = sender[number]
        server = policies[router].choose(now_us, seeds[number])
        start_us = max(now_us, free_us[server])
        free_us[server] = start_us + max(1, int(work[number] / speed(server, start_us)))
        heapq.heappush(ends, (free_us[server], server, router, now_us))
        run.sent_us.append(now_us)
        run.server.append(server)
        run.latency_us.append(free_us[server] - now_us)
    return run
