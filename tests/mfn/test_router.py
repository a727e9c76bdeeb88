from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.mfn.route import Outcome, Route
from hypermesh.mfn.router import (
    HOMEOSTASIS_COMPLETIONS,
    INITIAL_SERVICE_US,
    ROUTES_MAX,
    NoCandidates,
    NothingInFlight,
    Router,
    RouterState,
)
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import InvalidInput, Overloaded

from .conftest import provider

MS_NS = 1_000_000
MS_US = 1_000
A, B, C = provider(0), provider(1), provider(2)


def knowing(**service_ms: int) -> Router:
    """A router that has learned the service times of A, B, C (in milliseconds)."""
    known = {"a": A, "b": B, "c": C}
    routes = [Route(known[name], ms * MS_NS, 0, 0, won=False) for name, ms in service_ms.items()]
    return Router(RouterState(routes))


class Sequential:
    """One request after another, each provider taking its time; the clock is simulated."""

    def __init__(self, router: Router, service_us: dict[bytes, int]) -> None:
        self.router = router
        self.service_us = service_us
        self.failing: set[bytes] = set()
        self.now_us = 0
        self.requests = 0

    def send(self, count: int) -> list[bytes]:
        chosen = []
        for _ in range(count):
            self.requests += 1
            winner = self.router.choose(list(self.service_us), self.now_us, self.requests)
            outcome = Outcome.FAILED if winner in self.failing else Outcome.COMPLETED
            latency_us = self.service_us[winner]
            self.now_us += latency_us
            self.router.observe(winner, outcome, latency_us, self.now_us)
            chosen.append(winner)
        return chosen


def test_the_fastest_spikes_first() -> None:
    for seed in range(200):
        assert knowing(a=30, b=10, c=20).choose([A, B, C], 0, seed) == B


def test_the_winner_is_set_back_and_the_next_race_goes_to_another() -> None:
    # a: 10, 20, 30, 40 ...; b: 25, 50 ...  By spike times: a 10, a 20, b 25, a 30, a 40, (b 50)
    router = knowing(a=10, b=25)
    assert [router.choose([A, B], 0, seed) for seed in range(5)] == [A, A, B, A, A]


def test_losers_keep_no_charge_from_a_lost_race() -> None:
    router = knowing(a=10, b=25)
    before = {route.provider: route for route in router.state.routes}
    router.choose([A, B], 0, 1)
    after = {route.provider: route for route in router.state.routes}
    assert after[B] == before[B]
    assert after[A].in_flight == 1


def test_a_completion_lets_the_winner_race_again() -> None:
    router = knowing(a=10, b=15)
    assert router.choose([A, B], 0, 1) == A
    assert router.choose([A, B], 0, 2) == B
    router.observe(A, Outcome.COMPLETED, 10 * MS_US, 10 * MS_US)
    assert router.choose([A, B], 10 * MS_US, 3) == A


def test_time_alone_does_not_let_the_winner_race_again() -> None:
    """The leak is an event: a router that hears nothing keeps avoiding whom it loaded."""
    router = knowing(a=10, b=15)
    assert router.choose([A, B], 0, 1) == A
    for hours in range(1, 5):
        assert router.choose([A, B], hours * 3_600_000_000, hours) == B
        router.observe(B, Outcome.COMPLETED, 15 * MS_US, hours * 3_600_000_000 + 15 * MS_US)


def test_a_silent_provider_is_avoided_before_any_request_to_it_failed() -> None:
    router = knowing(a=10, b=80)
    assert router.choose([A, B], 0, 1) == A
    # At 30 ms A would spike at 20 ms and B at 80; at 100 ms A at 20 + 70 silent ms.
    assert router.choose([A, B], 30 * MS_US, 2) == A
    assert router.choose([A, B], 120 * MS_US, 3) == B


def test_equal_neurons_are_told_apart_by_the_seed_and_share_evenly() -> None:
    counts = {A: 0, B: 0, C: 0}
    for seed in range(3000):
        counts[knowing(a=10, b=10, c=10).choose([A, B, C], 0, seed)] += 1
    assert min(counts.values()) > 900
    assert max(counts.values()) < 1100


