"""The race between providers, and what a router remembers of them.

A `Router` chooses among providers that would do equally well, for one kind of request: service
times of different kinds do not compare. It holds no clock, no randomness and no lock. The caller
passes the time and a seed, and reports the end of every request it dispatched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.mfn.route import NS_PER_US, Outcome, Route
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotFound, Overloaded
from hypermesh.wire.ids import Hash

ROUTES_MAX = 4096
"""Providers that one router remembers; beyond it the idle one that was active least recently goes.
"""
HOMEOSTASIS_COMPLETIONS = 64
"""Completions between two relaxations of the losers."""
INITIAL_SERVICE_US = 10_000
"""What the very first provider is presumed to need, in microseconds."""
JITTER_PPM = 50_000
"""The jitter of a race, in millionths: 5 %."""

_PPM = 1_000_000
_MASK = 2**64 - 1


class NoCandidates(NotFound):
    """A choice among nobody."""

    code = "HM-MFN-0001"
    title = "No provider is left to choose from"
    remedy = "Ask for less, or wait until a provider is free"


class NothingInFlight(HyperMeshError):
    """The end of a request was reported that this router did not dispatch, or twice."""

    code = "HM-MFN-0002"
    title = "This router has no request in flight to that provider"
    remedy = "Report the end of each chosen request once"


class RouterState(msgspec.Struct, frozen=True, array_like=True):
    """All that a router knows; routes by ascending provider, so equal knowledge has equal bytes."""

    routes: Annotated[list[Route], Meta(max_length=ROUTES_MAX)] = []
    completions: Annotated[int, Meta(ge=0, lt=HOMEOSTASIS_COMPLETIONS)] = 0
    """Since the last homeostasis."""

    def at_rest(self) -> RouterState:
        """The same knowledge with nothing in flight: for a process that starts anew, whose former
        requests ended with the former process."""
        return RouterState(
            [msgspec.structs.replace(route, in_flight=0) for route in self.routes],
            self.completions,
        )


class Router:
    """Chooses a provider for each request, and learns from how it ended."""

    def __init__(self, state: RouterState | None = None) -> None:
        state = state or RouterState()
        self._routes = {route.provider: route for route in state.routes}
        self._completions = state.completions

    @property
    def state(self) -> RouterState:
        """Everything this router knows; `Router(state)` decides as this one would."""
        routes = sorted(self._routes.values(), key=lambda route: route.provider)
        return RouterState(routes, self._completions)

    def choose(self, candidates: Sequence[Hash], now_us: int, seed: int) -> Hash:
        """The provider whose neuron spikes first; the request counts as dispatched to it.

        The order of `candidates` does not matter. `seed` draws the jitter: a fresh random number,
        or any number that differs from one decision and one router to the next. A provider not met
        before is presumed as fast as the fastest known, so it is tried soon. Raises `NoCandidates`,
        and `Overloaded` where more providers are wanted or in flight than `ROUTES_MAX`.
        """
        if not candidates:
            raise NoCandidates
        self._meet(candidates, now_us)
        routes = self._routes
        winner = min(
            candidates,
            key=lambda provider: (
                routes[provider].spike_ns(now_us) * (_PPM + _jitter_ppm(provider, seed)),
                provider,
            ),
        )
        routes[winner] = routes[winner].dispatched(now_us)
        return winner

    def observe(self, provider: Hash, outcome: Outcome, latency_us: int, now_us: int) -> None:
        """Learn that a request to `provider` ended at `now_us`, `latency_us` after its dispatch.

        Every chosen request is reported once; one that nobody answers in time as `FAILED`. Raises
        `NothingInFlight`, and `InvalidInput` for a negative latency.
        """
        if latency_us < 0:
            raise InvalidInput(f"A latency of {latency_us} us is negative")
        route = self._routes.get(provider)
        if route is None or route.in_flight == 0:
            raise NothingInFlight(why=f"provider {provider.hex()}")
        self._routes[provider] = route.discharged(outcome, latency_us, now_us)
        if outcome is not Outcome.WITHDRAWN:
            self._completions += 1
        if self._completions == HOMEOSTASIS_COMPLETIONS:
            self._relax()

    def _relax(self) -> None:
        self._completions = 0
        winners_ns = [route.service_ns for route in self._routes.values() if route.winner]
        if not winners_ns:
            return
        mean_ns = sum(winners_ns) // len(winners_ns)
        self._routes = {
            provider: route.relaxed(mean_ns) for provider, route in self._routes.items()
        }

    def _meet(self, candidates: Sequence[Hash], now_us: int) -> None:
        strangers = [provider for provider in candidates if provider not in self._routes]
        if not strangers:
            return
        self._make_room(set(candidates))
        presumed_ns = min(
            (route.service_ns for route in self._routes.values()),
            default=INITIAL_SERVICE_US * NS_PER_US,
        )
        for provider in strangers:
            self._routes[provider] = Route(provider, presumed_ns, 0, now_us, won=False)

    def _make_room(self, wanted: set[Hash]) -> None:
        excess = len(self._routes.keys() | wanted) - ROUTES_MAX
        if excess <= 0:
            return
        idle = sorted(
            (route.active_us, provider)
            for provider, route in self._routes.items()
            if route.in_flight == 0 and provider not in wanted
        )
        if len(idle) < excess:
            raise Overloaded(
                f"A router remembers at most {ROUTES_MAX} providers",
                why="more than that are candidates or have requests in flight",
                fix="Narrow the candidates, for example by region",
            )
        for _, provider in idle[:excess]:
            del self._routes[provider]


def _jitter_ppm(provider: Hash, seed: int) -> int:
    """-50,000 to 50,000 from the two: one step of SplitMix64 (Steele, Lea and Flood 2014), which
    spreads seeds that follow each other."""
    mixed = (int.from_bytes(provider[:8], "big") + seed * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    mixed ^= mixed >> 31
    return mixed % (2 * JITTER_PPM + 1) - JITTER_PPM
