"""Quantities as people write them: sizes, durations and cores, with their units. Pure.

Whoever reads such a text says what it was for: these raise a bare `ValueError` that says only what
is wrong with the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MILLICORES = {"m": 1, "": 1000}


def parse_bytes(text: str | int) -> int:
    """Bytes from `"64MiB"`, `"1.5 GB"` or a whole number. Raises `ValueError`."""
    return _amount(text, {"": 1} | _BYTES)


def parse_duration(text: str | int) -> int:
    """Milliseconds from `"250ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`. Raises `ValueError`: a bare
    number could mean seconds or milliseconds."""
    return _amount(text, _MILLISECONDS)


def parse_cores(text: str | float) -> int:
    """Thousandths of a core from `"250m"`, `"0.25"`, `2`. Raises `ValueError`."""
    return _amount(text, _MILLICORES)


def _amount(text: object, units: Mapping[str, int]) -> int:
    known = ", ".join(unit for unit in units if unit) + (" or none" if "" in units else "")
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"expected a number with one of the units {known}")  # noqa: TRY004
    found = _AMOUNT.fullmatch(str(text))
    if found is None:
        raise ValueError(f"{str(text)[:40]!r} is not a number with one of the units {known}")
    number, unit = found.groups()
    if unit not in units:
        near = [each for each in units if unit and each.casefold() == unit.casefold()]
        hint = f" (did you mean {near[0]}?)" if near else ""
        said = f"{unit!r} is not a unit here{hint}" if unit else "the unit is missing"
        raise ValueError(f"{said}; use one of {known}")
    try:
        value = Decimal(number) * units[unit]
        whole = int(value)
    except (InvalidOperation, OverflowError) as error:
        raise ValueError(f"{number[:40]} is out of range") from error
    if value != whole:
        raise ValueError(f"{str(text)[:40]!r} is not a whole number of the smallest unit")
    return whole
