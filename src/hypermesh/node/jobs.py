"""A job of this node's owner, as a record: its states, and how it is shown. Pure.

    QUEUED <-> LEASING -> RUNNING -> SETTLING -> DONE | FAILED | CANCELLED | LOST

Any state but a final one may end in FAILED, CANCELLED or LOST. A job that a provider turned away
goes back to the queue, from RUNNING only where the provider says that it had no place for it. A
program that may have run is never sent a second time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hypermesh.wire.api.job import (
    FINAL,
    JobLimitsView,
    JobOutput,
    JobState,
    JobSubmit,
    JobSummary,
    JobView,
    NodeWentDown,
    ProviderLost,
    ResultTooLarge,
)
from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import AssetId, JobId, LeaseId, NodeId
from hypermesh.wire.rpc import JobResult

CHARACTER_BYTES_MAX = 4
"""Of UTF-8."""

_ENDINGS = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.LOST})
_NEXT: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: _ENDINGS | {JobState.LEASING},
    JobState.LEASING: _ENDINGS | {JobState.QUEUED, JobState.RUNNING},
    JobState.RUNNING: _ENDINGS | {JobState.QUEUED, JobState.SETTLING},
    JobState.SETTLING: _ENDINGS | {JobState.DONE},
}


class Record(msgspec.Struct, frozen=True):
    """What a node keeps of a job, apart from its program and its output. Sizes in bytes."""

    job: JobId
    state: JobState
    submitted_ms: int
    engine: str
    limits: JobLimitsView
    ended_ms: int | None = None
    asset: AssetId | None = None
    provider: NodeId | None = None
    lease: LeaseId | None = None
    exit_code: int | None = None
    reason: str = ""
    problem: ProblemDetails | None = None
    isolation: str = ""
    enforced_cpu: str = ""
    enforced_memory: str = ""
    wall_us: int = 0
    cpu_us: int = 0
    memory_peak_bytes: int = 0
    paid: int | None = None
    fee: int | None = None
    timings_ms: dict[str, float] = {}
    stdout_cut_bytes: int = 0
    stderr_cut_bytes: int = 0

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


class Said(msgspec.Struct, frozen=True):
    """What a job has said. `result` is None where it has none."""

    stdout: bytes = b""
    stderr: bytes = b""
    result: bytes | None = None

    @property
    def size(self) -> int:
        return len(self.stdout) + len(self.stderr) + len(self.result or b"")


def accepted(job: JobId, submit: JobSubmit, now_ms: int) -> Record:
    """A job at its beginning."""
    limits = JobLimitsView(
        submit.cpu_millicores,
        submit.memory_bytes,
        submit.wall_ms,
        submit.output_bytes,
        submit.result_bytes,
    )
    asset = None if submit.asset is None else bytes.fromhex(submit.asset)
    return Record(job, JobState.QUEUED, now_ms, submit.engine, limits, asset=asset)


def moved(record: Record, state: JobState, **known: Any) -> Record:
    """`record` in another state, with what is known there. A step that the table does not have is
    a mistake of this node."""
    assert state in _NEXT.get(record.state, ()), f"{record.state} -> {state}"  # noqa: S101
    return msgspec.structs.replace(record, state=state, **known)


def can_be_run_again(record: Record) -> bool:
    """Whether no provider has been given anything for this job yet."""
    return record.state is JobState.QUEUED or (
        record.state is JobState.LEASING and record.lease is None
    )


def requeued(record: Record, submit: JobSubmit) -> Record:
    """A job without a provider again."""
    asset = None if submit.asset is None else bytes.fromhex(submit.asset)
    known: dict[str, Any] = {"asset": asset, "provider": None, "lease": None}
    if record.state is JobState.QUEUED:
        return msgspec.structs.replace(record, **known)
    return moved(record, JobState.QUEUED, **known)


def answered(record: Record, result: JobResult) -> Record:
    """The program has ended as `result` says; its lease is to be settled."""
    return moved(
        record,
        JobState.SETTLING,
        engine=result.engine,
        exit_code=result.exit_code,
        reason=result.reason,
        isolation=result.isolation,
        enforced_cpu=result.enforced_cpu,
        enforced_memory=result.enforced_memory,
        wall_us=result.wall_us,
        cpu_us=result.cpu_us,
        memory_peak_bytes=result.memory_peak_bytes,
        stdout_cut_bytes=result.stdout_cut_bytes,
        stderr_cut_bytes=result.stderr_cut_bytes,
        problem=_spoilt(record, result),
    )


def finished(record: Record, now_ms: int, *, cancelled: bool) -> Record:
    """The end of a job whose program has ended. `cancelled`: somebody asked for its end."""
    if cancelled and record.reason == "killed":
        return moved(record, JobState.CANCELLED, reason="cancelled", ended_ms=now_ms)
    well = record.reason == "exited" and record.exit_code == 0 and record.problem is None
    return moved(record, JobState.DONE if well else JobState.FAILED, ended_ms=now_ms)


def cut_short(record: Record, error: HyperMeshError, now_ms: int) -> Record:
    """The end of a job that could not be run, or of which nothing can be said."""
    state, reason = JobState.FAILED, "refused"
    if isinstance(error, ProviderLost):
        state, reason = JobState.LOST, "provider_lost"
    elif isinstance(error, NodeWentDown):
        state, reason = JobState.LOST, "node_down"
    return moved(record, state, reason=reason, problem=ProblemDetails.of(error), ended_ms=now_ms)


def cancelled(record: Record, now_ms: int) -> Record:
    """The end of a job that was cancelled before its program had ended."""
    return moved(record, JobState.CANCELLED, reason="cancelled", ended_ms=now_ms)


def settled(record: Record, paid: int, fee: int) -> Record:
    """What the ledger took for it."""
    return msgspec.structs.replace(record, paid=paid, fee=fee)


def summary(record: Record, stdout_bytes: int, stderr_bytes: int, name: str | None) -> JobSummary:
    """`record` as the API shows it, its output apart; `name` is the provider's."""
    return JobSummary(**_members(record, stdout_bytes, stderr_bytes, name))


