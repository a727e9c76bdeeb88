"""The jobs that run on this node for others: who may follow and end each of them, and that none
outlives its lease.

What a job says is given out to the session that bears its lease, and to nobody else.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hypermesh.catalog.engines.ladder import Ladder, output_of
from hypermesh.catalog.errors import SandboxBroken
from hypermesh.catalog.output import Output
from hypermesh.catalog.sandbox.cgroup import KILL_S_MAX
from hypermesh.catalog.sandbox.process import Cancellation
from hypermesh.wire.errors import Conflict, Forbidden
from hypermesh.wire.ids import JobId, LeaseId, SessionId
from hypermesh.wire.rpc import (
    JobCancelRequest,
    JobCancelResponse,
    JobOutputRequest,
    JobOutputResponse,
    JobRequest,
    JobResult,
)

GATHER_S = 0.02
"""How long a reader that was woken by the first byte waits for more: a print is several writes."""
END_S_MAX = 2 * KILL_S_MAX


@dataclass(slots=True)
class _Job:
    session: SessionId
    output: Output
    cancellation: Cancellation
    millicores: int
    memory_bytes: int
    reader: threading.Event | None = None
    """Wakes the reader that waits. There is one at a time, for each holds a thread of the node: a
    newer one sends the older away with what there is."""


class Executing:
    """The running jobs, by lease and id. Safe to use from any thread."""

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder
        self._jobs: dict[tuple[LeaseId, JobId], _Job] = {}
        self._ending: Counter[LeaseId] = Counter()
        self._changed = threading.Condition()

    def run(
        self,
        session: SessionId,
        request: JobRequest,
        allow: Callable[[int], None],
        spend: Callable[[JobResult], None],
    ) -> JobResult:
        """Run a job to its end. `allow` gets the millicores of all jobs that the lease then has,
        raises where it does not admit them, and is asked when `ended` would wait for the job;
        `spend` gets what it did, before `ended` takes it for over."""
        key = request.lease, request.job
        with Cancellation() as cancellation:
            limits = request.limits
            output = output_of(request)
            job = _Job(session, output, cancellation, limits.cpu_millicores, limits.memory_bytes)
            with self._changed:
                if self._ending[request.lease]:
                    raise Conflict("The lease is being settled")
                if key in self._jobs:
                    raise Conflict(f"Job {request.job.hex()} runs already under this lease")
                self._jobs[key] = job
                together = sum(
                    each.millicores for (of, _), each in self._jobs.items() if of == request.lease
                )
            try:
                allow(together)
                result = self._ladder.run(request, cancellation, job.output)
                spend(result)
            finally:
                with self._changed:
                    del self._jobs[key]
                    self._changed.notify_all()
        return result

    @property
    def memory_bytes(self) -> int:
        """What the running jobs may use of memory, together."""
        with self._changed:
            return sum(job.memory_bytes for job in self._jobs.values())

    def output(self, session: SessionId, request: JobOutputRequest) -> JobOutputResponse:
        """What a job has said beyond the offsets; waits for the first byte."""
        waiting = threading.Event()
        with self._changed:
            job = self._of(session, request.lease, request.job)
            if job is None:
                return JobOutputResponse(b"", b"", True)
            if job.reader is not None:
                job.reader.set()
            job.reader = waiting
        at = request.stdout, request.stderr
        with job.output.heard(waiting.set):
            if not job.output.has(*at) and waiting.wait(request.wait_ms / 1000):
                time.sleep(GATHER_S)
        stdout, stderr = job.output.since(*at)
        return JobOutputResponse(stdout, stderr, False)

    def cancel(self, session: SessionId, request: JobCancelRequest) -> JobCancelResponse:
        """End a job."""
        with self._changed:
            job = self._of(session, request.lease, request.job)
            if job is not None:
                job.cancellation.cancel()
        return JobCancelResponse(job is not None)

    @contextlib.contextmanager
    def ended(self, lease: LeaseId) -> Iterator[None]:
        """End all jobs of `lease`, and wait until their CPU time is known; none begins while the
        block lasts, in which the lease is released. Raises `SandboxBroken` where one does not
        end."""

        def running() -> list[_Job]:
            return [job for (of, _), job in self._jobs.items() if of == lease]

        with self._changed:
            self._ending[lease] += 1
        try:
            with self._changed:
                for job in running():
                    job.cancellation.cancel()
                if not self._changed.wait_for(lambda: not running(), END_S_MAX):
                    raise SandboxBroken(f"A job of lease {lease.hex()} does not end")
            yield
        finally:
            with self._changed:
                self._ending[lease] -= 1
                if not self._ending[lease]:
                    del self._ending[lease]

    def _of(self, session: SessionId, lease: LeaseId, job_id: JobId) -> _Job | None:
        job = self._jobs.get((lease, job_id))
        if job is not None and job.session != session:
            raise Forbidden("The job is another session's")
        return job
