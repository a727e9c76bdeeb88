"""Reading what the machine has to lend, in a process that has not done it before."""

from __future__ import annotations

import json
import subprocess
import sys

from result import Metric, metric

from measures.network import scratch

PROCESSES = 20
GOAL_MS = 50.0

PROGRAM = """
import json, sys, time
started = time.perf_counter()
from pathlib import Path
from hypermesh.assets.discovery import discover
imported = time.perf_counter()
found = discover(Path(sys.argv[1]))
ended = time.perf_counter()
print(json.dumps([(ended - imported) * 1000, (ended - started) * 1000,
                  found.cpu.millicores, found.memory.effective, found.storage.free]))
"""


def measure(processes: int = PROCESSES) -> list[Metric]:
    read: list[float] = []
    imported_and_read: list[float] = []
    with scratch() as directory:
        for _ in range(processes):
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, str(directory)],
                capture_output=True,
                text=True,
                check=True,
            )
            alone, whole, *amounts = json.loads(done.stdout)
            if not all(amounts):
                raise SystemExit(f"the inventory has empty amounts: {amounts}")
            read.append(alone)
            imported_and_read.append(whole)
    return [
        metric("core.inventory", read, "ms", goal=GOAL_MS),
        metric("core.inventory.with_imports", imported_and_read, "ms"),
    ]
