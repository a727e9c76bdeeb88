"""What the consumer measures: told from its process to its node, kept for minutes, paced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest

from hypermesh.node.measurements import (
    INTERVAL_MS,
    KEPT_MS,
    LEASES_MAX,
    POINTS_MAX,
    Measurements,
    ReportedTooSoon,
)
from hypermesh.node.memory_use import MemoryUse
from hypermesh.sdk import measuring
from hypermesh.sdk.measuring import Measuring
from hypermesh.wire.api.memory import Measurement, MeasurementReport
from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.asset import LeaseState
from hypermesh.wire.errors import HyperMeshError, NotFound

from .network import eventually

LEASE = b"l" * 32
MIB = 1 << 20


class Clock:
    now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def report(count: int = 10, moved: int = MIB) -> MeasurementReport:
    read = Measurement("read", count, moved, 0.001, 40.0, 90.0)
    return MeasurementReport(window_ms=500, measurements=[read])


# At the node


def test_the_newest_report_is_shown_with_its_age_and_totals() -> None:
    clock = Clock()
    kept = Measurements(clock)
    assert kept.newest(LEASE) is None
    assert kept.take(LEASE, report()).next_ms == INTERVAL_MS
    clock.now_ms += 500
    kept.take(LEASE, report(count=20, moved=2 * MIB))
    clock.now_ms += 700
    seen = kept.newest(LEASE)
    assert seen is not None
    assert seen.source == "measured by the consumer"
    assert (seen.age_ms, seen.bytes_read, seen.bytes_written) == (700, 3 * MIB, 0)
    assert seen.read is not None
    assert (seen.read.count, seen.read.per_s, seen.read.bytes_per_s) == (20, 40.0, 4.0 * MIB)
    assert seen.read.gigabytes_per_s == round(2 * MIB / 0.001 / 1e9, 3)
    assert (seen.write, seen.atomic) == (None, None)
    assert len(kept.series(LEASE)) == 2


def test_reports_are_paced() -> None:
    clock = Clock()
    kept = Measurements(clock)
    kept.take(LEASE, report())
    clock.now_ms += INTERVAL_MS // 2 - 1
    with pytest.raises(ReportedTooSoon) as refused:
        kept.take(LEASE, report())
    assert refused.value.status == 429
    assert len(kept.series(LEASE)) == 1
    kept.take(b"m" * 32, report())
    clock.now_ms += 1
    kept.take(LEASE, report())
    # A clock that was set back does not shut everybody out until it has caught up.
    clock.now_ms -= 60_000
    kept.take(LEASE, report())


def test_what_is_kept_is_bounded_in_time_and_number() -> None:
    clock = Clock()
    kept = Measurements(clock)
    for _ in range(POINTS_MAX + 50):
        kept.take(LEASE, report())
        clock.now_ms += INTERVAL_MS
    assert len(kept.series(LEASE)) == POINTS_MAX
    clock.now_ms += KEPT_MS // 2
    assert len(kept.series(LEASE)) <= POINTS_MAX // 2
    clock.now_ms += KEPT_MS
    assert kept.series(LEASE) == []
    assert kept.newest(LEASE) is None
    for number in range(LEASES_MAX):
        kept.take(number.to_bytes(32, "big"), report())
    assert kept.newest(LEASE) is None
    assert kept.newest((0).to_bytes(32, "big")) is not None


# In the consumer's process


class Node(BaseHTTPRequestHandler):
    """Answers reports over a UNIX socket, with the refusals that it is told to give first."""

    protocol_version = "HTTP/1.1"
    reports: ClassVar[list[MeasurementReport]]
    refusals: ClassVar[list[HyperMeshError]]
    asked: ClassVar[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.path == f"/v1/leases/{LEASE.hex()}/measurements"
        type(self).asked += 1
        if self.refusals:
            error = self.refusals.pop(0)
            self._answer(error.status, msgspec.json.encode(ProblemDetails.of(error)))
            return
        self.reports.append(msgspec.json.decode(body, type=MeasurementReport))
        self._answer(200, b'{"next_ms": 1}')

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The socket of such a node."""
    monkeypatch.setattr(measuring, "FIRST_S", 0.01)
    monkeypatch.setattr(measuring, "INTERVAL_S", 0.01)
    Node.reports, Node.refusals, Node.asked = [], [], 0
    _OTHERS.clear()
    _OTHERS.update(threading.enumerate())
    place = tmp_path / "hm.sock"
    with ThreadingUnixStreamServer(str(place), Node) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield place
        server.shutdown()
        thread.join()


def totals() -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for each in (each for report in list(Node.reports) for each in report.measurements):
        count, moved = found.get(each.operation, (0, 0))
        found[each.operation] = count + each.count, moved + each.bytes
    return found


