"""The queue of a node's jobs: its bounds, its order, and what a restart finds in it.

The providers here are one that grants nothing until it is told to, so nothing is ever sent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hypermesh.node import running
from hypermesh.node.jobs_active import Active
from hypermesh.node.jobs_kept import JobsNotKept, KeptJobs
from hypermesh.node.jobs_owing import Owing
from hypermesh.node.placing import Attempt
from hypermesh.node.running import Running
from hypermesh.node.trouble import state_of
from hypermesh.wire.api.job import (
    JobCancelled,
    JobState,
    JobSubmit,
    NodeWentDown,
    NoProvider,
    ProvidersBusy,
    UnknownJob,
)
from hypermesh.wire.errors import HyperMeshError, InvalidInput, Overloaded, Unreachable

SUBMIT = JobSubmit(engine="python", program=b"print(1)".hex())


class Providers:
    """All taken, until one is to refuse for good."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.refusal: HyperMeshError = ProvidersBusy()

    def candidates(self, job: JobSubmit) -> dict[bytes, bytes]:
        assert job == SUBMIT
        self.asked.release()
        raise self.refusal

    @contextmanager
    def attempt(self, hosts: Any) -> Iterator[Attempt]:
        raise AssertionError(f"nothing was to be tried at {hosts}")
        yield


def opened(directory: Path, providers: Providers, *, settled: bool = True) -> Running:
    nothing: Any = None
    return Running(
        nothing,
        nothing,
        providers,  # type: ignore[arg-type]
        KeptJobs(directory / "jobs.sqlite"),
        nothing,
        lambda _: "nobody",
        nothing,
        lambda: settled,
    )


@pytest.fixture
def providers() -> Providers:
    return Providers()


