"""Programs in the pool: `mesh.jobs`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.job import (
    FINAL,
    JobOutput,
    JobPage,
    JobState,
    JobSubmit,
    JobSummary,
    JobView,
)
from hypermesh.wire.errors import HyperMeshError

GRACE_S = 60.0
"""How long past a job's own deadline its leasing, transfer and settlement may take."""
WAIT_S = 20.0
"""How long one request waits for output."""
WAIT_SPARE_S = 10.0
CANCEL_S = 30.0
BEYOND = 1 << 40
"""An offset that no output reaches: who waits for the end alone is told of nothing else."""


class JobNotOver(HyperMeshError):
    """The job did not end within the time that was given to it."""

    code = "HM-SDK-0006"
    status = 504
    exit_code = 7
    title = "The job is not over yet"
    remedy = "It goes on; wait longer, or cancel it"


def program(
    source: str | bytes,
    *arguments: str,
    engine: str = "python",
    stdin: bytes = b"",
    cpu_millicores: int = 200,
    memory_bytes: int = 256 << 20,
    wall_ms: int = 30_000,
) -> JobSubmit:
    """A job that runs `source`: the text of a Python program, or the bytes of a module."""
    encoded = source.encode() if isinstance(source, str) else source
    return JobSubmit(
        engine=engine,
        program=encoded.hex(),
        arguments=list(arguments),
        stdin=stdin.hex(),
        cpu_millicores=cpu_millicores,
        memory_bytes=memory_bytes,
        wall_ms=wall_ms,
    )


def run(job: JobSubmit) -> Call[JobView]:
    timeout_s = job.wall_ms / 1000 + GRACE_S
    return Call(JobView, "POST", "/v1/jobs", job, timeout_s=timeout_s, once=True)


def submit(job: JobSubmit) -> Call[JobView]:
    return Call(JobView, "POST", "/v1/jobs", job, query={"wait": "false"}, once=True)


def get(job: str) -> Call[JobView]:
    return Call(JobView, "GET", f"/v1/jobs/{job}")


def page(state: JobState | None = None, cursor: str | None = None) -> Call[JobPage]:
    query = given(state=state.value if state else None, cursor=cursor)
    return Call(JobPage, "GET", "/v1/jobs", query=query)


def output(job: str, stdout: int = 0, stderr: int = 0, wait_s: float = 0) -> Call[JobOutput]:
    """What was said since the offsets; waits up to `wait_s` (at most 30) for more."""
    query = given(stdout=stdout, stderr=stderr, wait_ms=int(wait_s * 1000))
    timeout_s = wait_s + WAIT_SPARE_S
    return Call(JobOutput, "GET", f"/v1/jobs/{job}/output", query=query, timeout_s=timeout_s)


def cancel(job: str) -> Call[JobView]:
    return Call(JobView, "DELETE", f"/v1/jobs/{job}", timeout_s=CANCEL_S)


