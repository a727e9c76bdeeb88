"""Records of jobs: their steps, what is shown of them, and what a file of them keeps."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.assets.adapters.adapter import NotHeld
from hypermesh.catalog.output import Output
from hypermesh.node import jobs, jobs_kept
from hypermesh.node.executing import Executing
from hypermesh.node.jobs import Record, Said
from hypermesh.node.jobs_kept import JobsNotKept, KeptJobs, forget_programs
from hypermesh.wire.api.job import (
    FINAL,
    JobState,
    JobSubmit,
    NodeWentDown,
    ProviderLost,
    UnknownJob,
)
from hypermesh.wire.errors import Conflict, Forbidden, InvalidInput, NotFound
from hypermesh.wire.rpc import (
    JobCancelRequest,
    JobLimits,
    JobOutputRequest,
    JobRequest,
    JobResult,
)

SUBMIT = JobSubmit(engine="python", program=b"print(1)".hex(), result_bytes=8)
RESULT = JobResult("python", 0, "exited", b"", b"", 5000, 4000, 1 << 20, "bwrap", "cgroup1", "x")


def accepted() -> Record:
    return jobs.accepted(secrets.token_bytes(16), SUBMIT, 1000)


def running() -> Record:
    leasing = jobs.moved(accepted(), JobState.LEASING, asset=bytes(16), provider=bytes(32))
    return jobs.moved(leasing, JobState.RUNNING, lease=bytes(32))


def replaced(value: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(value, **fields)


# The steps


@pytest.mark.parametrize("last", sorted(FINAL))
def test_nothing_follows_the_end(last: JobState) -> None:
    over = replaced(accepted(), state=last)
    for state in JobState:
        with pytest.raises(AssertionError):
            jobs.moved(over, state)


def test_a_program_that_was_answered_for_never_runs_again() -> None:
    settling = jobs.answered(running(), RESULT)
    for state in (JobState.QUEUED, JobState.LEASING, JobState.RUNNING):
        with pytest.raises(AssertionError):
            jobs.moved(settling, state)


@pytest.mark.parametrize(
    ("change", "cancelled", "state", "reason"),
    [
        ({}, False, JobState.DONE, "exited"),
        ({}, True, JobState.DONE, "exited"),
        ({"exit_code": 3}, False, JobState.FAILED, "exited"),
        ({"exit_code": 137, "reason": "deadline"}, False, JobState.FAILED, "deadline"),
        ({"exit_code": 137, "reason": "killed"}, False, JobState.FAILED, "killed"),
        ({"exit_code": 137, "reason": "killed"}, True, JobState.CANCELLED, "cancelled"),
        ({"result": bytes(8), "result_cut_bytes": 2}, False, JobState.FAILED, "exited"),
    ],
)
def test_how_a_job_ends(
    change: dict[str, Any], cancelled: bool, state: JobState, reason: str
) -> None:
    result = replaced(RESULT, **change)
    over = jobs.finished(jobs.answered(running(), result), 2000, cancelled=cancelled)
    assert (over.state, over.reason, over.ended_ms) == (state, reason, 2000)
    shown = jobs.view(over, Said(b"", b"", result.result), "bob")
    assert (shown.failure is None) == (state is JobState.DONE)
    if result.result_cut_bytes:
        assert over.problem is not None
        assert (over.problem.code, shown.result) == ("HM-JOB-0010", None)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ProviderLost("bob went away"), JobState.LOST, "provider_lost"),
        (NodeWentDown(), JobState.LOST, "node_down"),
        (NotFound("nobody has room"), JobState.FAILED, "refused"),
    ],
)
def test_how_a_job_is_cut_short(error: Any, state: JobState, reason: str) -> None:
    over = jobs.cut_short(running(), error, 2000)
    assert (over.state, over.reason) == (state, reason)
    failure = jobs.view(over, Said(), None).failure
    assert type(failure) is type(error)
    assert failure is not None
    assert (failure.what, failure.exit_code) == (error.what, error.exit_code)


# Text and bytes


@given(st.text(max_size=40), st.integers(0, 200))
def test_pieces_of_text_are_whole_characters_and_nothing_is_lost(said: str, cut: int) -> None:
    data = said.encode()
    first = jobs.whole(data[:cut])
    assert data.startswith(first)
    assert len(data[:cut]) - len(first) < 4
    assert first.decode() + data[len(first) :].decode() == said


@given(st.binary(max_size=60))
def test_bytes_that_are_no_text_survive(data: bytes) -> None:
    over = jobs.finished(jobs.answered(running(), RESULT), 2000, cancelled=False)
    shown = msgspec.json.decode(
        msgspec.json.encode(jobs.view(over, Said(data, data), "bob")), type=type(_view())
    )
    assert shown.stdout_data == shown.stderr_data == data
    piece = jobs.piece(over, data, b"", (5, 0))
    assert (piece.stdout_data, piece.stdout_next) == (data, 5 + len(data))


def _view() -> Any:
    return jobs.view(running(), Said(), None)


def test_a_lone_half_of_a_character_waits_and_comes_with_the_end() -> None:
    going = jobs.piece(running(), b"a\xe2\x82", b"", (0, 0))
    assert (going.stdout, going.stdout_next, going.ended) == ("a", 1, False)
    over = jobs.cut_short(running(), NodeWentDown(), 1)
    ended = jobs.piece(over, b"\xe2\x82", b"", (1, 0))
    assert (ended.stdout_data, ended.ended) == (b"\xe2\x82", True)


# What is kept


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    kept = KeptJobs(tmp_path / "jobs.sqlite")
    waited, queued = accepted(), accepted()
    kept.add(waited, None)
    kept.add(queued, SUBMIT)
    settling = jobs.answered(replaced(running(), job=waited.job), RESULT)
    kept.keep(settling, owed=True, said=Said(b"out", b"\xff", b"r"))
    kept.note(jobs.finished(settling, 2000, cancelled=False), owed=True)
    kept.close()

    again = KeptJobs(tmp_path / "jobs.sqlite")
    assert (tmp_path / "jobs.sqlite").stat().st_mode & 0o777 == 0o600
    assert again.get(waited.job).state is JobState.DONE
    assert again.said(waited.job) == Said(b"out", b"\xff", b"r")
    assert [each.job for each in again.unfinished()] == [queued.job]
    assert again.submitted(queued.job) == SUBMIT
    assert again.submitted(waited.job) is None
    assert [each.job for each in again.owed()] == [waited.job]
    again.keep(jobs.settled(again.get(waited.job), 7, 1), owed=False)
    assert again.owed() == []
    assert again.said(waited.job).stdout == b"out"
    with pytest.raises(UnknownJob):
        again.get(bytes(16))
    again.close()


def test_what_is_acknowledged_is_synced_and_steps_on_the_way_are_not(tmp_path: Path) -> None:
    """By what SQLite itself was told at each commit; the syncs are its own."""
    kept = KeptJobs(tmp_path / "jobs.sqlite")
    told: list[str] = []
    kept._database.set_trace_callback(lambda said: told.append(said) if "synchr" in said else None)
    record = accepted()
    kept.add(record, SUBMIT)
    kept.note(jobs.moved(record, JobState.LEASING), owed=False)
    kept.note(jobs.moved(record, JobState.LEASING), owed=False, durable=True)
    kept.add(accepted(), None)
    kept.keep(jobs.cancelled(record, 2), owed=False)
    strengths = [each.rsplit(" ")[-1] for each in told]
    assert strengths == ["FULL", "NORMAL", "FULL", "NORMAL", "FULL"]
    kept.close()


def test_pages_newest_first(tmp_path: Path) -> None:
    kept = KeptJobs(tmp_path / "jobs.sqlite")
    records = [accepted() for _ in range(7)]
    for record in records:
        kept.add(record, None)
    kept.keep(jobs.cancelled(records[2], 5), owed=False)
    seen: list[bytes] = []
    cursor = None
    while found := kept.newest(None, cursor, 3):
        seen += [each.record.job for each in found]
        cursor = str(found[-1].number)
    assert seen == [each.job for each in reversed(records)]
    only = kept.newest(JobState.CANCELLED, None, 3)
    assert [each.record.job for each in only] == [records[2].job]
    for bad in ("x", "-1", "1" * 40, "", "٣"):
        with pytest.raises(InvalidInput):
            kept.newest(None, bad, 3)
    kept.close()


def test_the_oldest_that_are_over_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that runs nor one whose lease is not settled is ever dropped."""
    monkeypatch.setattr(jobs_kept, "JOBS_KEPT_MAX", 4)
    monkeypatch.setattr(jobs_kept, "OUTPUT_BYTES_KEPT_MAX", 1000)
    kept = KeptJobs(tmp_path / "jobs.sqlite")
    going, owed = accepted(), accepted()
    kept.add(going, None)
    kept.add(owed, None)
    kept.keep(jobs.cancelled(owed, 5), owed=True)
    over = [accepted() for _ in range(6)]
    for record in over:
        kept.add(record, None)
        kept.keep(jobs.cancelled(record, 5), owed=False, said=Said(bytes(100)))
    left = {each.record.job for each in kept.newest(None, None, 50)}
    assert left == {going.job, owed.job, over[4].job, over[5].job}
    assert kept.said(over[0].job) == Said()
    big = accepted()
    kept.add(big, None)
    kept.keep(jobs.cancelled(big, 5), owed=False, said=Said(bytes(950)))
    left = {each.record.job for each in kept.newest(None, None, 50)}
    assert left == {going.job, owed.job, big.job}
    kept.close()


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite"
    file.write_bytes(b"no database, and long enough to be read as one" * 20)
    with pytest.raises(JobsNotKept, match=r"jobs\.sqlite cannot be used"):
        KeptJobs(file)


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    kept = KeptJobs(tmp_path / "jobs.sqlite")
    record = accepted()
    kept.add(record, SUBMIT)
    before = kept._count, kept._bytes
    with pytest.raises(JobsNotKept):
        kept.add(record, SUBMIT)  # the same id once more
    assert (kept._count, kept._bytes) == before
    assert kept.get(record.job) == record
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    database.close()
    kept.close()


