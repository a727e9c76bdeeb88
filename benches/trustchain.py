"""The numbers of TrustChain: authority, ACME, transparency log, names, revocation.

    python benches/trustchain.py [--report FILE] [--only NAME ...]

Writes `benches/results/trustchain.json`, or FILE. With `--only` nothing is written unless FILE is
given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from measures import (
    trustchain_acme,
    trustchain_dns,
    trustchain_issue,
    trustchain_issue_https,
    trustchain_log,
    trustchain_lookup,
    trustchain_revocation,
)
from result import RESULTS, Metric, write

MEASURES: dict[str, Callable[[], list[Metric]]] = {
    "issue": trustchain_issue.measure,
    "https": trustchain_issue_https.measure,
    "lookup": trustchain_lookup.measure,
    "acme": trustchain_acme.measure,
    "log": trustchain_log.measure,
    "dns": trustchain_dns.measure,
    "revocation": trustchain_revocation.measure,
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
        report = RESULTS / "trustchain.json"
    if report is not None:
        write(report, "trustchain", "make bench-trustchain", metrics)


if __name__ == "__main__":
    main()
