"""The numbers of the product around the main job.

    python benches/product.py [--report FILE] [--only NAME ...] [--soak-minutes N]

Writes `benches/results/product.json`, or FILE, and what the soak measured beside it in
`product-soak.json`. With `--only` nothing is written unless FILE is given, except that the soak
alone takes FILE for itself.
"""

from __future__ import annotations

from measures import api, command, events, install, overload, soak
from program import Measure, measured, options, report_of, told
from result import write

MEASURES: dict[str, Measure] = {
    "install": install.measure,
    "cli": command.measure,
    "api": api.measure,
    "events": events.measure,
    "overload": overload.measure,
}
SOAK = "soak"


def main() -> None:
    parser = options(__doc__, [*MEASURES, SOAK])
    parser.add_argument("--soak-minutes", type=float, default=soak.MINUTES)
    arguments = parser.parse_args()
    asked = arguments.only or [*MEASURES, SOAK]
    metrics = measured(MEASURES, [name for name in asked if name != SOAK])
    report = report_of(arguments, "product")
    if report is not None and metrics:
        write(report, report.stem, "make bench-product", metrics)
    if SOAK in asked:
        lasting = told(soak.measure(arguments.soak_minutes))
        if report is not None:
            beside = report.with_name(f"{report.stem}-soak.json") if metrics else report
            command = f"make bench-product ({arguments.soak_minutes:g} minutes of soak)"
            write(beside, beside.stem, command, lasting)


if __name__ == "__main__":
    main()
