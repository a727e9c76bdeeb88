"""Sizes, durations and cores as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.wire.quantity import parse_bytes, parse_cores, parse_duration


def test_amounts_have_units() -> None:
    assert [parse_bytes(each) for each in ("1KiB", "1.5 GB", "0B", 7)] == [
        1024,
        1_500_000_000,
        0,
        7,
    ]
    assert [parse_duration(each) for each in ("7d", "250ms", "0.25s", "5m", "1h")] == [
        7 * 24 * 60 * 60 * 1000,
        250,
        250,
        300_000,
        3_600_000,
    ]
    assert [parse_cores(each) for each in ("250m", "0.25", 0.25, 2)] == [250, 250, 250, 2000]
    with pytest.raises(ValueError, match="whole number"):
        parse_bytes("0.3B")


@given(st.one_of(st.text(max_size=30), st.integers(), st.floats(), st.booleans(), st.none()))
def test_any_amount_is_read_or_refused(value: object) -> None:
    for reader in (parse_bytes, parse_duration, parse_cores):
        try:
            assert reader(value) >= 0  # type: ignore[operator]
        except ValueError:
            continue
