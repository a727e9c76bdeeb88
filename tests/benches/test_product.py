"""The judgements of the product benchmarks, without a node: each tells wrong from right."""

from __future__ import annotations

import importlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHES = Path(__file__).resolve().parents[2] / "benches"
Import = Callable[[str], ModuleType]


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch) -> Import:
    monkeypatch.syspath_prepend(str(BENCHES))
    return lambda name: importlib.import_module(f"measures.{name}")


# Series


def test_the_slope_is_per_minute(measures: Import) -> None:
    series = measures("series")
    at_s = [10.0 * step for step in range(30)]
    assert series.slope_per_minute(at_s, [100 + 2.5 * at / 60 for at in at_s]) == pytest.approx(2.5)
    assert series.slope_per_minute(at_s, [7.0] * 30) == 0


def test_a_slope_sees_a_leak_through_noise(measures: Import) -> None:
    series = measures("series")
    at_s = [float(step) for step in range(600)]
    noisy = [100 + 1.5 * at / 60 + (3 if int(at) % 2 else -3) for at in at_s]
    assert series.slope_per_minute(at_s, noisy) > 1


@pytest.mark.parametrize("at_s", [[], [1.0], [1.0, 1.0]])
def test_there_is_no_slope_without_time(measures: Import, at_s: list[float]) -> None:
    with pytest.raises(ValueError, match="two different times"):
        measures("series").slope_per_minute(at_s, at_s)


def test_growth_is_what_stays(measures: Import) -> None:
    series = measures("series")
    assert series.growth([5, 5, 5, 9, 40, 5, 9, 5, 5, 5, 5, 9]) == 0
    assert series.growth([5, 5, 6, 7, 8, 9, 15, 15]) == 10
    with pytest.raises(ValueError, match="four"):
        series.growth([1, 2, 3])


def test_warming_up_does_not_count(measures: Import) -> None:
    settled = measures("series").settled
    assert settled([5, 30, 55, 80], [1, 2, 3, 4], 25) == ([30, 55, 80], [2, 3, 4])
    assert settled([5, 30, 55, 80], [1, 2, 3, 4], 300) == ([55, 80], [3, 4])


def test_availability_is_a_share_of_what_was_tried(measures: Import) -> None:
    series = measures("series")
    assert series.percent(999, 1) == pytest.approx(99.9)
    with pytest.raises(ValueError, match="nothing"):
        series.percent(0, 0)


# What was acknowledged


def test_a_transfer_that_is_not_on_a_ledger_is_lost(measures: Import) -> None:
    promised = measures("promised")
    given = [promised.Payment("aa", 3, 1, "one"), promised.Payment("bb", 4, 1, "two")]
    held = [promised.Entry("aa", 3, 1, "ok", "one"), promised.Entry("bb", 4, 1, "ok", "two")]
    unanswered = promised.Entry("cc", 5, 1, "ok", "three")
    assert promised.missing_payments(given, [*held, unanswered]) == []
    assert promised.missing_payments(given, held[:1]) == ["transfer bb is not there"]
    moved = promised.Entry("bb", 5, 1, "ok", "two")
    assert promised.missing_payments(given, [held[0], moved]) == ["transfer bb is at 5.1"]
    refused = promised.Entry("bb", 4, 1, "HM-TX-0001", "two")
    assert promised.missing_payments(given, [held[0], refused]) == ["transfer bb is not there"]


def test_a_payment_that_took_place_twice_is_seen(measures: Import) -> None:
    promised = measures("promised")
    held = [promised.Entry("aa", 3, 1, "ok", "one"), promised.Entry("ab", 9, 1, "ok", "one")]
    assert promised.missing_payments([], held) == ["one was paid 2 times"]


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        ({"j": ("done", "42\n")}, ""),
        ({}, "unknown"),
        ({"j": ("running", "")}, "is running"),
        ({"j": ("lost", "")}, "was done and is lost"),
        ({"j": ("done", "41\n")}, "said '41"),
    ],
)
def test_a_job_is_known_over_and_true(
    measures: Import, found: dict[str, tuple[str, str]], wrong: str
) -> None:
    finals = frozenset({"done", "failed", "lost"})
    said = measures("promised").wrong_jobs({"j": "bob"}, {"j": "done"}, found, finals, "42\n")
    assert (wrong in "".join(said)) if wrong else said == []


