"""What a provider's meter reads of a lease, as it travels. Its digest is a receipt's evidence."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.ids import Hash

JOBS_READ_MAX = 64
"""Jobs of one lease in a reading; of those beyond, the CPU time counts and nothing else stays."""


class JobOutcome(msgspec.Struct, frozen=True, array_like=True):
    """What one job of a lease was and did, without its bytes.

    `program`, `stdout`, `stderr` and `result` are digests under the names `job/program`,
    `job/stdout`, `job/stderr` and `job/result`. The rest is as in `JobResult`.
    """

    job: Annotated[bytes, Meta(min_length=16, max_length=16)]
    engine: Annotated[str, Meta(max_length=32)]
    exit_code: int
    reason: Annotated[str, Meta(max_length=32)]
    isolation: Annotated[str, Meta(max_length=64)]
    enforced_cpu: Annotated[str, Meta(max_length=64)]
    enforced_memory: Annotated[str, Meta(max_length=64)]
    wall_us: Annotated[int, Meta(ge=0)]
    cpu_us: Annotated[int, Meta(ge=0)]
    memory_peak_bytes: Annotated[int, Meta(ge=0)]
    program: Hash
    stdout: Hash
    stderr: Hash
    result: Hash


class MeterReading(msgspec.Struct, frozen=True, array_like=True):
    """What a meter says of one lease. Milliseconds held, microseconds of CPU, bytes moved for the
    consumer, operations served, the jobs that ran."""

    held_ms: int
    cpu_us: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    operations: int = 0
    jobs: Annotated[list[JobOutcome], Meta(max_length=JOBS_READ_MAX)] = []
