"""Figures of a series of samples over time. Times are in seconds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

MINUTE_S = 60.0


def slope_per_minute(at_s: Sequence[float], values: Sequence[float]) -> float:
    """How much the values grow in a minute: the slope of the least-squares line. Needs two
    different times."""
    if len(at_s) < 2 or min(at_s) == max(at_s):
        raise ValueError("a slope needs samples at two different times")
    return statistics.linear_regression(at_s, values).slope * MINUTE_S


def growth(values: Sequence[float]) -> float:
    """The median of the last quarter of the values over that of the first: what stays of ups and
    downs. Needs four values."""
    quarter = len(values) // 4
    if not quarter:
        raise ValueError("growth needs at least four samples")
    return statistics.median(values[-quarter:]) - statistics.median(values[:quarter])


def settled(
    at_s: Sequence[float], values: Sequence[float], warm_s: float
) -> tuple[list[float], list[float]]:
    """Times and values after the first `warm_s`, or after half of a shorter time."""
    begin = at_s[0] + min(warm_s, (at_s[-1] - at_s[0]) / 2)
    kept = [(at, value) for at, value in zip(at_s, values, strict=True) if at >= begin]
    return [at for at, _ in kept], [value for _, value in kept]


def percent(good: int, bad: int) -> float:
    """`good` of all, in percent. Without any there is no figure."""
    if good + bad == 0:
        raise ValueError("nothing was tried")
    return 100 * good / (good + bad)
