"""What programs of this owner measure of the memory that they lease.

Their bytes go straight to the provider, so only they know how long an operation took. Reports are
claims of the owner's own programs, shown as such and used for nothing else. They are kept for some
minutes, in memory alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hypermesh.wire.api.memory import (
    MEASURED_BY_CONSUMER,
    MeasuredView,
    Measurement,
    MeasurementReport,
    MeasurementTaken,
    OperationFigures,
    SeriesPoint,
)
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import LeaseId

INTERVAL_MS = 500
SOON_MS = INTERVAL_MS // 2
"""Reports that wander a little are taken; the pace is kept by those who report."""
KEPT_MS = 5 * 60 * 1000
POINTS_MAX = KEPT_MS // INTERVAL_MS
LEASES_MAX = 256


class ReportedTooSoon(HyperMeshError):
    """A report came less than half a second after the one before."""

    code = "HM-API-0031"
    status = 429
    exit_code = 8
    title = "This lease was reported on a moment ago"
    remedy = "Gather what is measured, and report it twice a second at most"
    retry_after_s = 1


@dataclass(slots=True)
class _Series:
    points: deque[SeriesPoint] = field(default_factory=lambda: deque(maxlen=POINTS_MAX))
    bytes_read: int = 0
    bytes_written: int = 0


class Measurements:
    """The reports of the last minutes, by lease. By any thread."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._series: dict[LeaseId, _Series] = {}
        self._lock = threading.Lock()

    def take(self, lease: LeaseId, report: MeasurementReport) -> MeasurementTaken:
        """Keep a report. Raises `ReportedTooSoon`."""
        now_ms = self._now_ms()
        by_operation = {each.operation: each for each in report.measurements}
        point = SeriesPoint(
            now_ms,
            **{
                name: _figures(by_operation.get(name), report.window_ms)
                for name in ("read", "write", "atomic")
            },
        )
        with self._lock:
            series = self._series.pop(lease, None) or _Series()
            self._series[lease] = series
            while len(self._series) > LEASES_MAX:
                del self._series[next(iter(self._series))]
            if series.points and 0 <= now_ms - series.points[-1].time_ms < SOON_MS:
                raise ReportedTooSoon
            series.points.append(point)
            series.bytes_read += _bytes(by_operation.get("read"))
            series.bytes_written += _bytes(by_operation.get("write"))
        return MeasurementTaken(INTERVAL_MS)

    def newest(self, lease: LeaseId) -> MeasuredView | None:
        """The last report on a lease; None where there was none within minutes."""
        with self._lock:
            series = self._series.get(lease)
            if series is None or not series.points:
                return None
            point = series.points[-1]
            age_ms = max(0, self._now_ms() - point.time_ms)
            if age_ms > KEPT_MS:
                return None
            return MeasuredView(
                source=MEASURED_BY_CONSUMER,
                age_ms=age_ms,
                read=point.read,
                write=point.write,
                atomic=point.atomic,
                bytes_read=series.bytes_read,
                bytes_written=series.bytes_written,
            )

    def series(self, lease: LeaseId) -> list[SeriesPoint]:
        """The reports of the last minutes, oldest first."""
        oldest_ms = self._now_ms() - KEPT_MS
        with self._lock:
            series = self._series.get(lease)
            points = [] if series is None else list(series.points)
        return [point for point in points if point.time_ms >= oldest_ms]


def _figures(measured: Measurement | None, window_ms: int) -> OperationFigures | None:
    if measured is None:
        return None
    busy_s = measured.seconds
    return OperationFigures(
        count=measured.count,
        bytes=measured.bytes,
        per_s=round(measured.count * 1000 / window_ms, 1),
        bytes_per_s=round(measured.bytes * 1000 / window_ms, 1),
        gigabytes_per_s=round(measured.bytes / busy_s / 1e9, 3) if busy_s else 0.0,
        p50_us=measured.p50_us,
        p99_us=measured.p99_us,
    )


def _bytes(measured: Measurement | None) -> int:
    return 0 if measured is None else measured.bytes
