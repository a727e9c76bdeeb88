"""The numbers of the main job.

    python benches/core.py [--report FILE] [--only NAME ...]

Writes `benches/results/core.json`, or FILE. With `--only` nothing is written unless FILE is given.
"""

from __future__ import annotations

from measures import inventory, job, lease, memory, operation, rest, start, verification
from program import Measure, main

MEASURES: dict[str, Measure] = {
    "operation": operation.measure,
    "verify": verification.measure,
    "inventory": inventory.measure,
    "start": start.measure,
    "memory": memory.measure,
    "lease": lease.measure,
    "job": job.measure,
    "rest": rest.measure,
}


if __name__ == "__main__":
    main(__doc__, "core", MEASURES)