def test_jitter_decides_among_near_equals_only() -> None:
    winners = {knowing(a=100, b=104).choose([A, B], 0, seed) for seed in range(500)}
    assert winners == {A, B}
    assert {knowing(a=100, b=111).choose([A, B], 0, seed) for seed in range(500)} == {A}


def test_the_order_of_candidates_does_not_matter() -> None:
    for seed in range(200):
        one, other = knowing(a=10, b=10, c=10), knowing(a=10, b=10, c=10)
        assert one.choose([A, B, C], 0, seed) == other.choose([C, A, B], 0, seed)


def test_a_provider_that_is_no_candidate_is_not_chosen() -> None:
    router = knowing(a=1, b=1000)
    assert router.choose([B], 0, 1) == B


def test_a_stranger_is_presumed_as_fast_as_the_fastest_known() -> None:
    router = knowing(a=10, b=90)
    chosen = {router.choose([A, B, C], 0, seed) for seed in range(2)}
    assert chosen == {A, C}
    [stranger] = [route for route in router.state.routes if route.provider == C]
    assert stranger.service_ns == 10 * MS_NS


def test_the_first_provider_of_all_has_the_initial_service_time() -> None:
    router = Router()
    assert router.choose([A], 0, 0) == A
    assert router.state.routes[0].service_ns == INITIAL_SERVICE_US * 1000


def test_a_slow_provider_loses_its_share_and_regains_it_when_it_recovers() -> None:
    requests = Sequential(Router(), {A: 10 * MS_US, B: 10 * MS_US, C: 10 * MS_US})
    fair = requests.send(900).count(A)
    assert fair > 200
    requests.service_us[A] = 100 * MS_US
    requests.send(100)
    assert requests.send(900).count(A) < 90
    requests.service_us[A] = 10 * MS_US
    requests.send(5_000)
    assert requests.send(900).count(A) > 200


def test_a_dead_provider_is_avoided_and_still_probed() -> None:
    requests = Sequential(Router(), {A: 10 * MS_US, B: 10 * MS_US, C: 10 * MS_US})
    requests.send(300)
    requests.failing.add(A)
    requests.send(10)
    for _ in range(5):
        assert 1 <= requests.send(10_000).count(A) <= 10


def test_a_provider_that_fails_at_once_does_not_attract_by_haste() -> None:
    requests = Sequential(Router(), {A: 1, B: 10 * MS_US, C: 10 * MS_US})
    requests.failing.add(A)
    assert requests.send(500).count(A) <= 5


def test_nobody_starves_however_slow() -> None:
    requests = Sequential(Router(), {A: 10 * MS_US, B: 50 * MS_US, C: 2_000 * MS_US})
    for _ in range(5):
        chosen = requests.send(10_000)
        assert all(chosen.count(who) > 0 for who in (A, B, C))
        assert chosen.count(A) > 0.99 * len(chosen)


def test_homeostasis_comes_after_64_completions_and_withdrawals_do_not_count() -> None:
    router = knowing(a=10, b=50)

    def loser_ns() -> int:
        return router.state.routes[1].service_ns

    def end_one(outcome: Outcome) -> None:
        assert router.choose([A], 0, 1) == A
        router.observe(A, outcome, 10 * MS_US, 10 * MS_US)

    for _ in range(HOMEOSTASIS_COMPLETIONS - 1):
        end_one(Outcome.COMPLETED)
    for _ in range(2 * HOMEOSTASIS_COMPLETIONS):
        end_one(Outcome.WITHDRAWN)
    assert loser_ns() == 50 * MS_NS
    end_one(Outcome.COMPLETED)
    # The winner needs 10; a twentieth of the way from 50 to 10 is 2.
    assert loser_ns() == 48 * MS_NS
    assert router.state.routes[0].service_ns == 10 * MS_NS
    assert router.state.completions == 0


