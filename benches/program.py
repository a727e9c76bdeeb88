"""What the programs that measure share: their options, what they print, what they write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from result import RESULTS, Metric, write

Measure = Callable[[], list[Metric]]


def main(description: str | None, name: str, measures: Mapping[str, Measure]) -> None:
    """Take the measures that are asked for, and write `benches/results/NAME.json` or what
    `--report` says. `make bench-NAME` is what takes them again."""
    arguments = options(description, measures).parse_args()
    metrics = measured(measures, arguments.only or measures)
    if (report := report_of(arguments, name)) is not None:
        write(report, name, f"make bench-{name}", metrics)


def options(description: str | None, names: Collection[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", type=Path)
    parser.add_argument("--only", nargs="+", choices=names, default=None)
    return parser


def measured(measures: Mapping[str, Measure], names: Iterable[str]) -> list[Metric]:
    """The metrics of the measures `names`, each printed when it is there."""
    return [metric for name in names for metric in told(measures[name]())]


def told(metrics: list[Metric]) -> list[Metric]:
    """`metrics`, printed."""
    sys.stdout.write("".join(f"{each}\n" for each in metrics))
    sys.stdout.flush()
    return metrics


def report_of(arguments: argparse.Namespace, name: str) -> Path | None:
    """The file to write: the one that was named, or that of `name` where all was measured."""
    report: Path | None = arguments.report
    if report is None and arguments.only is None:
        report = RESULTS / f"{name}.json"
    return report
