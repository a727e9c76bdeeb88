"""What this node can run, as its users see it."""

from __future__ import annotations

from hypermesh.catalog.engines import packages
from hypermesh.catalog.engines.engine import EngineInfo
from hypermesh.catalog.engines.ladder import JOBS_CONCURRENT_MAX, Ladder
from hypermesh.catalog.engines.python import PythonEngine
from hypermesh.catalog.limits import OPEN_FILES_MAX, PROCESSES_MAX, WORKSPACE_BYTES_MAX
from hypermesh.wire.api.catalog import CatalogView, EngineView, LimitView, PackageView
from hypermesh.wire.asset import Enforcement
from hypermesh.wire.rpc import JOB_OUTPUT_BYTES_MAX, JOB_WALL_MS_MAX

NODE, RLIMIT, TMPFS = "node", "rlimit", "tmpfs"
"""What keeps a limit, where no cgroup does."""


class Offering:
    """Reads of the engine ladder, by any thread."""

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder

    def view(self) -> CatalogView:
        """Every engine, those that do not exist yet included."""
        offered = packages.offered()
        return CatalogView(
            engines=[_engine(each, list(offered)) for each in self._ladder.engines()],
            packages=[PackageView(name, version) for name, version in offered.items()],
            limits=limits(self._ladder.cpu, self._ladder.memory, self._ladder.processes),
            jobs_max=JOBS_CONCURRENT_MAX,
        )


def limits(cpu: Enforcement, memory: Enforcement, processes: Enforcement) -> list[LimitView]:
    """The limits of a Python job, where these keep CPU, memory and processes. What a cgroup does
    not keep is bounded for each process alone, if at all."""
    unenforced = Enforcement.UNENFORCED
    return [
        LimitView("cpu", "millicore", None, cpu.value),
        LimitView("memory", "byte", None, RLIMIT if memory is unenforced else memory.value),
        LimitView(
            "processes",
            "process",
            PROCESSES_MAX,
            RLIMIT if processes is unenforced else processes.value,
        ),
        LimitView("open files of a process", "file", OPEN_FILES_MAX, RLIMIT),
        LimitView("work directory", "byte", WORKSPACE_BYTES_MAX, TMPFS),
        LimitView("wall time", "ms", JOB_WALL_MS_MAX, NODE),
        LimitView("output", "byte", JOB_OUTPUT_BYTES_MAX, NODE),
    ]


def _engine(info: EngineInfo, offered: list[str]) -> EngineView:
    return EngineView(
        name=info.name,
        available=info.available,
        isolation=info.isolation,
        reason=info.reason,
        runtime=info.runtime or None,
        cpu=info.cpu,
        memory=info.memory,
        packages=offered if info.name == PythonEngine.name and info.available else [],
    )