# At the provider


class Slow:
    """A ladder whose jobs say one thing and run until they are cancelled."""

    def __init__(self) -> None:
        self.said = threading.Event()

    def run(self, request: JobRequest, cancellation: Any, output: Output) -> JobResult:
        assert request.job == REQUEST.job
        output.take(output.stdout, b"hello")
        self.said.set()
        while not cancellation.cancelled:
            threading.Event().wait(0.005)
        return replaced(RESULT, reason="killed", exit_code=137)


REQUEST = JobRequest(bytes(32), 1, "python", b"x", [], b"", JobLimits(1, 1 << 20, 1, 10), bytes(16))


@pytest.fixture
def provider() -> Any:
    ladder = Slow()
    executing = Executing(ladder)  # type: ignore[arg-type]
    spent: list[int] = []
    answer: list[JobResult] = []
    thread = threading.Thread(
        target=lambda: answer.append(
            executing.run(b"session", REQUEST, lambda _: None, lambda did: spent.append(did.cpu_us))
        )
    )
    thread.start()
    assert ladder.said.wait(10)
    yield SimpleNamespace(executing=executing, spent=spent, answer=answer, thread=thread)
    with executing.ended(bytes(32)):
        thread.join(10)


def asked(stdout: int = 0, wait_ms: int = 0) -> JobOutputRequest:
    return JobOutputRequest(bytes(32), bytes(16), stdout, 0, wait_ms)


