"""The engine ladder: one field of a job chooses how it runs.

Each rung publishes its isolation class and the limits that are really kept. What the design
promises and nobody has built is named, so that asking for it gets an answer instead of a guess.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Sequence

from hypermesh.catalog.engines.engine import Engine, EngineInfo
from hypermesh.catalog.engines.python import PythonEngine
from hypermesh.catalog.engines.wasm import WasmEngine
from hypermesh.catalog.errors import (
    ArgumentInvalid,
    EngineUnknown,
    SandboxMissing,
    SandboxUnusable,
    TooManyJobs,
)
from hypermesh.catalog.output import Output
from hypermesh.catalog.sandbox import bubblewrap, enforcement
from hypermesh.catalog.sandbox.cgroup import Cgroups
from hypermesh.catalog.sandbox.process import Cancellation
from hypermesh.wire.asset import Enforcement
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.ids import LeaseId
from hypermesh.wire.rpc import JobRequest, JobResult

JOBS_CONCURRENT_MAX = 16
"""Jobs that run at a time on one node; one more is refused, not queued."""

PLANNED = {
    "expression": "expressions and rules without a process",
    "wasi-python": "CPython compiled to WASI",
    "container": "OCI containers (runc, crun)",
    "gvisor": "OCI containers on gVisor",
    "microvm": "micro virtual machines",
    "julia": "Julia from a pool of warm workers",
    "lua": "Lua",
    "workflow": "YAML workflows",
}
"""Engines that the design names and that do not exist yet."""


class Ladder:
    """The engines of one node, and the cgroup that holds their jobs. Safe to use from any thread.

    `run` blocks; from asyncio call it through `asyncio.to_thread`.
    """

    def __init__(self, engines: Sequence[Engine], cgroups: Cgroups) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._cgroups = cgroups
        self._places = threading.BoundedSemaphore(JOBS_CONCURRENT_MAX)

    @classmethod
    def open(cls, node: str) -> Ladder:
        """The ladder of the node `node` (a name for its cgroup, unique on this machine), each
        sandbox probed once, within the limits named in `bubblewrap` and `cgroup`. Processes and
        cgroups that a killed run of the same node left behind are gone afterwards.
        """
        cgroups = enforcement.find(node)
        try:
            sandbox: bubblewrap.Bubblewrap | SandboxMissing | SandboxUnusable = bubblewrap.find()
        except (SandboxMissing, SandboxUnusable) as error:
            sandbox = error
        confined = sandbox if isinstance(sandbox, bubblewrap.Bubblewrap) else None
        engines: list[Engine] = [PythonEngine(sandbox, cgroups), WasmEngine(confined, cgroups)]
        return cls(engines, cgroups)

    @property
    def cpu(self) -> Enforcement:
        """What keeps the CPU limit of jobs here."""
        return self._cgroups.cpu

    @property
    def memory(self) -> Enforcement:
        """What keeps the memory limit of jobs here."""
        return self._cgroups.memory

    @property
    def processes(self) -> Enforcement:
        """What keeps the number of processes of jobs here."""
        return self._cgroups.processes

    def engines(self) -> list[EngineInfo]:
        """Every engine the design knows, those that do not exist yet included."""
        planned = [
            EngineInfo(
                name,
                "none",
                False,
                f"{what}: does not exist yet",
                Enforcement.UNENFORCED,
                Enforcement.UNENFORCED,
            )
            for name, what in PLANNED.items()
        ]
        return [engine.info for engine in self._engines.values()] + planned

    def warm(self, engine: str, lease: LeaseId) -> None:
        """Prepare `engine` for the first job of `lease`, where that makes a difference."""
        found = self._engine(engine)
        if isinstance(found, WasmEngine):
            found.warm(lease)

    def run(
        self,
        request: JobRequest,
        cancellation: Cancellation | None = None,
        output: Output | None = None,
    ) -> JobResult:
        """Run one job to its end, its deadline or its cancellation. What it says can be followed
        in `output`, which is ended when this returns or raises.

        What the program does, its failure included, is in the result. Raises `EngineUnknown`,
        `NotAvailable`, `ModuleInvalid`, `ArgumentInvalid`, `PackageUnknown`, `TooManyJobs`,
        `SandboxMissing`, `SandboxUnusable` or `SandboxBroken` where there is nothing to tell of the
        program.
        """
        output = output or output_of(request)
        try:
            return self._run(request, cancellation, output)
        finally:
            output.end()

    def _run(
        self, request: JobRequest, cancellation: Cancellation | None, output: Output
    ) -> JobResult:
        engine = self._engine(request.engine)
        _check_arguments(request.arguments)
        if not self._places.acquire(blocking=False):
            raise TooManyJobs(why=f"{JOBS_CONCURRENT_MAX} jobs are running")
        try:
            return engine.run(request, cancellation, output)
        finally:
            self._places.release()

    def close(self) -> None:
        """End every process of every job and remove the node's cgroup."""
        for engine in self._engines.values():
            engine.close()
        self._cgroups.close()

    def _engine(self, name: str) -> Engine:
        found = self._engines.get(name)
        if found is not None:
            return found
        if name in PLANNED:
            raise NotAvailable(
                f"The engine {name} does not exist yet ({PLANNED[name]})",
                fix=f"Use one of: {', '.join(self._engines)}",
            )
        near = difflib.get_close_matches(name, self._engines, 1)
        raise EngineUnknown(
            f"There is no engine {name[:32]!r}",
            why=f"did you mean {near[0]}?" if near else "",
            fix=f"Use one of: {', '.join(self._engines)}",
        )


def output_of(request: JobRequest) -> Output:
    """Where to collect what `request` says, within its limits."""
    return Output(request.limits.output_bytes, request.result_bytes)


def _check_arguments(arguments: Sequence[str]) -> None:
    for index, argument in enumerate(arguments):
        try:
            fits = b"\0" not in argument.encode()
        except UnicodeEncodeError:
            fits = False
        if not fits:
            raise ArgumentInvalid(
                f"Argument {index} cannot be passed on",
                why="it holds a NUL character or is not valid Unicode",
                fix="Pass binary data on standard input",
            )