class Job:
    """A job that was submitted: it goes on whether or not this object lives.

    job = mesh.jobs.submit(program("print('hello')"))
    for piece in job.output():
        print(piece.stdout, end="")
    """

    def __init__(self, rest: Rest, view: JobView) -> None:
        self._rest = rest
        self.view = view
        """As it was when the node was last asked."""

    @property
    def id(self) -> str:
        return self.view.job

    def refresh(self) -> JobView:
        """As it is now."""
        self.view = self._rest.run(get(self.id))
        return self.view

    def wait(self, timeout_s: float | None = None) -> JobView:
        """The job when it is over, however it ended. Raises `JobNotOver` after `timeout_s`."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while self.view.state not in FINAL:
            left = _left(until, time.monotonic(), self.id)
            if self._rest.run(output(self.id, BEYOND, BEYOND, left)).ended:
                self.refresh()
        return self.view

    def output(self) -> Iterator[JobOutput]:
        """What it says, piece by piece from the beginning, until it is over."""
        stdout = stderr = 0
        while True:
            piece = self._rest.run(output(self.id, stdout, stderr, WAIT_S))
            if (piece.stdout_next, piece.stderr_next) != (stdout, stderr):
                yield piece
            stdout, stderr = piece.stdout_next, piece.stderr_next
            if piece.ended:
                return

    def cancel(self) -> JobView:
        """End it where it runs, and settle its lease. One that is over stays as it is."""
        self.view = self._rest.run(cancel(self.id))
        return self.view

    def result(self, timeout_s: float | None = None) -> JobView:
        """The job when it has ended well. Raises what kept it from that (`JobView.failure`), such
        as `ProviderLost` or `JobFailed`, and `JobNotOver`."""
        return _well(self.wait(timeout_s))


class Jobs:
    """`mesh.jobs`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def run(self, job: JobSubmit) -> JobView:
        """Run a job in the pool and wait for it: leased, isolated, metered, settled."""
        return self._rest.run(run(job))

    def submit(self, job: JobSubmit) -> Job:
        """Hand a job in. It is kept, and waits where nobody has room for it yet."""
        return Job(self._rest, self._rest.run(submit(job)))

    def get(self, job: str) -> Job:
        """A job by its id in hex."""
        return Job(self._rest, self._rest.run(get(job)))

    def list(self, state: JobState | None = None) -> Iterator[JobSummary]:
        """Jobs of this node, newest first; all, or those in one state."""
        return walk(self._rest, lambda cursor: page(state, cursor))


class AsyncJob:
    """As `Job`, for asyncio."""

    def __init__(self, rest: AsyncRest, view: JobView) -> None:
        self._rest = rest
        self.view = view

    @property
    def id(self) -> str:
        return self.view.job

    async def refresh(self) -> JobView:
        """As `Job.refresh`."""
        self.view = await self._rest.run(get(self.id))
        return self.view

    async def wait(self, timeout_s: float | None = None) -> JobView:
        """As `Job.wait`."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while self.view.state not in FINAL:
            left = _left(until, time.monotonic(), self.id)
            if (await self._rest.run(output(self.id, BEYOND, BEYOND, left))).ended:
                await self.refresh()
        return self.view

    async def output(self) -> AsyncIterator[JobOutput]:
        """As `Job.output`."""
        stdout = stderr = 0
        while True:
            piece = await self._rest.run(output(self.id, stdout, stderr, WAIT_S))
            if (piece.stdout_next, piece.stderr_next) != (stdout, stderr):
                yield piece
            stdout, stderr = piece.stdout_next, piece.stderr_next
            if piece.ended:
                return

    async def cancel(self) -> JobView:
        """As `Job.cancel`."""
        self.view = await self._rest.run(cancel(self.id))
        return self.view

    async def result(self, timeout_s: float | None = None) -> JobView:
        """As `Job.result`."""
        return _well(await self.wait(timeout_s))


class AsyncJobs:
    """As `Jobs`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def run(self, job: JobSubmit) -> JobView:
        """As `Jobs.run`."""
        return await self._rest.run(run(job))

    async def submit(self, job: JobSubmit) -> AsyncJob:
        """As `Jobs.submit`."""
        return AsyncJob(self._rest, await self._rest.run(submit(job)))

    async def get(self, job: str) -> AsyncJob:
        """As `Jobs.get`."""
        return AsyncJob(self._rest, await self._rest.run(get(job)))

    def list(self, state: JobState | None = None) -> AsyncIterator[JobSummary]:
        """As `Jobs.list`."""
        return walk_async(self._rest, lambda cursor: page(state, cursor))


def _left(until: float | None, now: float, job: str) -> float:
    """How long the next request may wait."""
    if until is None:
        return WAIT_S
    if now >= until:
        raise JobNotOver(f"Job {job} is not over yet")
    return min(WAIT_S, until - now)


def _well(view: JobView) -> JobView:
    failure = view.failure
    if failure is not None:
        raise failure
    return view
