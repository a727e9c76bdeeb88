"""Cut the power at every instant of long recordings, kill processes at drawn ones, and count what
was acknowledged and lost.

    python -m benches.killpoints [--report FILE]

It runs the campaigns of `tests/faults` at full length. `docs/explanation/durability.md` says what a
kill point is and what is taken for granted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benches.result import RESULTS, Metric, metric, percentile, write
from tests.faults import holdings, recorder
from tests.faults.killpoints import Outcome, campaign
from tests.faults.kills import deaths, killed_ledger, killed_stores
from tests.faults.plants import NOT_SETTLED, STORES, SYNCS
from tests.faults.recorder import Kind
from tests.faults.scenarios import LedgerScenario, stores_life, stores_lives
from tests.faults.workloads import Recording

COMMAND = "make bench-killpoints"
OPERATIONS = 300
ROUNDS = 24
KILLS = 50
LEDGER_KINDS = (Kind.SYNC, Kind.WRITE, Kind.MARK)
STORES_KINDS = (Kind.SYNC, Kind.RENAME, Kind.WRITE, Kind.MARK, Kind.UNLINK)
PLANTED_EVERY = 10


def figure(
    identifier: str, value: float, unit: str, *, goal: float | None, better: str = "lower"
) -> Metric:
    return metric(identifier, [value], unit, goal=goal, better=better)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Campaigns:
    """All of it, one after the other, in `base`."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._library = recorder.build(base)
        self._scenario = LedgerScenario.make(self._new("network"), OPERATIONS)

    def metrics(self) -> list[Metric]:
        return [*self._ledger(), *self._stores(), *self._planted(), *self._killed()]

    def _ledger(self) -> list[Metric]:
        recording = self._scenario.three_lives(self._library, self._new("ledger"))
        outcome = campaign(recording.records(), self._scenario.chain(recording).check)
        _explain("ledger", outcome)
        name, points = "faults.killpoints", "kill points"
        return [
            figure(f"{name}.count", outcome.kill_points, points, goal=2000, better="higher"),
            figure(f"{name}.instants", outcome.instants, "instants", goal=None, better="higher"),
            figure(f"{name}.lost", len(outcome.lost), points, goal=0),
            figure(f"{name}.invented", len(outcome.invented), points, goal=0),
            metric(
                f"{name}.check_p99",
                outcome.recovery_ms,
                "ms",
                value=percentile(outcome.recovery_ms, 0.99),
            ),
        ]

    def _stores(self) -> list[Metric]:
        recording = stores_lives(self._library, self._new("stores"), ROUNDS // 2)
        outcome = campaign(recording.records(), holdings.check_founding)
        _explain("stores", outcome)
        name, points = "faults.killpoints.stores", "kill points"
        return [
            figure(f"{name}.count", outcome.kill_points, points, goal=2000, better="higher"),
            figure(f"{name}.lost", len(outcome.lost), points, goal=0),
            figure(f"{name}.invented", len(outcome.invented), points, goal=0),
        ]

    def _planted(self) -> list[Metric]:
        """At how many kill points each planted fault shows."""
        found: dict[str, Outcome] = {}
        for plant in (*filter(None, STORES), NOT_SETTLED):
            lives = self._scenario.three_lives if plant == NOT_SETTLED else self._scenario.one_life
            recording = lives(self._library, self._new(plant), plant)
            check = self._scenario.chain(recording).check
            found[plant] = campaign(recording.records(), check, every=PLANTED_EVERY)
        for plant in SYNCS:
            recording = Recording.begin(self._library, self._new(plant))
            stores_life(recording, (0, ROUNDS), plant=plant)
            found[plant] = campaign(recording.records(), holdings.check, every=PLANTED_EVERY)
        for plant, outcome in found.items():
            _explain(f"planted, {plant}", outcome)
        off = found["synchronous=OFF"]
        seen = sum(1 for outcome in found.values() if outcome.lost)
        name = "faults.killpoints"
        return [
            figure(f"{name}.off_detected", len(off.lost), "kill points", goal=1, better="higher"),
            figure(f"{name}.off_count", off.kill_points, "kill points", goal=None, better="higher"),
            figure(
                f"{name}.planted_found", seen, "planted faults", goal=len(found), better="higher"
            ),
        ]

    def _killed(self) -> list[Metric]:
        ledger = killed_ledger(
            self._scenario, self._library, self._new("kill"), deaths(2, KILLS, LEDGER_KINDS, 4)
        )
        stores = killed_stores(
            self._library, self._new("kill stores"), deaths(3, KILLS, STORES_KINDS, 14)
        )
        lost, invented = ledger.lost + stores.lost, ledger.invented + stores.invented
        for each in lost + invented:
            say(f"  {each}")
        kills = ledger.kills + stores.kills
        say(f"killed: {ledger.kills} sequencers, {stores.kills} nodes")
        return [
            figure("faults.kills.count", kills, "kills", goal=KILLS, better="higher"),
            figure("faults.kills.lost", len(lost), "promises", goal=0),
            figure("faults.kills.invented", len(invented), "promises", goal=0),
        ]

    def _new(self, name: str) -> Path:
        directory = self._base / "".join(filter(str.isalpha, name))[:16]
        directory.mkdir()
        return directory


def _explain(name: str, outcome: Outcome) -> None:
    say(
        f"{name}: {outcome.kill_points} kill points at {outcome.instants} instants, "
        f"{outcome.nothing_arrived} of them with nothing unsynced; "
        f"lost at {len(outcome.lost)}, invented at {len(outcome.invented)}"
    )
    for each in (outcome.lost + outcome.invented)[:2]:
        say(f"  {each}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--report", type=Path, default=RESULTS / "killpoints.json")
    report = arguments.parse_args().report
    with tempfile.TemporaryDirectory(prefix="kp-") as directory:
        metrics = Campaigns(Path(directory)).metrics()
    write(report, "killpoints", COMMAND, metrics)
    for found in metrics:
        say(str(found))


if __name__ == "__main__":
    main()
