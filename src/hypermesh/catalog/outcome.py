"""What a job was and did, in digests: what a receipt's evidence binds. Pure."""

from __future__ import annotations

from hypermesh.crypto.digest import digest
from hypermesh.wire.reading import JobOutcome
from hypermesh.wire.rpc import JobRequest, JobResult


def outcome(request: JobRequest, result: JobResult) -> JobOutcome:
    """The outcome of `request`. Whoever has the program and the outputs can compute the digests."""
    return JobOutcome(
        job=request.job,
        engine=result.engine,
        exit_code=result.exit_code,
        reason=result.reason,
        isolation=result.isolation,
        enforced_cpu=result.enforced_cpu,
        enforced_memory=result.enforced_memory,
        wall_us=result.wall_us,
        cpu_us=result.cpu_us,
        memory_peak_bytes=result.memory_peak_bytes,
        program=digest("job/program", request.program),
        stdout=digest("job/stdout", result.stdout),
        stderr=digest("job/stderr", result.stderr),
        result=digest("job/result", result.result),
    )
