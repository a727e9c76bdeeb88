"""A process killed again and again, and what it acknowledged over a pipe before each death.

A kill leaves what was written in the system's cache. So this asks other questions than a power cut
does: whether writing, committing and answering happen in that order, and whether a process finds
its way back from every half-done step.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import holdings
from .ledger_check import Chain, blocks_of, opened
from .ledger_process import transaction_key
from .promises import Promises, Verdict
from .recorder import Kind
from .scenarios import LedgerScenario, stores_life
from .workloads import Death, Life, Recording, base_temporary

A_LIFE = 6
"""Operations of the ledger that a life sets out to do."""
COUNT_MAX = {Kind.WRITE: 24, Kind.SYNC: 3, Kind.MARK: 4, Kind.RENAME: 2, Kind.UNLINK: 2}


@dataclass
class Survival:
    """What was found after all deaths."""

    kills: int = 0
    lost: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)

    def add(self, life: Life, death: Death, verdict: Verdict) -> None:
        self.kills += life.killed
        place = f"killed before {death.kind.name} {death.count} after {death.after}"
        self.lost += [f"{place}: {each}" for each in verdict.lost]
        self.invented += [f"{place}: {each}" for each in verdict.invented]


def deaths(seed: int, number: int, kinds: Sequence[Kind], after_max: int) -> list[Death]:
    """`number` instants to die at, drawn from `seed`."""
    lots = np.random.default_rng(seed)
    drawn = []
    for place in range(number):
        kind = kinds[place % len(kinds)]
        count = int(lots.integers(COUNT_MAX[kind])) + 1
        drawn.append(Death(int(lots.integers(after_max + 1)), kind, count))
    return drawn


def killed_ledger(
    scenario: LedgerScenario, library: Path, base: Path, orders: Sequence[Death]
) -> Survival:
    """One ledger, its sequencer killed once for each of `orders`."""
    recording = Recording.begin(library, base)
    genesis, kernel = scenario.network.genesis, scenario.network.kernel()
    keys = [transaction_key(kernel.tx_id(entry)) for entry in scenario.log.entries]
    promises, survival = Promises(), Survival()
    for death in orders:
        open_end = [place for place, key in enumerate(keys) if key not in promises.answered]
        first = max(0, min(open_end, default=len(keys)) - 1)
        life = scenario.live(recording, first, min(first + A_LIFE, len(keys)), death=death)
        for mark in life.said:
            promises.hear(mark)
        with copied(recording.directory) as found:
            ledger = found / "node" / "ledger"
            opened(ledger, genesis).close()
            verdict = Chain(genesis, blocks_of(ledger)).check(found, promises)
        survival.add(life, death, verdict)
    return survival


def killed_stores(library: Path, base: Path, orders: Sequence[Death]) -> Survival:
    """One data directory, its node killed once for each of `orders`."""
    recording = Recording.begin(library, base)
    promises, survival = Promises(), Survival()
    for number, death in enumerate(orders):
        life = stores_life(recording, (number, number + 1), death=death)
        for mark in life.said:
            promises.hear(mark)
        with copied(recording.directory) as found:
            survival.add(life, death, holdings.check(found, promises))
    return survival


@contextmanager
def copied(directory: Path) -> Iterator[Path]:
    """A copy to look into: what the dead left is for the next life to find its way in."""
    with tempfile.TemporaryDirectory(dir=base_temporary(), prefix="kills-") as temporary:
        copy = Path(temporary) / "disk"
        shutil.copytree(directory, copy)
        yield copy
