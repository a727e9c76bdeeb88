"""A campaign: cut the power at every instant of a recording, and check what is left."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .disk import Disk, Fate, NothingUnsynced, SomeUnsynced, write_out
from .promises import Promises, Verdict
from .recorder import Kind, Record
from .workloads import base_temporary

Check = Callable[[Path, Promises], Verdict]
"""Opens what is left in a directory and compares it with what was promised."""


@dataclass
class Outcome:
    """What a campaign found. A kill point is an instant together with what arrived of the unsynced
    changes; those that leave the same disk under the same promises count once."""

    instants: int = 0
    kill_points: int = 0
    nothing_arrived: int = 0
    """Kill points at which nothing unsynced did."""
    lost: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    recovery_ms: list[float] = field(default_factory=list)

    def add(self, place: str, verdict: Verdict, elapsed_s: float) -> None:
        self.kill_points += 1
        self.recovery_ms.append(elapsed_s * 1000)
        if verdict.lost:
            self.lost.append(f"{place}: {verdict.lost[0]}")
        if verdict.invented:
            self.invented.append(f"{place}: {verdict.invented[0]}")


def campaign(
    records: Sequence[Record],
    check: Check,
    *,
    every: int = 1,
    enough: int | None = None,
) -> Outcome:
    """Cut the power after each operation and acknowledgement of `records`.

    At each instant nothing unsynced arrives; at each `every`-th some does, by lots drawn from its
    number. Stops after `enough` kill points with something wrong.
    """
    outcome, disk, promises = Outcome(), Disk(), Promises()
    seen: tuple[int, int] | None = None
    syncs = 0
    with tempfile.TemporaryDirectory(dir=base_temporary(), prefix="killpoints-") as directory:

        def cut(fate: Fate, place: str) -> None:
            point = Path(directory) / "point"
            write_out(disk.image(fate), point)
            start = time.perf_counter()
            verdict = check(point, promises)
            outcome.add(place, verdict, time.perf_counter() - start)
            shutil.rmtree(point)

        for number, record in enumerate(records):
            disk.play(record)
            if record.kind is Kind.MARK and not promises.hear(record.payload):
                continue
            syncs += record.kind is Kind.SYNC
            outcome.instants += 1
            place = f"after operation {number} ({record.kind.name})"
            if seen != (syncs, promises.acknowledged):
                seen = (syncs, promises.acknowledged)
                outcome.nothing_arrived += 1
                cut(NothingUnsynced(), place)
            if outcome.instants % every == 0:
                cut(SomeUnsynced((number,)), f"{place}, some arrived")
            if enough is not None and len(outcome.lost) + len(outcome.invented) >= enough:
                break
    return outcome


def left_at(
    records: Sequence[Record], instant: int, fate: Fate, point: Path
) -> tuple[Disk, Promises]:
    """Lay out in `point` what is left when the power goes after the first `instant` operations."""
    disk, promises = Disk(), Promises()
    for record in records[:instant]:
        disk.play(record)
        if record.kind is Kind.MARK:
            promises.hear(record.payload)
    write_out(disk.image(fate), point)
    return disk, promises