def test_only_the_session_of_the_lease_reads_and_ends_a_job(provider: Any) -> None:
    executing = provider.executing
    assert executing.output(b"session", asked()).stdout == b"hello"
    with pytest.raises(Forbidden):
        executing.output(b"other", asked())
    with pytest.raises(Forbidden):
        executing.cancel(b"other", JobCancelRequest(bytes(32), bytes(16)))
    assert provider.thread.is_alive()
    # The same id under another lease is another job.
    elsewhere = replaced(asked(), lease=b"\1" * 32)
    assert executing.output(b"session", elsewhere) == executing.output(b"other", elsewhere)
    assert executing.cancel(b"session", JobCancelRequest(bytes(32), bytes(16))).running
    provider.thread.join(10)
    assert provider.answer[0].reason == "killed"
    assert executing.output(b"session", asked()).ended
    assert not executing.cancel(b"session", JobCancelRequest(bytes(32), bytes(16))).running


def test_a_newer_reader_sends_the_older_one_away(provider: Any) -> None:
    """So that readers of one job hold one thread of the provider, however many ask."""
    executing = provider.executing
    first = threading.Thread(target=lambda: executing.output(b"session", asked(5, 30_000)))
    first.start()
    while executing._jobs[bytes(32), bytes(16)].reader is None:
        threading.Event().wait(0.005)
    executing.output(b"session", asked(5, 1))
    first.join(10)
    assert not first.is_alive()


