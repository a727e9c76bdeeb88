"""`hm up` as its user waits for it: until it says that the node is ready.

The first start founds the network (VDF, plot, keys, certificates, ledger), attests and registers
the assets; a later start finds all that and has the node in the network again. The value is the
slowest run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from result import Metric, metric

from hypermesh.node.background import stop
from measures.network import SHARE, scratch

FIRST_STARTS = 5
LATER_STARTS = 2
"""After each first one."""
FIRST_GOAL_S = 15.0
LATER_GOAL_S = 3.0
HM = Path(sys.executable).with_name("hm")


def measure(first_starts: int = FIRST_STARTS, later_starts: int = LATER_STARTS) -> list[Metric]:
    first: list[float] = []
    later: list[float] = []
    for _ in range(first_starts):
        with scratch() as directory:
            data = directory / "alice"
            first.append(up(data))
            later += [up(data) for _ in range(later_starts)]
    return [
        metric("core.start.first", first, "s", value=max(first), goal=FIRST_GOAL_S),
        metric("core.start.later", later, "s", value=max(later), goal=LATER_GOAL_S),
    ]


def up(data: Path) -> float:
    """Seconds of one `hm up`; the node is stopped afterwards."""
    command = [str(HM), "up", "--data", str(data), "--name", data.name, "--share", SHARE]
    command += ["--stoq-host", "::1", "--output", "json"]
    started = time.perf_counter()
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started
    finally:
        stop(data)
