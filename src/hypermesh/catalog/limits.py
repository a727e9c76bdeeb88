"""Limits of a job as the kernel's units, and what a job used. Pure."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from hypermesh.wire.rpc import JobLimits

PROCESSES_MAX = 64
"""Processes and threads of one job."""
OPEN_FILES_MAX = 256
"""Open files of one process of a job."""
WORKSPACE_BYTES_MAX = 1 << 30
"""Bytes of the in-memory work directory; they count as memory of the job, too."""

CPU_PERIOD_US = 50_000
"""Length of a CFS quota period: short enough that a job's share is even over half a second."""
CPU_PERIOD_LONG_US = 1_000_000
"""Period for shares so small that their quota in the short period is below the kernel's least."""
CPU_QUOTA_US_MIN = 1_000
"""The kernel's least quota (Documentation/scheduler/sched-bwc.rst)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a cgroup or, without one, `wait4` says that a job used."""

    cpu_us: int
    memory_peak_bytes: int
    oom_kills: int


def cpu_quota(millicores: int) -> tuple[int, int]:
    """(quota, period) in microseconds: the CPU time in each period that `millicores` allow."""
    quota_us = millicores * CPU_PERIOD_US // 1000
    if quota_us >= CPU_QUOTA_US_MIN:
        return quota_us, CPU_PERIOD_US
    return max(millicores * CPU_PERIOD_LONG_US // 1000, CPU_QUOTA_US_MIN), CPU_PERIOD_LONG_US


def workspace_bytes(memory_bytes: int) -> int:
    """Size of the work directory of a job that may use `memory_bytes`."""
    return min(memory_bytes, WORKSPACE_BYTES_MAX)


def rlimits(limits: JobLimits, *, memory_enforced: bool) -> dict[int, int]:
    """Limits of each single process (setrlimit(2)), beneath those of the whole job.

    CPU seconds are a backstop behind the wall deadline. The address space is bounded only where no
    cgroup holds the memory: a bound for each process alone is no limit of the job, and a program
    may well reserve more than it uses.
    """
    cores = -(-limits.cpu_millicores // 1000)
    found = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: -(-limits.wall_ms // 1000) * cores + 1,
        resource.RLIMIT_FSIZE: workspace_bytes(limits.memory_bytes),
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES_MAX,
        resource.RLIMIT_NPROC: PROCESSES_MAX,
    }
    if not memory_enforced:
        found[resource.RLIMIT_AS] = limits.memory_bytes
    return found
