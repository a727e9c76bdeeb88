"""How leased memory fares, told to the own node.

The bytes of a region go straight to its provider, so no node sees how long an operation takes; only
this process does. It tells its node twice a second, which shows it as measured by the consumer.
What is told has no other use, so nothing waits for it and no failure of it is an error.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Final, TypeVar, get_args

from hypermesh.sdk.call import Call
from hypermesh.sdk.rest import Place, Rest
from hypermesh.wire.api.memory import (
    Measurement,
    MeasurementReport,
    MeasurementTaken,
    Operation,
)
from hypermesh.wire.errors import HyperMeshError, Unreachable

T = TypeVar("T")

FIRST_S: Final = 0.1
INTERVAL_S: Final = 0.5
IDLE_S: Final = 5.0
"""After so long without an operation the thread ends; the next operation starts another."""
SAMPLES_MAX: Final = 16_384
"""Operations noted before they are added up."""
LATENCIES_MAX: Final = 2_048
"""Of those, evenly spread, from which percentiles are taken."""
TIMEOUT_S: Final = 2.0


class Measuring:
    """What a region's operations took, gathered by any thread and told by one of its own."""

    def __init__(self, place: Place, lease: str) -> None:
        """`place` is where the node answers; the reports have a connection of their own."""
        self._place = place
        self._lease = lease
        self._noted: dict[Operation, _Noted] = {name: _Noted() for name in get_args(Operation)}
        self._sums: dict[Operation, _Sum] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def record(self, operation: Operation, moved: int, seconds: float) -> None:
        """An operation has moved so many bytes in so many seconds. Costs a fraction of a
        microsecond: it is called on the path of every operation."""
        noted = self._noted[operation]
        noted.bytes.append(moved)
        noted.seconds.append(seconds)
        if self._thread is None or len(noted.seconds) >= SAMPLES_MAX:
            self._attend()

    def close(self) -> None:
        """Tell no more."""
        self._stopped.set()

    def _attend(self) -> None:
        with self._lock:
            self._add_up()
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._tell_on, name="measuring", daemon=True)
                self._thread.start()

    def _add_up(self) -> None:
        """Under the lock. What is noted meanwhile stands behind what is taken here."""
        for operation, noted in self._noted.items():
            if noted.seconds:
                self._sums.setdefault(operation, _Sum()).add(
                    _taken(noted.bytes), _taken(noted.seconds)
                )

    def _tell_on(self) -> None:
        with closing(Rest(self._place)) as rest:
            self._report_on(rest)

    def _report_on(self, rest: Rest) -> None:
        pause_s, began, active = FIRST_S, time.monotonic(), time.monotonic()
        while not self._stopped.wait(pause_s):
            pause_s, now = INTERVAL_S, time.monotonic()
            with self._lock:
                self._add_up()
                told = list(self._sums.items())
                if not told and now - active > IDLE_S:
                    self._thread = None
                    return
            if not told:
                began = now
                continue
            active = now
            report = MeasurementReport(
                window_ms=max(1, int((now - began) * 1000)),
                measurements=[each.measurement(operation) for operation, each in told],
            )
            try:
                taken = rest.run(_report(self._lease, report))
            except HyperMeshError as error:
                if error.status < 429 and not isinstance(error, Unreachable):
                    # The node does not want to know: the lease is over, or it is an older node.
                    self._stopped.set()
                    return
                continue
            pause_s, began = max(INTERVAL_S, taken.next_ms / 1000), now
            with self._lock:
                for operation, each in told:
                    each.told()
                    if not each.count:
                        del self._sums[operation]


class _Noted:
    """Operations of one sort that are not added up yet. Threads append to the lists without a lock,
    so for an instant one may be longer than the other."""

    __slots__ = ("bytes", "seconds")

    def __init__(self) -> None:
        self.bytes: list[int] = []
        self.seconds: list[float] = []


class _Sum:
    """Operations of one sort since the last report that arrived."""

    def __init__(self) -> None:
        self.count = self.bytes = 0
        self.seconds = 0.0
        self._latencies: list[float] = []
        self._said: tuple[int, int, float, int] = (0, 0, 0.0, 0)

    def add(self, moved: list[int], seconds: list[float]) -> None:
        self.count += len(seconds)
        self.bytes += sum(moved)
        self.seconds += sum(seconds)
        self._latencies += seconds[:: max(1, len(seconds) // LATENCIES_MAX)]
        # While reports fail it must not grow; the newest count.
        del self._latencies[: -8 * LATENCIES_MAX]

    def measurement(self, operation: Operation) -> Measurement:
        self._said = (self.count, self.bytes, self.seconds, len(self._latencies))
        latencies = sorted(self._latencies)
        return Measurement(
            operation=operation,
            count=self.count,
            bytes=self.bytes,
            seconds=self.seconds,
            p50_us=round(latencies[len(latencies) // 2] * 1e6, 1),
            p99_us=round(latencies[len(latencies) * 99 // 100] * 1e6, 1),
        )

    def told(self) -> None:
        """What `measurement` said last has arrived."""
        count, moved, seconds, latencies = self._said
        self.count -= count
        self.bytes -= moved
        self.seconds = max(0.0, self.seconds - seconds)
        del self._latencies[:latencies]


def _taken(noted: list[T]) -> list[T]:
    """What is in the list now, taken out of it."""
    count = len(noted)
    taken = noted[:count]
    del noted[:count]
    return taken


def _report(lease: str, report: MeasurementReport) -> Call[MeasurementTaken]:
    path = f"/v1/leases/{lease}/measurements"
    return Call(MeasurementTaken, "POST", path, report, timeout_s=TIMEOUT_S)
