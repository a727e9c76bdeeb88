"""The numbers of the product around the main job.

    python benches/product.py [--report FILE] [--only NAME ...] [--soak-minutes N]

Writes `benches/results/product.json`, or FILE, and what the soak measured beside it in
`product-soak.json`. With `--only` nothing is written unless FILE is given, except that the soak
alone takes FILE for itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from measures import api, command, events, install, overload, soak
from result import RESULTS, Metric, write

MEASURES: dict[str, Callable[[], list[Metric]]] = {
    "install": install.measure,
    "cli": command.measure,
    "api": api.measure,
    "events": events.measure,
    "overload": overload.measure,
}
SOAK = "soak"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*MEASURES, SOAK], default=None)
    parser.add_argument("--soak-minutes", type=float, default=soak.MINUTES)
    arguments = parser.parse_args()
    asked = arguments.only or [*MEASURES, SOAK]
    metrics: list[Metric] = []
    for name in asked:
        if name != SOAK:
            metrics += told(MEASURES[name]())
    report: Path | None = arguments.report
    if report is None and arguments.only is None:
        report = RESULTS / "product.json"
    if report is not None and metrics:
        write(report, report.stem, "make bench-product", metrics)
    if SOAK in asked:
        lasting = told(soak.measure(arguments.soak_minutes))
        if report is not None:
            beside = report.with_name(f"{report.stem}-soak.json") if metrics else report
            command = f"make bench-product ({arguments.soak_minutes:g} minutes of soak)"
            write(beside, beside.stem, command, lasting)


def told(metrics: list[Metric]) -> list[Metric]:
    sys.stdout.write("".join(f"{each}\n" for each in metrics))
    sys.stdout.flush()
    return metrics


if __name__ == "__main__":
    main()
