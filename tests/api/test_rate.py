"""Token buckets: never more than the burst and the rate, never less than the rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hypermesh.http.rate import SECOND_NS, Buckets, Limit, take

limits = st.builds(
    Limit, per_s=st.integers(min_value=1, max_value=10_000), burst=st.integers(1, 1000)
)
gaps = st.lists(st.integers(min_value=0, max_value=SECOND_NS), max_size=200)


def run(limit: Limit, pauses: list[int]) -> list[tuple[int, int]]:
    """(time, wait) of one request after each pause."""
    now, full, seen = 10**18, 0, []
    for pause in pauses:
        now += pause
        full, wait = take(full, now, limit)
        seen.append((now, wait))
    return seen


@given(limits, gaps)
def test_no_window_has_more_than_burst_and_rate(limit: Limit, pauses: list[int]) -> None:
    taken = [now for now, wait in run(limit, pauses) if wait == 0]
    for first, begin in enumerate(taken):
        for count, end in enumerate(taken[first:], start=1):
            # A bucket's interval is cut to whole nanoseconds.
            filled = (end - begin) // (SECOND_NS // limit.per_s)
            assert count <= limit.burst + filled


@given(limits, gaps)
def test_whoever_waits_as_told_is_let_in(limit: Limit, pauses: list[int]) -> None:
    now, full = 10**18, 0
    for pause in pauses:
        now += pause
        full, wait = take(full, now, limit)
        if wait:
            before = take(full, now + wait - 1, limit)
            assert before[1] > 0
            full, wait = take(full, now + wait, limit)
            assert wait == 0
            now += wait


@given(limits)
def test_a_refusal_costs_the_bucket_nothing(limit: Limit) -> None:
    full = 0
    for _ in range(limit.burst):
        full, wait = take(full, 10**18, limit)
        assert wait == 0
    for _ in range(3):
        again, wait = take(full, 10**18, limit)
        assert wait > 0
        assert again == full


def test_principals_do_not_share_a_bucket_and_their_number_is_bounded() -> None:
    buckets, limit = Buckets(kept_max=8), Limit(per_s=1, burst=1)
    assert buckets.take("a", 10**18, limit) == 0
    assert buckets.take("a", 10**18, limit) == SECOND_NS
    for number in range(100):
        assert buckets.take(f"other {number}", 10**18, limit) == 0
        assert len(buckets) <= 8
