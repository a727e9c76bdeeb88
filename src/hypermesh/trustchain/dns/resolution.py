"""Phases between DNS and ledger: which of the two answers, and what the other says to it. Pure over
two sources.

| phase | who answers |
|---|---|
| 0 traditional | DNS |
| 1 both | DNS, and the ledger is compared with it |
| 2 ledger first | the ledger; DNS where it knows nothing or cannot be reached |
| 3 ledger only | the ledger |
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from hypermesh.wire.errors import HyperMeshError


class SourceUnavailable(HyperMeshError):
    """A source of names cannot be reached, or did not answer in time."""

    code = "HM-DNS-0008"
    status = 503
    exit_code = 7
    title = "The names cannot be looked up"


class Phase(enum.IntEnum):
    """Who answers for a name."""

    TRADITIONAL = 0
    BOTH = 1
    LEDGER_FIRST = 2
    LEDGER_ONLY = 3


class Origin(enum.Enum):
    """Where an answer came from."""

    DNS = "dns"
    LEDGER = "ledger"


class Agreement(enum.Enum):
    """What the other source says."""

    NOT_ASKED = "not asked"
    AGREES = "agrees"
    DIFFERS = "differs"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Found:
    """The records of one name and type: `ttl` in seconds, `data` in wire form, sorted. Without data
    the name is there and has none of the type."""

    ttl: int
    data: tuple[bytes, ...]


class NameSource(Protocol):
    """Something that knows names."""

    def lookup(self, owner: bytes, kind: int) -> Found | None:
        """What it knows of `owner` (wire form); None where there is no such name. Raises
        `SourceUnavailable`."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """An answer, who gave it, and whether the other source agrees. `found` None: no such name."""

    found: Found | None
    origin: Origin
    agreement: Agreement

    def __str__(self) -> str:
        other = Origin.DNS if self.origin is Origin.LEDGER else Origin.LEDGER
        if self.agreement is Agreement.NOT_ASKED:
            return f"from {self.origin.value}"
        return f"from {self.origin.value}; {other.value} {self.agreement.value}"


def resolve(
    phase: Phase, ledger: NameSource, traditional: NameSource, owner: bytes, kind: int
) -> Resolved:
    """What `owner` has of `kind` in `phase`. Raises `SourceUnavailable` where whoever must answer
    cannot."""
    match phase:
        case Phase.TRADITIONAL:
            return Resolved(traditional.lookup(owner, kind), Origin.DNS, Agreement.NOT_ASKED)
        case Phase.LEDGER_ONLY:
            return Resolved(ledger.lookup(owner, kind), Origin.LEDGER, Agreement.NOT_ASKED)
        case Phase.BOTH:
            found = traditional.lookup(owner, kind)
            return Resolved(found, Origin.DNS, _compared(ledger, owner, kind, found))
        case Phase.LEDGER_FIRST:
            try:
                found = ledger.lookup(owner, kind)
            except SourceUnavailable:
                found = traditional.lookup(owner, kind)
                return Resolved(found, Origin.DNS, Agreement.UNAVAILABLE)
            if found is not None:
                return Resolved(found, Origin.LEDGER, Agreement.NOT_ASKED)
            return Resolved(traditional.lookup(owner, kind), Origin.DNS, Agreement.NOT_ASKED)


def _compared(source: NameSource, owner: bytes, kind: int, found: Found | None) -> Agreement:
    try:
        other = source.lookup(owner, kind)
    except SourceUnavailable:
        return Agreement.UNAVAILABLE
    # How long an answer may be kept is no matter of what is true.
    same = (other and other.data) == (found and found.data)
    return Agreement.AGREES if same and (other is None) == (found is None) else Agreement.DIFFERS
