"""Limits of a job as the kernel's units, and what a job used. Pure."""

from __future__ import annotations

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
    """What a job used, as far as it was measured: 0 bytes of memory where no cgroup counts them."""

    cpu_us: int
    memory_peak_bytes: int
    oom_kills: int


@dataclass(frozen=True, slots=True)
class LeafLimits:
    """Limits of a whole job, kept by its cgroup."""

    cpu_millicores: int
    memory_bytes: int
    processes: int = PROCESSES_MAX


def cpu_quota(millicores: int) -> tuple[int, int]:
    """(quota, period) in microseconds: the CPU time in each period that `millicores` allow."""
    quota_us = millicores * CPU_PERIOD_US // 1000
    if quota_us >= CPU_QUOTA_US_MIN:
        return quota_us, CPU_PERIOD_US
    return max(millicores * CPU_PERIOD_LONG_US // 1000, CPU_QUOTA_US_MIN), CPU_PERIOD_LONG_US


def workspace_bytes(memory_bytes: int) -> int:
    """Size of the work directory of a job that may use `memory_bytes`."""
    return min(memory_bytes, WORKSPACE_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Limits of each single process (setrlimit(2)), beneath those of the whole job. None is no
    limit."""

    cpu_s: int | None
    file_bytes: int
    open_files: int
    processes: int | None
    address_space_bytes: int | None


def process_limits(
    limits: JobLimits, *, memory_enforced: bool, processes_enforced: bool
) -> ProcessLimits:
    """What each process of a job may do at most.

    CPU seconds are a backstop behind the wall deadline. Address space and number of processes are
    bounded here only where no cgroup does it better: the one counts what a program reserves and
    never uses, the other counts every process of the same user on the machine.
    """
    cores = -(-limits.cpu_millicores // 1000)
    return ProcessLimits(
        cpu_s=-(-limits.wall_ms // 1000) * cores + 1,
        file_bytes=workspace_bytes(limits.memory_bytes),
        open_files=OPEN_FILES_MAX,
        processes=None if processes_enforced else PROCESSES_MAX,
        address_space_bytes=None if memory_enforced else limits.memory_bytes,
    )