def view(record: Record, said: Said, name: str | None) -> JobView:
    """`record` with what it has said."""
    stdout, stdout_raw = text(said.stdout)
    stderr, stderr_raw = text(said.stderr)
    return JobView(
        **_members(record, len(said.stdout), len(said.stderr), name),
        stdout=stdout,
        stderr=stderr,
        stdout_raw=stdout_raw,
        stderr_raw=stderr_raw,
        result=None if record.problem is not None else said.result,
    )


def piece(record: Record, stdout: bytes, stderr: bytes, at: tuple[int, int]) -> JobOutput:
    """What was said since the offsets `at`."""
    if not record.is_final:
        stdout, stderr = whole(stdout), whole(stderr)
    out, out_raw = text(stdout)
    err, err_raw = text(stderr)
    return JobOutput(
        job=record.job.hex(),
        state=record.state,
        ended=record.is_final,
        stdout=out,
        stderr=err,
        stdout_raw=out_raw,
        stderr_raw=err_raw,
        stdout_next=at[0] + len(stdout),
        stderr_next=at[1] + len(stderr),
        stdout_cut_bytes=record.stdout_cut_bytes,
        stderr_cut_bytes=record.stderr_cut_bytes,
    )


def text(data: bytes) -> tuple[str, bytes | None]:
    """`data` as text; and as bytes, where the text does not say all of it."""
    try:
        return data.decode(), None
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), data


def whole(data: bytes) -> bytes:
    """`data` without a character of UTF-8 at its end that has not come to its own end."""
    for back in range(1, min(CHARACTER_BYTES_MAX, len(data) + 1)):
        lead = data[-back]
        if lead < 0x80:
            return data
        if lead >= 0xC0:
            length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return data[:-back] if back < length else data
    return data


def _spoilt(record: Record, result: JobResult) -> ProblemDetails | None:
    if not result.result_cut_bytes:
        return None
    size = len(result.result) + result.result_cut_bytes
    why = f"{size} bytes, and {record.limits.result_bytes} are allowed"
    return ProblemDetails.of(ResultTooLarge(why=why))


def _members(
    record: Record, stdout_bytes: int, stderr_bytes: int, name: str | None
) -> dict[str, Any]:
    lease = None if record.lease is None else record.lease.hex()
    enforced = {"cpu": record.enforced_cpu, "memory": record.enforced_memory}
    return {
        "job": record.job.hex(),
        "state": record.state,
        "submitted_ms": record.submitted_ms,
        "ended_ms": record.ended_ms,
        "engine": record.engine,
        "limits": record.limits,
        "asset": None if record.asset is None else record.asset.hex(),
        "provider": None if record.provider is None else record.provider.hex(),
        "provider_name": name,
        "lease": lease,
        "receipt": lease,
        "exit_code": record.exit_code,
        "reason": record.reason,
        "problem": record.problem,
        "isolation": record.isolation,
        "enforced": enforced if record.enforced_cpu else {},
        "wall_ms": record.wall_us / 1000,
        "cpu_ms": record.cpu_us / 1000,
        "memory_peak_bytes": record.memory_peak_bytes,
        "paid": record.paid,
        "fee": record.fee,
        "timings_ms": record.timings_ms,
        "stdout_bytes": stdout_bytes,
        "stderr_bytes": stderr_bytes,
        "stdout_cut_bytes": record.stdout_cut_bytes,
        "stderr_cut_bytes": record.stderr_cut_bytes,
    }
