"""Amounts: exact, bounded, rounded so that no rounding makes money."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.wire import amount
from hypermesh.wire.errors import InvalidInput

amounts = st.integers(0, amount.AMOUNT_MAX)


@given(amounts)
def test_text_leads_back(value: int) -> None:
    assert amount.parse_caes(amount.format_caes(value)) == value


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(1, 10**9))
def test_a_charge_covers_its_payout_and_both_are_within_one(
    units: int, price: int, per: int
) -> None:
    up, down = amount.charge(units, price, per), amount.payout(units, price, per)
    assert down <= up <= down + 1
    assert down * per <= units * price <= up * per


@given(amounts, st.integers(0, amount.BASIS_POINTS))
def test_a_share_and_its_rest_never_exceed_the_whole(value: int, points: int) -> None:
    rest = amount.share(value, amount.BASIS_POINTS - points)
    assert amount.share(value, points) + rest <= value


@pytest.mark.parametrize("value", [-1, amount.AMOUNT_MAX + 1])
def test_what_does_not_fit_is_refused(value: int) -> None:
    with pytest.raises(InvalidInput):
        amount.checked(value)


def test_an_overflowing_product_is_refused_not_wrapped() -> None:
    with pytest.raises(InvalidInput):
        amount.charge(2**62, 4)


@pytest.mark.parametrize(
    "text", ["", "-1", "1.0000000001", "1e3", "٣", "1.", "1,5", " 1", "nan", "99999999999"]
)
def test_text_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        amount.parse_caes(text)


def test_small_amounts_print_exactly() -> None:
    assert amount.format_caes(1) == "0.000000001"
    assert amount.format_caes(-1_500_000_000) == "-1.5"
    assert amount.format_caes(2 * amount.NANO) == "2"