def test_homeostasis_needs_a_winner() -> None:
    """Requests of the time before end, nobody won since: there is no mean to move to."""
    router = knowing(a=10, b=50)
    for _ in range(2 * HOMEOSTASIS_COMPLETIONS):
        router.choose([A], 0, 1)
    loser_ns = [router.state.routes[1].service_ns]
    for _ in range(2):
        for _ in range(HOMEOSTASIS_COMPLETIONS):
            router.observe(A, Outcome.COMPLETED, 10 * MS_US, 10 * MS_US)
        loser_ns.append(router.state.routes[1].service_ns)
    # At the first homeostasis A was a winner, at the second it no longer was.
    assert loser_ns[0] > loser_ns[1] == loser_ns[2]


def test_nobody_to_choose_from_is_refused() -> None:
    with pytest.raises(NoCandidates):
        Router().choose([], 0, 0)


def test_the_end_of_a_request_that_is_not_in_flight_is_refused() -> None:
    router = Router()
    with pytest.raises(NothingInFlight):
        router.observe(A, Outcome.COMPLETED, 1, 1)
    router.choose([A], 0, 0)
    with pytest.raises(InvalidInput):
        router.observe(A, Outcome.COMPLETED, -1, 1)
    router.observe(A, Outcome.COMPLETED, 1, 1)
    before = router.state
    with pytest.raises(NothingInFlight):
        router.observe(A, Outcome.COMPLETED, 1, 1)
    assert router.state == before


def test_memory_is_bounded_and_the_idle_and_longest_unused_goes_first() -> None:
    router = Router()
    everybody = [provider(number) for number in range(ROUTES_MAX)]
    for moment, who in enumerate(everybody):
        router.choose([who], moment, 0)
        if who != everybody[0]:
            router.observe(who, Outcome.COMPLETED, 0, moment)
    newcomer = provider(ROUTES_MAX)
    router.choose([newcomer, everybody[1]], ROUTES_MAX, 0)
    known = {route.provider for route in router.state.routes}
    assert len(known) == ROUTES_MAX
    assert {newcomer, everybody[0], everybody[1]} <= known
    assert everybody[2] not in known


def test_more_candidates_than_can_be_remembered_are_refused() -> None:
    router = Router()
    with pytest.raises(Overloaded):
        router.choose([provider(number) for number in range(ROUTES_MAX + 1)], 0, 0)
    assert router.state == RouterState()


def test_a_fresh_process_keeps_the_knowledge_and_drops_what_was_in_flight() -> None:
    router = knowing(a=10, b=20)
    router.choose([A, B], 0, 1)
    rested = Router(router.state.at_rest())
    assert [route.in_flight for route in rested.state.routes] == [0, 0]
    assert [route.service_ns for route in rested.state.routes] == [10 * MS_NS, 20 * MS_NS]


STEPS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 5), min_size=1, max_size=6),
        st.integers(0, 2**64 - 1),
        st.integers(0, 10_000_000),
        st.sampled_from(list(Outcome)),
        st.booleans(),
    ),
    max_size=120,
)


@given(STEPS)
def test_decisions_follow_from_inputs_and_state_survives_encoding(
    steps: list[tuple[list[int], int, int, Outcome, bool]],
) -> None:
    """Two routers fed the same decide the same, though one is encoded and decoded at every step;
    in-flight counts match what was dispatched and not yet ended."""
    router, twin = Router(), Router()
    waiting: list[tuple[bytes, int]] = []
    now_us = 0
    for numbers, seed, elapsed_us, outcome, ends in steps:
        now_us += elapsed_us
        candidates = [provider(number) for number in numbers]
        twin = Router(decode(RouterState, encode(twin.state)))
        chosen = router.choose(candidates, now_us, seed)
        assert chosen == twin.choose(candidates, now_us, seed)
        assert chosen in candidates
        waiting.append((chosen, now_us))
        if ends:
            who, sent_us = waiting.pop(seed % len(waiting))
            for one in (router, twin):
                one.observe(who, outcome, now_us - sent_us, now_us)
    assert router.state == twin.state
    for route in router.state.routes:
        assert route.service_ns >= 1
        assert route.in_flight == sum(1 for who, _ in waiting if who == route.provider)
