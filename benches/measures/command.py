"""What a user waits for `hm`: the whole process, from its start to its end.

`hm` alone says what there is to do; `hm status` asks a running node. An interpreter that starts and
ends is the baseline. The value is the median.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from result import Metric, metric

from measures.network import network
from measures.start import HM

RUNS = 25
WARM = 3
GOAL_MS = 150.0


def measure(runs: int = RUNS) -> list[Metric]:
    with network() as nodes:
        node = nodes.found("alice")
        commands = {
            "product.cli.hm": ([str(HM)], b"hm"),
            "product.cli.status": ([str(HM), "status", "--data", str(node.data)], b"alice"),
            "product.cli.python": ([sys.executable, "-I", "-S", "-c", "print(42)"], b"42"),
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(WARM + runs):
            for name, (command, said) in commands.items():
                started = time.perf_counter()
                done = subprocess.run(
                    command, capture_output=True, check=True, cwd=Path(node.data).parent
                )
                elapsed_ms = (time.perf_counter() - started) * 1000
                if said not in done.stdout:
                    raise SystemExit(f"{command} answered {done.stdout!r}")
                if turn >= WARM:
                    taken[name].append(elapsed_ms)
    baseline = "product.cli.python"
    return [
        metric("product.cli.hm", taken["product.cli.hm"], "ms", goal=GOAL_MS, baseline=baseline),
        metric(
            "product.cli.status", taken["product.cli.status"], "ms", goal=GOAL_MS, baseline=baseline
        ),
        metric(baseline, taken[baseline], "ms"),
    ]
