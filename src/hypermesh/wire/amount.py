"""Amounts of CAES. 1 CAES is 1 gram of fine gold is 10^9 nCAES; amounts are int64, never floats.

Rounding: a charge is rounded up, a payout down, so no rounding creates money. Shares are basis
points.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from msgspec import Meta

from hypermesh.wire.errors import InvalidInput

NANO = 10**9
_CAES = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?")
AMOUNT_MAX = 2**63 - 1
BASIS_POINTS = 10_000

Amount: TypeAlias = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
"""nCAES, 0 to 2^63 - 1."""

PositiveAmount: TypeAlias = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
"""nCAES, 1 to 2^63 - 1."""


def checked(value: int) -> int:
    """`value`, or `InvalidInput` where it does not fit an `Amount`."""
    if not 0 <= value <= AMOUNT_MAX:
        raise InvalidInput(f"{value} nCAES is not an amount", why="amounts are 0 to 2^63 - 1")
    return value


def charge(units: int, price: int, per: int = 1) -> int:
    """`units * price / per`, rounded up: what a payer owes."""
    return checked(-(-units * price // per))


def payout(units: int, price: int, per: int = 1) -> int:
    """`units * price / per`, rounded down: what a payee gets."""
    return checked(units * price // per)


def share(amount: int, basis_points: int) -> int:
    """`basis_points` ten-thousandths of `amount`, rounded down."""
    return checked(amount * basis_points // BASIS_POINTS)


def format_caes(amount: int) -> str:
    """`amount` nCAES as text in CAES, exact: `1.5`, `0.000000001`, `-2`."""
    sign, whole = ("-", -amount) if amount < 0 else ("", amount)
    fraction = f"{whole % NANO:09d}".rstrip("0")
    return f"{sign}{whole // NANO}" + (f".{fraction}" if fraction else "")


def parse_caes(text: str) -> int:
    """nCAES from text in CAES, exact; raises `InvalidInput` for anything below 1 nCAES."""
    found = _CAES.fullmatch(text)
    if found is None:
        raise InvalidInput(
            f"{text[:40]!r} is not an amount of CAES",
            why="expected digits with at most nine after the point, such as 1.25",
        )
    whole, fraction = found.groups(default="")
    return checked(int(whole) * NANO + int(fraction.ljust(9, "0")))
