"""The file that a benchmark leaves: what was measured, where, by which command.

`benches/results/NAME.json` holds `schema_version`, `name`, `commit`, `command`, `host`, `date` and
`metrics`, each with `id`, `value`, `unit`, `goal`, `better`, `met`, `samples`, `baseline`. A goal
that was missed stays in the file. The host is described by its hardware and never by its name.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benches" / "results"
SCHEMA_VERSION = 1
SAMPLES_KEPT = 200
"""Of more samples than these, that many are kept, evenly spread over the run."""
DIGITS = 4
LOAD_BEFORE = os.getloadavg()[0]
"""Processes that ran or waited in the minute before this one began: how quiet the machine was."""


@dataclass(frozen=True)
class Metric:
    """One figure. `value` is what `samples` come to; `goal` is None where none was promised, and
    `baseline` the id of the metric that the same run compares it with."""

    id: str
    value: float
    unit: str
    goal: float | None
    better: str
    met: bool | None
    samples: list[float]
    baseline: str | None

    def __str__(self) -> str:
        sign = "<=" if self.better == "lower" else ">="
        verdict = "met" if self.met else "MISSED"
        goal = "" if self.goal is None else f"  (goal {sign} {self.goal:g}: {verdict})"
        return f"{self.id:36} {self.value:>10.4g} {self.unit}{goal}"


def metric(
    identifier: str,
    samples: Sequence[float],
    unit: str,
    *,
    value: float | None = None,
    goal: float | None = None,
    better: str = "lower",
    baseline: str | None = None,
) -> Metric:
    """A metric whose value is the median of `samples`, unless another `value` of them is given."""
    figure = round(statistics.median(samples) if value is None else value, DIGITS)
    met = None
    if goal is not None:
        met = figure <= goal if better == "lower" else figure >= goal
    kept = [round(sample, DIGITS) for sample in _spread(samples)]
    return Metric(identifier, figure, unit, goal, better, met, kept, baseline)


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which `share` (0 to 1) of them lie: the nearest rank."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def write(file: Path, name: str, command: str, metrics: Sequence[Metric]) -> None:
    """Write the result of one run to `file`."""
    result = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "commit": commit(),
        "command": command,
        "host": host(),
        "date": datetime.now(UTC).date().isoformat(),
        "metrics": [asdict(each) for each in metrics],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")


def host() -> str:
    """The machine in one line: processor, cores of this process, memory, kernel, Python, and what
    else it did just before."""
    cores = len(os.sched_getaffinity(0))
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return ", ".join(
        [
            _processor(),
            f"{cores} cores",
            f"{memory_gib:.0f} GiB",
            f"{platform.system()} {platform.release()}",
            f"{platform.python_implementation()} {platform.python_version()}",
            f"load average {LOAD_BEFORE:.1f} before the run",
        ]
    )


def commit() -> str:
    """The commit of the working tree; with `+` where tracked files differ from it."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git(
        "status", "--porcelain", "--untracked-files=no", "--", "src", "crates", "benches"
    )
    return f"{head}+" if changed else head


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _spread(samples: Sequence[float]) -> list[float]:
    count = len(samples)
    if count <= SAMPLES_KEPT:
        return list(samples)
    return [samples[index * count // SAMPLES_KEPT] for index in range(SAMPLES_KEPT)]