@pytest.mark.parametrize(
    ("found", "count"),
    [
        ({"l": ("settled", 5)}, 0),
        ({}, 1),
        ({"l": ("settled", 6)}, 1),
        ({"l": ("active", None)}, 1),
    ],
)
def test_a_settled_lease_stays_as_it_was(
    measures: Import, found: dict[str, tuple[str, int | None]], count: int
) -> None:
    assert len(measures("promised").wrong_leases({"l": ("bob", 5)}, found)) == count


@pytest.mark.parametrize(
    ("found", "count"), [({"l": b"kept"}, 0), ({"l": b"kepT"}, 1), ({"l": "gone"}, 1), ({}, 1)]
)
def test_kept_bytes_are_all_there(
    measures: Import, found: dict[str, bytes | str], count: int
) -> None:
    promised = measures("promised")
    assert len(promised.wrong_bytes([promised.Kept("bob", "l", b"kept")], found)) == count


# The plan of the soak


def test_a_node_dies_every_half_minute_and_the_sequencer_in_the_first_quarter(
    measures: Import,
) -> None:
    plan = measures("soak").victims(20.0)
    assert [at for at, _ in plan] == [30.0 * turn for turn in range(1, 40)]
    assert {name for _, name in plan} == {"alice", "bob"}
    assert {name for at, name in plan if at > 300} == {"bob"}
    assert sum(name == "alice" for _, name in plan) == 3


# The load


class Server:
    """Answers each connection's requests from a list, then closes it."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = self._listener.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            for answer in self._answers:
                if not connection.recv(1 << 16):
                    return
                # In two pieces: an answer is whole only with its last byte.
                connection.sendall(answer[:20])
                connection.sendall(answer[20:])

    def close(self) -> None:
        self._listener.close()
        self._thread.join(10)


def answer(status: str, body: bytes, *headers: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}".encode(), b"content-length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


@pytest.fixture
def driven(measures: Import) -> Callable[..., Any]:
    """What one client of a server with these answers finds."""

    def drive(*answers: bytes) -> Any:
        load = measures("load")
        server = Server(*answers)
        right = load.Request(b"GET / HTTP/1.1\r\n\r\n", lambda s, b: (s, b) == (200, b"right"))
        try:
            return load.closed_loop(server.place, [iter([right] * len(answers))])
        finally:
            server.close()

    return drive


def test_right_answers_count_and_a_wrong_one_is_kept(driven: Callable[..., Any]) -> None:
    outcome = driven(
        answer("200 OK", b"right"), answer("200 OK", b"wrong"), answer("500 x", b"right")
    )
    assert outcome.good == 1
    assert len(outcome.wrong) == 2
    assert len(outcome.taken_s) == 1


def test_a_refusal_without_retry_after_is_seen(driven: Callable[..., Any]) -> None:
    outcome = driven(
        answer("503 x", b"", b"Retry-After: 1"),
        answer("429 x", b""),
        answer("503 x", b"", b"retry-after: 2", b"x-other: 1"),
    )
    assert (outcome.good, outcome.refused, outcome.without_retry) == (0, 3, 1)
    assert outcome.wrong == []


def test_a_closed_connection_is_no_answer(measures: Import, driven: Callable[..., Any]) -> None:
    cut = answer("200 OK", b"right")[:-2]
    with pytest.raises(measures("load").Broken):
        driven(cut)


def test_a_flood_is_not_held_back_by_answers_that_do_not_come(measures: Import) -> None:
    load = measures("load")
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        requests = iter([load.Request(b"GET / HTTP/1.1\r\n\r\n", lambda _s, _b: True)] * 100)
        outcome = load.open_loop(listener.getsockname(), requests, 200.0, 5, 0.3)
    finally:
        listener.close()
    assert outcome.good == 0
    assert outcome.unsent >= 50


# The API


def test_a_read_is_judged_by_status_and_member(measures: Import) -> None:
    api = measures("api")
    request = api.asked("/v1/network", b"", api._Status, lambda found: found.node == "aa")
    assert request.content == b"GET /v1/network HTTP/1.1\r\n\r\n"
    assert request.check(200, b'{"node":"aa","name":"x"}')
    assert not request.check(200, b'{"node":"ab"}')
    assert not request.check(404, b'{"node":"aa"}')
    assert not request.check(200, b"{}")
    assert not request.check(200, b"not json")


def test_a_write_counts_when_it_was_accepted(measures: Import) -> None:
    accepted = measures("api").accepted
    assert accepted(201, b'{"tx":"aa","code":"ok"}')
    assert not accepted(201, b'{"tx":"aa","code":"HM-CONSENSUS-0001"}')
    assert not accepted(503, b'{"code":"HM-0008"}')