def test_the_end_of_a_lease_ends_its_jobs_and_their_time_is_spent(provider: Any) -> None:
    with provider.executing.ended(bytes(32)):
        pass
    assert provider.spent == [RESULT.cpu_us]
    provider.thread.join(10)
    assert provider.answer[0].reason == "killed"


def test_one_id_runs_once_at_a_time(provider: Any) -> None:
    with pytest.raises(Conflict):
        provider.executing.run(b"session", REQUEST, lambda _: None, lambda _: None)


def test_what_a_lease_admits_is_asked_of_all_its_jobs_together(provider: Any) -> None:
    """Each in a cgroup of its own, many jobs would else have the lease's share many times over."""
    asked_for: list[int] = []

    def refuse(together: int) -> None:
        asked_for.append(together)
        raise NotHeld

    second = replaced(REQUEST, job=b"2" * 16, limits=replaced(REQUEST.limits, cpu_millicores=30))
    elsewhere = replaced(second, lease=b"\1" * 32)
    for request in (second, second, elsewhere):
        with pytest.raises(NotHeld):
            provider.executing.run(b"session", request, refuse, lambda _: None)
    assert asked_for == [31, 31, 30]


def test_no_job_begins_while_its_lease_is_settled_nor_after() -> None:
    """The instant between the last look at the lease and the start of the program."""
    executing = Executing(Slow())  # type: ignore[arg-type]
    spent: list[JobResult] = []
    released = threading.Event()

    def allow(_: int) -> None:
        if released.is_set():
            raise NotHeld

    with executing.ended(REQUEST.lease):
        with pytest.raises(Conflict, match="settled"):
            executing.run(b"session", REQUEST, allow, spent.append)
        with executing.ended(REQUEST.lease):
            pass
        with pytest.raises(Conflict, match="settled"):
            executing.run(b"session", REQUEST, allow, spent.append)
        released.set()
    with pytest.raises(NotHeld):
        executing.run(b"session", REQUEST, allow, spent.append)
    assert not spent
    assert not executing._jobs
    assert not executing._ending


def test_what_is_forgotten_is_never_run(tmp_path: Path) -> None:
    """As a restore does: what waited at the time of the backup may have been run since."""
    file = tmp_path / "jobs.sqlite"
    kept = KeptJobs(file)
    record = accepted()
    kept.add(record, SUBMIT)
    kept.close()
    forget_programs(file)
    kept = KeptJobs(file)
    assert kept.submitted(record.job) is None
    assert kept.unfinished() == [record]
    kept.close()
