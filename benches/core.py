"""The numbers of the main job.

    python benches/core.py [--report FILE] [--only NAME ...]

Writes `benches/results/core.json`, or FILE. With `--only` nothing is written unless FILE is given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from measures import inventory, job, lease, memory, operation, rest, start, verification
from result import RESULTS, Metric, write

MEASURES: dict[str, Callable[[], list[Metric]]] = {
    "operation": operation.measure,
    "verify": verification.measure,
    "inventory": inventory.measure,
    "start": start.measure,
    "memory": memory.measure,
    "lease": lease.measure,
    "job": job.measure,
    "rest": rest.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", type=Path)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=None)
    arguments = parser.parse_args()
    metrics: list[Metric] = []
    for name in arguments.only or MEASURES:
        found = MEASURES[name]()
        metrics += found
        sys.stdout.write("".join(f"{each}\n" for each in found))
        sys.stdout.flush()
    report = arguments.report
    if report is None and arguments.only is None:
        report = RESULTS / "core.json"
    if report is not None:
        write(report, "core", "make bench-core", metrics)


if __name__ == "__main__":
    main()
