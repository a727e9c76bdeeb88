"""The numbers of STOQ beside other transports.

    python benches/stoq.py [--report FILE] [--only NAME ...] [--short]

Writes `benches/results/stoq.json`, or FILE. With `--only` nothing is written unless FILE is given.
`--short` runs everything once and briefly: it shows that each measure works, takes no figure worth
keeping, and writes nothing unless FILE is given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from measures.transport import bulk, connections, curves, handshake, request
from measures.transport.scale import FULL, SHORT, Scale
from result import RESULTS, Metric, write

MEASURES: dict[str, Callable[[Scale], list[Metric]]] = {
    "loopback": bulk.measure_loopback,
    "mtu1500": bulk.measure_mtu1500,
    "mtu9000": bulk.measure_mtu9000,
    "request": request.measure,
    "handshake": handshake.measure,
    "connections": connections.measure,
    "curves": curves.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", type=Path)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=None)
    parser.add_argument("--short", action="store_true")
    arguments = parser.parse_args()
    scale = SHORT if arguments.short else FULL
    metrics: list[Metric] = []
    for name in arguments.only or MEASURES:
        found = MEASURES[name](scale)
        metrics += found
        sys.stdout.write("".join(f"{each}\n" for each in found))
        sys.stdout.flush()
    report: Path | None = arguments.report
    if report is None and arguments.only is None and not arguments.short:
        report = RESULTS / "stoq.json"
    if report is not None:
        write(report, report.stem, "make bench-stoq", metrics)


if __name__ == "__main__":
    main()
