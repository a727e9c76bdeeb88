"""The numbers of STOQ beside other transports.

    python benches/stoq.py [--report FILE] [--only NAME ...] [--short]

Writes `benches/results/stoq.json`, or FILE. With `--only` nothing is written unless FILE is given.
`--short` runs everything once and briefly: it shows that each measure works, takes no figure worth
keeping, and writes nothing unless FILE is given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import namespaces
from measures.transport import ablation, bulk, connections, curves, files, handshake, lossy, request
from measures.transport.ends import RUST
from measures.transport.scale import FULL, SHORT, Scale
from program import measured, options, report_of
from result import ROOT, Metric, write

MEASURES: dict[str, Callable[[Scale], list[Metric]]] = {
    "loopback": bulk.measure_loopback,
    "mtu1500": bulk.measure_mtu1500,
    "mtu9000": bulk.measure_mtu9000,
    "request": request.measure,
    "handshake": handshake.measure,
    "connections": connections.measure,
    "lossy": lossy.measure,
    "transfer": files.measure,
    "curves": curves.measure,
    "ablation": ablation.measure,
}
BETWEEN_MACHINES = ("mtu1500", "mtu9000", "lossy", "ablation")


def main() -> None:
    parser = options(__doc__, MEASURES)
    parser.add_argument("--short", action="store_true")
    arguments = parser.parse_args()
    scale = SHORT if arguments.short else FULL
    asked = arguments.only or list(MEASURES)
    if missing := [why for name in asked for why in unavailable(name)]:
        raise SystemExit("\n".join(dict.fromkeys(missing)))
    metrics = measured({name: partial(MEASURES[name], scale) for name in asked}, asked)
    report = arguments.report if arguments.short else report_of(arguments, "stoq")
    if report is not None:
        write(report, report.stem, "make bench-stoq", metrics)


def unavailable(name: str) -> list[str]:
    """What is missing for a measure: said before anything has run, and not after ten minutes."""
    found = [] if RUST.exists() else [f"{RUST.relative_to(ROOT)} is not built: make bench-stoq"]
    if name == "lossy" and not lossy.RELAY.exists():
        found.append(f"{lossy.RELAY.relative_to(ROOT)} is not built: make bench-stoq")
    if name == "transfer":
        found.append(files.unavailable())
    if name in BETWEEN_MACHINES:
        found.append(namespaces.unavailable())
    return [why for why in found if why]


if __name__ == "__main__":
    main()
