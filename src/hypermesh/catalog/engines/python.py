"""Engine `python`: a CPython of this machine in bubblewrap, under the node's cgroup.

The program is one source file. Python starts without site packages and without the user's (`-P -s
-S`), unbuffered (`-u`), so that what it prints is there at once; in an empty writable work
directory, with the job's arguments and standard input. Packages that the job asks for are on its
path. Its environment holds nothing but what this module puts there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypermesh.catalog.engines.engine import EngineInfo
from hypermesh.catalog.engines.packages import PLACE, shown
from hypermesh.catalog.errors import SandboxMissing, SandboxUnusable
from hypermesh.catalog.limits import (
    LeafLimits,
    Usage,
    process_limits,
    workspace_bytes,
)
from hypermesh.catalog.output import Output
from hypermesh.catalog.sandbox import process
from hypermesh.catalog.sandbox.bubblewrap import Bubblewrap, Text
from hypermesh.catalog.sandbox.cgroup import Cgroups
from hypermesh.wire.asset import Enforcement
from hypermesh.wire.rpc import JobRequest, JobResult

RESULT_FD = "HYPERMESH_RESULT_FD"
"""The environment variable that names the descriptor for a job's result."""

_PROGRAM = Path("/job.py")


class PythonEngine:
    """Jobs in Python. `sandbox` is one that works here, or the error that says why none does."""

    name = "python"

    def __init__(
        self, sandbox: Bubblewrap | SandboxMissing | SandboxUnusable, cgroups: Cgroups
    ) -> None:
        self._sandbox = sandbox
        self._cgroups = cgroups

    @property
    def info(self) -> EngineInfo:
        usable = isinstance(self._sandbox, Bubblewrap)
        return EngineInfo(
            self.name,
            self._isolation if usable else "none",
            usable,
            "" if usable else str(self._sandbox),
            self._cgroups.cpu,
            self._cgroups.memory,
            f"CPython {self._sandbox.version}" if isinstance(self._sandbox, Bubblewrap) else "",
        )

    @property
    def _isolation(self) -> str:
        assert isinstance(self._sandbox, Bubblewrap)  # noqa: S101
        return isolation_class(self._sandbox.isolation, self._cgroups)

    def run(
        self, request: JobRequest, cancellation: process.Cancellation | None, output: Output
    ) -> JobResult:
        if not isinstance(self._sandbox, Bubblewrap):
            raise self._sandbox
        limits = request.limits
        together = LeafLimits(limits.cpu_millicores, limits.memory_bytes)
        each = process_limits(
            limits,
            memory_enforced=self._cgroups.memory is not Enforcement.UNENFORCED,
            processes_enforced=self._cgroups.processes is not Enforcement.UNENFORCED,
        )
        packages = shown(request.packages)
        environment = {"PYTHONPATH": str(PLACE)} if packages else {}
        arguments = ["-P", "-s", "-S", "-u", str(_PROGRAM), *request.arguments]
        leaf = self._cgroups.leaf()
        try:
            with (
                _result_pipe(request.result_bytes) as (read_end, write_ends),
                self._sandbox.command(
                    arguments,
                    shown=[Text(request.program, _PROGRAM), *packages],
                    work_bytes=workspace_bytes(limits.memory_bytes),
                    environment=environment | _naming(write_ends),
                ) as (line, descriptors),
            ):
                outcome = process.run(
                    process.Launch(line, [*descriptors, *write_ends], each, together),
                    leaf,
                    stdin=request.stdin,
                    output=output,
                    wall_ms=limits.wall_ms,
                    cancellation=cancellation,
                    result=read_end,
                )
            used = leaf.usage() or Usage(outcome.cpu_us, 0, 0)
        finally:
            leaf.remove()
        return JobResult(
            engine=self.name,
            exit_code=outcome.exit_code,
            reason=_reason(outcome, used).value,
            stdout=bytes(output.stdout.data),
            stderr=bytes(output.stderr.data),
            wall_us=outcome.wall_us,
            cpu_us=used.cpu_us,
            memory_peak_bytes=used.memory_peak_bytes,
            isolation=self._isolation,
            enforced_cpu=self._cgroups.cpu.value,
            enforced_memory=self._cgroups.memory.value,
            stdout_cut_bytes=output.stdout.cut,
            stderr_cut_bytes=output.stderr.cut,
            result=bytes(output.result.data),
            result_cut_bytes=output.result.cut,
        )

    def close(self) -> None:
        """Nothing is kept ready between jobs."""


@contextmanager
def _result_pipe(result_bytes: int) -> Iterator[tuple[int | None, list[int]]]:
    """Where the result of a job is read, and where the job writes it; neither where it has none."""
    if not result_bytes:
        yield None, []
        return
    read_end, write_end = os.pipe()
    try:
        yield read_end, [write_end]
    finally:
        os.close(read_end)
        os.close(write_end)


def _naming(write_ends: list[int]) -> dict[str, str]:
    return {RESULT_FD: str(write_ends[0])} if write_ends else {}


def isolation_class(sandbox: str, cgroups: Cgroups) -> str:
    """The isolation class as it is published: the sandbox, and the cgroups where there are any."""
    held = Enforcement.UNENFORCED not in (cgroups.cpu, cgroups.memory)
    return f"{sandbox}+{cgroups.memory.value}" if held else sandbox


def _reason(outcome: process.Outcome, used: Usage) -> process.Ending:
    # The out-of-memory killer ends processes with SIGKILL and counts them; a job that survives the
    # loss of a child has exited by itself.
    exited = outcome.ending is process.Ending.EXITED
    if exited and used.oom_kills and outcome.exit_code == process.SIGKILLED:
        return process.Ending.MEMORY
    return outcome.ending
