"""Remote memory as it is used now: leases, what their consumer measures, what their host counts."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.asset import LeaseState

Operation = Literal["read", "write", "atomic"]
"""`atomic` is compare-and-swap and fetch-and-add."""

MEASURED_BY_CONSUMER: Final = "measured by the consumer"
COUNTED_BY_PROVIDER: Final = "counted by the provider"


class Measurement(Body, frozen=True):
    """Operations of one sort since the last report: `seconds` is the time they took together, the
    percentiles are of single operations, in microseconds."""

    operation: Operation
    count: Annotated[int, Meta(ge=1, le=2**40)]
    bytes: Annotated[int, Meta(ge=0, le=2**60)]
    seconds: Annotated[float, Meta(ge=0, le=86_400)]
    p50_us: Annotated[float, Meta(ge=0, le=1e11)]
    p99_us: Annotated[float, Meta(ge=0, le=1e11)]


class MeasurementReport(Body, frozen=True):
    """`POST /v1/leases/{id}/measurements`: what the program that uses a lease measured, at most
    twice a second."""

    window_ms: Annotated[int, Meta(ge=1, le=3_600_000)]
    measurements: Annotated[list[Measurement], Meta(min_length=1, max_length=3)]


class MeasurementTaken(msgspec.Struct, frozen=True):
    """The answer: how many milliseconds to wait before the next report."""

    next_ms: int


class OperationFigures(msgspec.Struct, frozen=True):
    """Operations of one sort in one report. `gigabytes_per_s` (10^9) is over the time that the
    operations themselves took; the others `per_s` are over the whole time since the report before.
    """

    count: int
    bytes: int
    per_s: float
    bytes_per_s: float
    gigabytes_per_s: float
    p50_us: float
    p99_us: float


class MeasuredView(msgspec.Struct, frozen=True):
    """What the program that uses the lease says of it; null members were not used. `age_ms` is how
    old the newest report is; totals are since the node was started."""

    source: Literal["measured by the consumer"]
    age_ms: int
    read: OperationFigures | None
    write: OperationFigures | None
    atomic: OperationFigures | None
    bytes_read: int
    bytes_written: int


class CountedView(msgspec.Struct, frozen=True):
    """What the host's own counters say, at most a second old. Rates are over the last few seconds;
    null until the counters were looked at twice within them."""

    source: Literal["counted by the provider"]
    bytes_read: int
    bytes_written: int
    operations: int
    read_bytes_per_s: float | None
    written_bytes_per_s: float | None
    operations_per_s: float | None


class MemoryLeaseView(msgspec.Struct, frozen=True):
    """A lease of memory that this owner borrows or this node hosts, with what is known of its use.
    Each side's figures are there where this node has them: `measured` where a program on this
    machine uses the lease, `counted` where this node hosts it."""

    lease: Hex32
    asset: Hex16
    address: str
    host: Hex32
    host_name: str
    borrowed: bool
    lent: bool
    state: LeaseState
    size_bytes: int
    ends_ms: int
    measured: MeasuredView | None
    counted: CountedView | None


class MemoryPage(msgspec.Struct, frozen=True):
    """A page of memory leases; `next_cursor` is null at the end."""

    items: list[MemoryLeaseView]
    next_cursor: str | None


class SeriesPoint(msgspec.Struct, frozen=True):
    """One report: when it came, and its figures."""

    time_ms: int
    read: OperationFigures | None
    write: OperationFigures | None
    atomic: OperationFigures | None


class MemorySeries(msgspec.Struct, frozen=True):
    """`GET /v1/memory/{lease}`: a lease, and what was reported of it in the last minutes, oldest
    first. Kept in memory alone: a restart of the node forgets it."""

    lease: MemoryLeaseView
    reported: list[SeriesPoint]
