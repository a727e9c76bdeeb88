"""What every engine is: a way to run a job's program under its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hypermesh.catalog.output import Output
from hypermesh.catalog.sandbox.process import Cancellation
from hypermesh.wire.asset import Enforcement
from hypermesh.wire.rpc import JobRequest, JobResult


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What a node says of one of its engines.

    `isolation` is its class, such as `bubblewrap+seccomp+cgroup1`; `reason` says why an engine that
    is not available is not. `runtime` is what runs the program, with its version; empty where there
    is none.
    """

    name: str
    isolation: str
    available: bool
    reason: str
    cpu: Enforcement
    memory: Enforcement
    runtime: str = ""


class Engine(Protocol):
    """One rung of the ladder. Safe to use from any thread."""

    name: str

    @property
    def info(self) -> EngineInfo: ...

    def run(
        self, request: JobRequest, cancellation: Cancellation | None, output: Output
    ) -> JobResult:
        """Run one job to its end; blocks the calling thread at most for the job's wall time and
        `sandbox.cgroup.KILL_S_MAX`. What the program says is in `output`, as it is said where the
        engine can; what it does is in the result; an error says that the engine could not run it
        at all."""
        ...

    def close(self) -> None:
        """Give back what the engine keeps ready. No job may be running."""
        ...
