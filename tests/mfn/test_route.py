"""Worked examples of one neuron, computed by hand from the description in `mfn.route`."""

from __future__ import annotations

import pytest

from hypermesh.mfn.route import FAILURE_US, SAMPLE_US_MAX, Outcome, Route

from .conftest import provider

MS_NS = 1_000_000
MS_US = 1_000


def idle(service_ms: int = 10) -> Route:
    return Route(provider(0), service_ms * MS_NS, in_flight=0, active_us=0, won=False)


def test_an_idle_neuron_spikes_after_its_service_time_however_long_it_rested() -> None:
    for now_us in (0, 1, MS_US, 10**12):
        assert idle(10).spike_ns(now_us) == 10 * MS_NS


def test_each_request_in_flight_delays_the_spike_by_a_service_time() -> None:
    route = idle(10)
    for in_flight in range(4):
        assert route.in_flight == in_flight
        assert route.spike_ns(0) == 10 * MS_NS * (in_flight + 1)
        route = route.dispatched(0)


def test_silence_begins_after_three_service_times_and_grows_with_time() -> None:
    route = idle(10).dispatched(1000)
    assert route.silence_us(1000 + 30 * MS_US) == 0
    assert route.silence_us(1000 + 30 * MS_US + 1) == 1
    assert route.silence_us(1000 + 100 * MS_US) == 70 * MS_US
    assert route.spike_ns(1000 + 100 * MS_US) == (20 + 70) * MS_NS


def test_silence_counts_from_the_dispatch_that_ended_idleness_not_from_later_ones() -> None:
    route = idle(10).dispatched(500 * MS_US)
    assert route.silence_us(500 * MS_US) == 0
    later = route.dispatched(520 * MS_US)
    assert later.active_us == 500 * MS_US


def test_a_completion_breaks_the_silence_of_the_rest() -> None:
    route = idle(10).dispatched(0).dispatched(0)
    assert route.silence_us(100 * MS_US) == 70 * MS_US
    route = route.discharged(Outcome.COMPLETED, 100 * MS_US, 100 * MS_US)
    assert route.in_flight == 1
    assert route.silence_us(100 * MS_US) == 0


def test_only_a_completion_discharges_never_the_clock() -> None:
    route = idle(10).dispatched(0)
    charges = [route.spike_ns(now_us) for now_us in range(0, 3_600_000_000, 60_000_000)]
    assert charges == sorted(charges)
    assert route.discharged(Outcome.COMPLETED, 10, 10).in_flight == 0


def test_slower_is_learned_by_a_tenth_and_faster_by_a_twentieth() -> None:
    route = idle(10).dispatched(0)
    slower = route.discharged(Outcome.COMPLETED, 20 * MS_US, 20 * MS_US)
    assert slower.service_ns == 11 * MS_NS
    faster = route.discharged(Outcome.COMPLETED, 2 * MS_US, 2 * MS_US)
    assert faster.service_ns == 9_600_000
    same = route.discharged(Outcome.COMPLETED, 10 * MS_US, 10 * MS_US)
    assert same.service_ns == 10 * MS_NS


def test_time_spent_waiting_behind_another_request_is_not_service_time() -> None:
    route = idle(10).dispatched(0).dispatched(0)
    route = route.discharged(Outcome.COMPLETED, 10 * MS_US, 10 * MS_US)
    # Sent at 0 like the first, done at 20 ms: but the provider worked on it from 10 ms on.
    route = route.discharged(Outcome.COMPLETED, 20 * MS_US, 20 * MS_US)
    assert route.service_ns == 10 * MS_NS


def test_a_failure_counts_as_five_seconds_however_fast_it_came() -> None:
    route = idle(10).dispatched(0).discharged(Outcome.FAILED, 1, 1)
    assert route.service_ns == 10 * MS_NS + (FAILURE_US * 1000 - 10 * MS_NS) // 10


def test_a_slow_failure_counts_as_what_it_took() -> None:
    route = idle(10).dispatched(0).discharged(Outcome.FAILED, 8_000_000, 8_000_000)
    assert route.service_ns == 10 * MS_NS + (8_000_000_000 - 10 * MS_NS) // 10


def test_a_withdrawn_request_teaches_nothing_and_breaks_no_silence() -> None:
    route = idle(10).dispatched(0).dispatched(0)
    after = route.discharged(Outcome.WITHDRAWN, 100 * MS_US, 100 * MS_US)
    assert (after.service_ns, after.in_flight) == (10 * MS_NS, 1)
    assert after.silence_us(100 * MS_US) == 70 * MS_US


def test_one_sample_is_bounded() -> None:
    route = idle(10).dispatched(0).discharged(Outcome.COMPLETED, 2**62, 2**62)
    assert route.service_ns == 10 * MS_NS + (SAMPLE_US_MAX * 1000 - 10 * MS_NS) // 10


def test_a_clock_that_steps_back_teaches_zero_and_not_less() -> None:
    route = idle(10).dispatched(1000)
    assert route.silence_us(0) == 0
    after = route.discharged(Outcome.COMPLETED, 5, 0)
    assert after.service_ns == 9_500_000
    assert after.active_us == 1000


def test_service_time_never_reaches_zero() -> None:
    route = Route(provider(0), 1, 0, 0, won=False)
    assert route.dispatched(0).discharged(Outcome.COMPLETED, 0, 0).service_ns == 1


@pytest.mark.parametrize(("mean_ms", "expected_ns"), [(10, 48_000_000), (90, 52_000_000)])
def test_a_loser_relaxes_a_twentieth_of_the_way_to_the_mean(mean_ms: int, expected_ns: int) -> None:
    assert idle(50).relaxed(mean_ms * MS_NS).service_ns == expected_ns


def test_a_winner_does_not_relax_but_must_win_again() -> None:
    won = idle(50).dispatched(0).discharged(Outcome.COMPLETED, 50 * MS_US, 50 * MS_US)
    once = won.relaxed(10 * MS_NS)
    assert (once.service_ns, once.won) == (50 * MS_NS, False)
    assert once.relaxed(10 * MS_NS).service_ns == 48 * MS_NS


def test_a_route_with_requests_in_flight_does_not_relax() -> None:
    busy = idle(50).dispatched(0).relaxed(10 * MS_NS)
    assert busy.relaxed(10 * MS_NS).service_ns == 50 * MS_NS