def test_every_operation_of_every_thread_is_told_once(node: Path) -> None:
    measured = Measuring(node, LEASE.hex())
    each_thread = 3 * measuring.SAMPLES_MAX // 2

    def work() -> None:
        for number in range(each_thread):
            measured.record("read" if number % 2 else "write", 64, 1e-5)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    measured.record("atomic", 8, 2e-6)
    half = 4 * each_thread // 2
    expected = {"read": (half, 64 * half), "write": (half, 64 * half), "atomic": (1, 8)}
    eventually(lambda: totals() == expected, f"all of it is told: {expected}")
    measured.close()


def test_percentiles_and_times_are_those_of_the_operations(node: Path) -> None:
    measured = Measuring(node, LEASE.hex())
    for number in range(1000):
        measured.record("write", 1, 1e-3 if number >= 980 else 1e-5)
    eventually(lambda: totals().get("write") == (1000, 1000), "all of it is told")
    last = max(
        (each for report in Node.reports for each in report.measurements),
        key=lambda each: each.p99_us,
    )
    assert last.p99_us == 1000.0
    assert min(each.p50_us for report in Node.reports for each in report.measurements) == 10.0
    seconds = sum(each.seconds for report in Node.reports for each in report.measurements)
    assert seconds == pytest.approx(980 * 1e-5 + 20 * 1e-3)
    measured.close()


def test_what_a_node_would_not_take_now_is_told_later(node: Path) -> None:
    Node.refusals = [ReportedTooSoon(), ReportedTooSoon()]
    measured = Measuring(node, LEASE.hex())
    measured.record("read", 7, 1e-5)
    eventually(lambda: totals() == {"read": (1, 7)}, "it is told in the end")
    assert Node.asked == 3
    measured.close()


def test_a_node_that_does_not_want_to_know_is_left_alone(node: Path) -> None:
    Node.refusals = [NotFound("the lease is over")]
    measured = Measuring(node, LEASE.hex())
    measured.record("read", 7, 1e-5)
    eventually(lambda: Node.asked == 1, "it was asked")
    eventually(lambda: not _thread_runs(), "its thread has ended")
    for _ in range(3 * measuring.SAMPLES_MAX):
        measured.record("read", 7, 1e-5)
    assert not _thread_runs()
    assert Node.asked == 1


def test_an_idle_region_has_no_thread_and_gets_one_again(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "IDLE_S", 0.0)
    measured = Measuring(node, LEASE.hex())
    measured.record("read", 7, 1e-5)
    eventually(lambda: totals() == {"read": (1, 7)}, "it is told")
    eventually(lambda: not _thread_runs(), "its thread has ended")
    measured.record("read", 7, 1e-5)
    eventually(lambda: totals() == {"read": (2, 14)}, "it is told again")
    measured.close()


def test_without_a_node_nothing_fails_and_nothing_grows(tmp_path: Path) -> None:
    measured = Measuring(tmp_path / "nobody", LEASE.hex())
    for _ in range(10 * measuring.SAMPLES_MAX):
        measured.record("read", 7, 1e-5)
    kept = measured._noted["read"]
    assert max(len(kept.bytes), len(kept.seconds)) <= measuring.SAMPLES_MAX
    assert all(
        len(each._latencies) <= 8 * measuring.LATENCIES_MAX for each in measured._sums.values()
    )
    measured.close()


def _thread_runs() -> bool:
    """Of this test's, that is: regions of others in this process may have theirs."""
    return any(
        thread.name == "measuring" and thread not in _OTHERS for thread in threading.enumerate()
    )


_OTHERS: set[threading.Thread] = set()


# What the host counts


class Counting:
    """A host of many leases, one after another."""

    def __init__(self) -> None:
        self.leases: dict[bytes, Any] = {}
        self.ledger = self
        self.counted = 0

    def held(self) -> Counting:
        return self

    def counters(self, _: bytes) -> tuple[int, int, int]:
        self.counted += 1
        return self.counted, 0, self.counted

    def lend(self, lease: bytes) -> None:
        row = SimpleNamespace(
            asset=b"a" * 16, host=b"n" * 32, consumer=b"c" * 32, state=LeaseState.ACTIVE,
            amount=1, opened_ms=1, ends_ms=2,
        )  # fmt: skip
        self.leases = {lease: row}


def test_what_was_counted_of_a_lease_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    host: Any = Counting()
    membership: Any = SimpleNamespace(
        owner=b"o" * 32, genesis_id=b"g" * 32, keys=SimpleNamespace(id=b"n" * 32)
    )
    use = MemoryUse(membership, host, host, host, Measurements(Clock()), lambda _: "")
    monkeypatch.setattr(use, "_is_memory", lambda _: True)
    for number in range(100):
        host.lend(number.to_bytes(32, "big"))
        for _ in range(50):
            assert use.live()[0].counted is not None
    assert len(use._counts) == 1
    # And of one that anybody asks for again and again, few counts are remembered.
    (counts,) = use._counts.values()
    assert len(counts) < 50
