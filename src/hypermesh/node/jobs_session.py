"""The way to one job at its provider: calls that only the bearer of the lease can make."""

from __future__ import annotations

from typing import TypeVar

from hypermesh.stoq.connection import Connection
from hypermesh.stoq.errors import PeerRefused, StreamReset, Unanswered
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import Unreachable
from hypermesh.wire.ids import JobId, LeaseId
from hypermesh.wire.rpc import (
    SERVICE_JOB,
    Call,
    JobCancelRequest,
    JobCancelResponse,
    JobOutputRequest,
    JobOutputResponse,
    JobRequest,
    JobResult,
)

ANSWER_SPARE_MS = 20_000
"""For the transfer, beside a job's own time."""
FOLLOW_MS = 3_000
"""How long the provider waits for output before it answers that there is none."""
FOLLOW_SPARE_MS = 2_000
CANCEL_MS = 3_000

T = TypeVar("T")

GONE = (Unreachable, Unanswered, StreamReset, PeerRefused)
"""What a call raises whose answer will never come."""


class Session:
    """The way to a job at its provider."""

    def __init__(self, connection: Connection, lease: LeaseId, job: JobId) -> None:
        self._connection = connection
        self._lease = lease
        self._job = job

    @property
    def is_open(self) -> bool:
        return self._connection.ended is None

    def run(self, request: JobRequest) -> JobResult:
        timeout_ms = request.limits.wall_ms + ANSWER_SPARE_MS
        return self._call("job.run", request, JobResult, timeout_ms)

    def output(self, stdout: int, stderr: int) -> JobOutputResponse:
        request = JobOutputRequest(self._lease, self._job, stdout, stderr, FOLLOW_MS)
        timeout_ms = FOLLOW_MS + FOLLOW_SPARE_MS
        return self._call("job.output", request, JobOutputResponse, timeout_ms)

    def cancel(self) -> bool:
        """Whether the job was running there."""
        request = JobCancelRequest(self._lease, self._job)
        return self._call("job.cancel", request, JobCancelResponse, CANCEL_MS).running

    def close(self) -> None:
        """Whoever waits on it is told that it is lost."""
        self._connection.close()

    def _call(self, method: str, argument: object, kind: type[T], timeout_ms: int) -> T:
        body = encode(Call(method, encode(argument)))
        return decode(kind, self._connection.request(SERVICE_JOB, body, timeout_ms=timeout_ms))