@pytest.fixture
def queue(
    tmp_path: Path, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    monkeypatch.setattr(running, "RUNNERS", 2)
    monkeypatch.setattr(running, "QUEUED_MAX", 3)
    monkeypatch.setattr(running, "ROOM_WAIT_S", 0.01)
    monkeypatch.setattr(running, "OWED_S", 0.1)
    opening = opened(tmp_path, providers)
    opening.start()
    yield opening
    opening.stop()
    opening.close()


def over(queue: Running, job: str) -> Any:
    async def wait() -> Any:
        while not (await queue.output(job, 0, 0, 1000)).ended:
            pass
        return queue.get(job)

    return asyncio.run(asyncio.wait_for(wait(), 30))


def test_a_job_that_finds_no_room_waits_for_it(queue: Running, providers: Providers) -> None:
    job = queue.submit(SUBMIT)
    for _ in range(3):
        assert providers.asked.acquire(timeout=30)
    assert queue.get(job.job).state is JobState.QUEUED
    providers.refusal = NoProvider("never")
    ended = over(queue, job.job)
    assert (ended.state, ended.reason, ended.problem.code) == ("failed", "refused", "HM-JOB-0015")
    assert ended.lease is None


def test_a_queue_is_bounded_and_says_so(queue: Running) -> None:
    accepted = [queue.submit(SUBMIT).job for _ in range(5)]
    with pytest.raises(Overloaded, match="5 jobs"):
        queue.submit(SUBMIT)
    queue.cancel(accepted[0])
    queue.submit(SUBMIT)
    with pytest.raises(Overloaded):
        queue.submit(SUBMIT)
    assert len(queue.page(None, None, 50).items) == 6


def test_one_that_is_waited_for_does_not_queue(
    queue: Running, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PATIENCE_S", 0.05)
    with pytest.raises(ProvidersBusy):
        asyncio.run(queue.run(SUBMIT))
    assert [each.state for each in queue.page(None, None, 9).items] == [JobState.FAILED]
    for _ in range(2):
        queue.submit(SUBMIT)
    with pytest.raises(Overloaded, match="2 jobs"):
        asyncio.run(queue.run(SUBMIT))


@pytest.mark.parametrize("waits", [True, False])
def test_what_cannot_be_read_takes_no_place(queue: Running, waits: bool) -> None:
    for _ in range(10):
        bad = JobSubmit(engine="python", program="zz")
        with pytest.raises(InvalidInput):
            asyncio.run(queue.run(bad)) if waits else queue.submit(bad)
    assert queue.page(None, None, 9).items == []
    assert len([queue.submit(SUBMIT) for _ in range(5)]) == 5


def test_every_queued_job_can_be_cancelled(queue: Running) -> None:
    """Those that a runner has, and those that wait for one."""
    accepted = [queue.submit(SUBMIT).job for _ in range(5)]
    for job in reversed(accepted):
        ended = queue.cancel(job)
        assert (ended.state, ended.reason, ended.paid) == (JobState.CANCELLED, "cancelled", None)
        assert isinstance(ended.failure, JobCancelled)
    with pytest.raises(UnknownJob):
        queue.cancel("0" * 32)
    with pytest.raises(InvalidInput):
        queue.cancel("nothing")


def test_a_queue_outlives_its_node(
    tmp_path: Path, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "ROOM_WAIT_S", 0.01)
    before = opened(tmp_path, providers)
    jobs = [before.submit(SUBMIT).job for _ in range(3)]
    before.stop()
    with pytest.raises(NodeWentDown):
        before.submit(SUBMIT)
    before.close()

    providers.refusal = NoProvider("never")
    again = opened(tmp_path, providers)
    try:
        assert [again.get(job).state for job in jobs] == [JobState.QUEUED] * 3
        again.start()
        for job in jobs:
            assert over(again, job).problem.code == "HM-JOB-0015"
    finally:
        again.stop()
        again.close()


def test_nothing_is_run_before_the_node_can_lease(tmp_path: Path, providers: Providers) -> None:
    before = opened(tmp_path, providers)
    job = before.submit(SUBMIT).job
    before.stop()
    before.close()
    while providers.asked.acquire(blocking=False):
        pass
    again = opened(tmp_path, providers, settled=False)
    again.start()
    assert not providers.asked.acquire(timeout=0.3)
    assert again.get(job).state is JobState.QUEUED
    again.stop()
    again.close()


def test_a_reader_waits_for_what_comes_and_no_longer_than_asked(queue: Running) -> None:
    job = queue.submit(SUBMIT).job

    async def read() -> Any:
        piece = await queue.output(job, 0, 0, 20)
        assert (piece.ended, piece.stdout, piece.state) == (False, "", JobState.QUEUED)
        waiting = asyncio.create_task(queue.output(job, 0, 0, 30_000))
        await asyncio.to_thread(queue.cancel, job)
        return await asyncio.wait_for(waiting, 20)

    assert asyncio.run(read()).state is JobState.CANCELLED


def test_readers_are_bounded(queue: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "READERS_MAX", 1)
    job = queue.submit(SUBMIT).job

    async def read() -> None:
        waiting = asyncio.create_task(queue.output(job, 0, 0, 30_000))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await queue.output(job, 0, 0, 1)
        await asyncio.to_thread(queue.cancel, job)
        assert (await waiting).ended

    asyncio.run(read())


def test_an_end_that_could_not_be_written_is_written_later(
    queue: Running, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the wrong moment leaves no job under way for ever."""
    job = queue.submit(SUBMIT).job
    is_full = threading.Event()
    keep = KeptJobs.keep

    def full(kept: KeptJobs, *arguments: Any, **rest: Any) -> None:
        if is_full.is_set():
            raise JobsNotKept
        keep(kept, *arguments, **rest)

    monkeypatch.setattr(KeptJobs, "keep", full)
    is_full.set()
    assert queue.cancel(job).state is JobState.QUEUED
    is_full.clear()
    deadline = time.monotonic() + 30
    while not (ended := queue.get(job)).ended_ms:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (ended.state, ended.reason) == (JobState.LOST, "node_down")


def test_a_job_that_is_taken_in_while_the_node_goes_down_is_not_refused(
    tmp_path: Path, providers: Providers
) -> None:
    """The instant between the durable write and the queue: it is there, so it is acknowledged."""
    before = opened(tmp_path, providers)
    before._pool.shutdown()
    job = before.submit(SUBMIT).job
    with pytest.raises(NodeWentDown):
        asyncio.run(before.run(SUBMIT))
    assert before._places == 1
    before.stop()
    before.close()

    providers.refusal = NoProvider("never")
    again = opened(tmp_path, providers)
    again.start()
    assert over(again, job).problem.code == "HM-JOB-0015"
    again.stop()
    again.close()


@pytest.mark.parametrize("waits", [True, False])
def test_the_step_before_a_program_is_sent_outlasts_a_loss_of_power(
    queue: Running, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next start would send it again. One that is waited for is never run again anyway."""
    strengths: list[bool] = []
    active = queue._accept(SUBMIT, is_waited_for=waits)
    monkeypatch.setattr(queue._kept, "note", lambda *_, durable, **__: strengths.append(durable))
    queue._step(active, JobState.LEASING)
    queue._step(active, JobState.RUNNING)
    assert strengths == [False, not waits]
    monkeypatch.undo()
    queue.cancel(active.record.job.hex())


class Busy:
    """A provider that answers, and has no time: then one that answers no more."""

    is_open = True

    def __init__(self, active: Active, error: HyperMeshError, answers: int) -> None:
        self.active = active
        self.error = error
        self.left = answers
        self.is_given_up = False

    def output(self, *_: int) -> None:
        self.left -= 1
        if not self.left:
            self.active.session = None
        raise self.error

    def close(self) -> None:
        self.is_given_up = True


@pytest.mark.parametrize(
    ("error", "lost"), [(Overloaded(), False), (Unreachable("no answer"), True)], ids=str
)
def test_a_provider_that_answers_is_not_given_up(
    queue: Running, error: HyperMeshError, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it answers: one that has too much to do is alive."""
    monkeypatch.setattr(running, "SILENCE_S", 0.1)
    monkeypatch.setattr(running, "AGAIN_S", 0.02)
    active = queue._accept(SUBMIT, is_waited_for=False)
    session: Any = Busy(active, error, 20)
    active.session = session
    active.stir.set()
    queue._follow(active, session)
    assert session.is_given_up is lost
    queue.cancel(active.record.job.hex())


def test_what_settles_leases_goes_on_whatever_happens(
    queue: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Semaphore(0)

    def broken(*_: object) -> bool:
        tried.release()
        raise ZeroDivisionError

    monkeypatch.setattr(Owing, "settle", broken)
    for _ in range(2):
        assert tried.acquire(timeout=30)
    assert state_of(queue.threads) == "ok"
