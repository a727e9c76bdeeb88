"""A founder and a follower that nobody asks anything, over more than two epochs.

Processor time is that of the node and of every process it starts (the provers of each epoch among
them). Memory is the sum over the same tree, sampled each second; the value is its largest, so a
prover counts while it lives. RSS counts shared pages once for each process, PSS shares them out.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from result import Metric, metric

from measures.network import Running, network

WINDOW_S = 135.0
SETTLE_S = 5.0
SAMPLE_S = 1.0
EPOCHS_MIN = 2
CPU_GOAL = 2.0
RSS_GOAL_MB = 150.0
MB = 1e6
TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Observed:
    """One node's process tree over the window."""

    node: Running
    cpu_s: list[float] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    pss_mb: list[float] = field(default_factory=list)

    def sample(self) -> None:
        pids = tree(self.node.pid)
        self.at_s.append(time.monotonic())
        self.cpu_s.append(sum(map(processor_s, pids)))
        memory = [resident_mb(pid) for pid in pids]
        self.rss_mb.append(sum(rss for rss, _ in memory))
        self.pss_mb.append(sum(pss for _, pss in memory))

    @property
    def share(self) -> float:
        """Percent of one core over the whole window."""
        return 100 * (self.cpu_s[-1] - self.cpu_s[0]) / (self.at_s[-1] - self.at_s[0])

    @property
    def shares(self) -> list[float]:
        """Percent of one core in each step between samples."""
        return [
            100 * (self.cpu_s[i] - self.cpu_s[i - 1]) / (self.at_s[i] - self.at_s[i - 1])
            for i in range(1, len(self.at_s))
        ]


def measure(window_s: float = WINDOW_S) -> list[Metric]:
    with network() as nodes:
        alice = nodes.found("alice")
        bob = nodes.join("bob", alice)
        time.sleep(SETTLE_S)
        observed = {"founder": Observed(alice), "follower": Observed(bob)}
        before = alice.mesh.consensus.status().epoch
        until = time.monotonic() + window_s
        while True:
            for each in observed.values():
                each.sample()
            if time.monotonic() >= until:
                break
            time.sleep(SAMPLE_S)
        turned = alice.mesh.consensus.status().epoch - before
    if window_s >= WINDOW_S and turned < EPOCHS_MIN:
        raise SystemExit(f"only {turned} epochs turned in {window_s:g} s")
    metrics = []
    for role, each in observed.items():
        name = f"core.rest.{role}"
        metrics += [
            metric(f"{name}.cpu", each.shares, "% of a core", value=each.share, goal=CPU_GOAL),
            metric(f"{name}.rss", each.rss_mb, "MB", value=max(each.rss_mb), goal=RSS_GOAL_MB),
            metric(f"{name}.pss", each.pss_mb, "MB", value=max(each.pss_mb)),
        ]
    return metrics


def tree(root: int) -> list[int]:
    """`root` and its living descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents[int(entry.name)] = int(fields[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def processor_s(pid: int) -> float:
    """Seconds of a process and of those of its children that have ended (proc(5), 14 to 17)."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / TICKS_S if fields else 0.0


def resident_mb(pid: int) -> tuple[float, float]:
    """(RSS, PSS) of a process; zero for one that has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    sizes = {line.split(":")[0]: line.split() for line in lines[1:]}
    if "Rss" not in sizes:
        return 0.0, 0.0
    return int(sizes["Rss"][1]) * 1024 / MB, int(sizes["Pss"][1]) * 1024 / MB


def _stat(pid: int) -> list[str]:
    """The fields of procfs `stat` from the third on; empty where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
