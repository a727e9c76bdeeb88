"""Jobs as the API takes and shows them."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.errors import (
    HyperMeshError,
    NotFound,
    Overloaded,
    Problem,
    Unreachable,
    error_from,
)


class JobState(enum.StrEnum):
    """Where a job is in its life. The last four are final.

    queued -> leasing -> running -> settling -> done | failed | cancelled | lost
    """

    QUEUED = "queued"
    """Accepted; it has no provider yet."""
    LEASING = "leasing"
    """A provider is chosen, and its CPU is being leased."""
    RUNNING = "running"
    SETTLING = "settling"
    """The program has ended; its lease is being paid."""
    DONE = "done"
    """The program ended by itself, with exit code 0."""
    FAILED = "failed"
    """The program ended otherwise, or could not be run; `reason` and `problem` say how."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """The provider, or this node, went away in the middle: nothing can be said of the program."""


FINAL = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.LOST})


class ProviderLost(Unreachable):
    """The provider of a job went away while the job ran there."""

    code = "HM-JOB-0011"
    title = "The provider went away in the middle of the job"
    remedy = (
        "Run the job again. The escrow comes back: what was used is paid when the provider "
        "returns, and all of it when it does not"
    )


class NodeWentDown(HyperMeshError):
    """The consumer's node stopped, or was killed, while it waited for a job."""

    code = "HM-JOB-0012"
    title = "This node went down while the job ran"
    remedy = "Run the job again; its lease is settled or refunded by the ledger"


class UnknownJob(NotFound):
    """No job has this id, or it was dropped long after its end."""

    code = "HM-JOB-0014"
    title = "There is no such job"
    remedy = "`hm job ls` shows the jobs of this node"


class NoProvider(NotFound):
    """Nobody shares as much CPU with this owner as the job asks for."""

    code = "HM-JOB-0015"
    title = "No provider has as much CPU as the job asks for"


class ProvidersBusy(Overloaded):
    """There are providers large enough, and all have lent what they have."""

    code = "HM-JOB-0016"
    title = "All providers of CPU are taken"
    remedy = "Try again in a moment, or submit the job with --detach: it waits for room"


class ResultTooLarge(HyperMeshError):
    """The program wrote more to its result than the job allows; a part of it would be worthless."""

    code = "HM-JOB-0010"
    status = 422
    title = "The result of the job is larger than its limit"
    remedy = "Return less, or raise result_bytes (at most 1 MiB)"


class JobFailed(HyperMeshError):
    """The program of a job did not end well."""

    code = "HM-JOB-0017"
    status = 422
    title = "The program failed"


class JobCancelled(HyperMeshError):
    """The job was cancelled."""

    code = "HM-JOB-0018"
    status = 409
    exit_code = 6
    title = "The job was cancelled"


class JobSubmit(Body, frozen=True):
    """`POST /v1/jobs`: run a program in the pool. Bytes as hex.

    `packages` names Python packages of the provider that the program imports, of those that every
    node has: `cloudpickle`. With `result_bytes` the program has one more output, of at most so many
    bytes, on the file descriptor that the environment variable `HYPERMESH_RESULT_FD` names. With
    `cost_max` it runs only where that costs no more nCAES, its whole time and the fee counted.
    """

    engine: Annotated[str, Meta(max_length=32)]
    program: Annotated[str, Meta(min_length=2, max_length=4 * 1024 * 1024)]
    arguments: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=64)] = []
    stdin: Annotated[str, Meta(max_length=2 * 1024 * 1024)] = ""
    cpu_millicores: Annotated[int, Meta(ge=1, le=1_024_000)] = 200
    memory_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 44)] = 256 << 20
    wall_ms: Annotated[int, Meta(ge=1, le=86_400_000)] = 30_000
    output_bytes: Annotated[int, Meta(ge=0, le=1 << 20)] = 1 << 20
    asset: Hex16 | None = None
    packages: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=8)] = []
    result_bytes: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    cost_max: Amount | None = None


class JobLimitsView(msgspec.Struct, frozen=True):
    """What a job may use."""

    cpu_millicores: int
    memory_bytes: int
    wall_ms: int
    output_bytes: int
    result_bytes: int


class JobSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A job without its output. What is not known yet, or never will be, is null.

    `receipt` is the id of the lease that paid for it. `reason` says why it ended: `exited`,
    `deadline`, `memory`, `killed` (it flooded its output), `cancelled`, `refused` (it could not be
    run), `provider_lost` or `node_down`; empty before the end. `problem` says more where the
    program's own ending does not. `timings_ms` has the stages it went through so far: `queue`,
    `choose`, `lease`, `run`, `settle`. `paid` and `fee` are null until the lease is settled.
    `*_bytes` is how long an output is, `*_cut_bytes` how much was dropped beyond its limit.
    """

    job: Hex16
    state: JobState
    submitted_ms: int
    ended_ms: int | None
    engine: str
    limits: JobLimitsView
    asset: Hex16 | None
    provider: Hex32 | None
    provider_name: str | None
    lease: Hex32 | None
    receipt: Hex32 | None
    exit_code: int | None
    reason: str
    problem: ProblemDetails | None
    isolation: str
    enforced: dict[str, str]
    wall_ms: float
    cpu_ms: float
    memory_peak_bytes: int
    paid: Amount | None
    fee: Amount | None
    timings_ms: dict[str, float]
    stdout_bytes: int
    stderr_bytes: int
    stdout_cut_bytes: int
    stderr_cut_bytes: int


class JobView(JobSummary, frozen=True, kw_only=True):
    """A job with all that it has said so far.

    `stdout` and `stderr` are its outputs as text. Where they are not UTF-8 the text has U+FFFD in
    it, and `*_raw` has the bytes (base 64); else `*_raw` is null. `result` is what it wrote to the
    descriptor of its result (base 64), complete or null.
    """

    stdout: str
    stderr: str
    stdout_raw: bytes | None
    stderr_raw: bytes | None
    result: bytes | None

    @property
    def failure(self) -> HyperMeshError | None:
        """What kept the job from ending well, where it is over: its problem as its own class,
        `JobFailed` for a program that ended otherwise than with 0, `JobCancelled`."""
        if self.state not in FINAL or self.state is JobState.DONE:
            return None
        if self.problem is not None:
            said = self.problem
            error = error_from(Problem(said.code, said.detail, said.cause, said.fix))
            error.status, error.exit_code = said.status, said.exit_code
            return error
        if self.state is JobState.CANCELLED:
            return JobCancelled(f"Job {self.job} was cancelled")
        last = self.stderr.strip().splitlines()[-1:]
        return JobFailed(
            f"The program of job {self.job} ended with {self.exit_code} ({self.reason})",
            why="".join(last)[:400],
        )

    @property
    def stdout_data(self) -> bytes:
        """Standard output, byte for byte."""
        return self.stdout.encode() if self.stdout_raw is None else self.stdout_raw

    @property
    def stderr_data(self) -> bytes:
        """Standard error, byte for byte."""
        return self.stderr.encode() if self.stderr_raw is None else self.stderr_raw


class JobOutput(msgspec.Struct, frozen=True):
    """What a job has said since the asked-for offsets. Ask next from `stdout_next` and
    `stderr_next`; when `ended`, nothing more will come. A character whose bytes have not all come
    yet is kept for the next answer. `*_raw` as in `JobView`."""

    job: Hex16
    state: JobState
    ended: bool
    stdout: str
    stderr: str
    stdout_raw: bytes | None
    stderr_raw: bytes | None
    stdout_next: int
    stderr_next: int
    stdout_cut_bytes: int
    stderr_cut_bytes: int

    @property
    def stdout_data(self) -> bytes:
        """The piece of standard output, byte for byte."""
        return self.stdout.encode() if self.stdout_raw is None else self.stdout_raw

    @property
    def stderr_data(self) -> bytes:
        """The piece of standard error, byte for byte."""
        return self.stderr.encode() if self.stderr_raw is None else self.stderr_raw


class JobPage(msgspec.Struct, frozen=True):
    """A page of jobs, newest first; `next_cursor` is null at the end."""

    items: list[JobSummary]
    next_cursor: str | None
