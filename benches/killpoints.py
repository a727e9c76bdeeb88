"""Cut the power at every instant of long recordings, kill processes at drawn ones, and count what
was acknowledged and lost.

    python -m benches.killpoints [--report FILE]

It runs the campaigns of `tests/faults` at full length. `docs/durability.md` says what a kill point
is and what is taken for granted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import holdings, recorder
from tests.faults.killpoints import Outcome, campaign
from tests.faults.kills import deaths, killed_ledger, killed_stores
from tests.faults.plants import NOT_SETTLED, STORES, SYNCS
from tests.faults.recorder import Kind
from tests.faults.scenarios import LedgerScenario, stores_life, stores_lives
from tests.faults.workloads import Recording

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = 300
ROUNDS = 24
KILLS = 50
LEDGER_KINDS = (Kind.SYNC, Kind.WRITE, Kind.MARK)
STORES_KINDS = (Kind.SYNC, Kind.RENAME, Kind.WRITE, Kind.MARK, Kind.UNLINK)
PLANTED_EVERY = 10


def metric(
    identifier: str, value: float, unit: str, *, goal: float | None, better: str = "lower"
) -> dict[str, object]:
    met = None if goal is None else (value <= goal if better == "lower" else value >= goal)
    return {
        "id": identifier,
        "value": value,
        "unit": unit,
        "goal": goal,
        "better": better,
        "met": met,
        "samples": [value],
        "baseline": None,
    }


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Campaigns:
    """All of it, one after the other, in `base`."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._library = recorder.build(base)
        self._scenario = LedgerScenario.make(self._new("network"), OPERATIONS)

    def metrics(self) -> list[dict[str, object]]:
        return [*self._ledger(), *self._stores(), *self._planted(), *self._killed()]

    def _ledger(self) -> list[dict[str, object]]:
        recording = self._scenario.three_lives(self._library, self._new("ledger"))
        outcome = campaign(recording.records(), self._scenario.chain(recording).check)
        _explain("ledger", outcome)
        name, points = "faults.killpoints", "kill points"
        return [
            metric(f"{name}.count", outcome.kill_points, points, goal=2000, better="higher"),
            metric(f"{name}.instants", outcome.instants, "instants", goal=None, better="higher"),
            metric(f"{name}.lost", len(outcome.lost), points, goal=0),
            metric(f"{name}.invented", len(outcome.invented), points, goal=0),
            metric(f"{name}.check_p99", _p99(outcome.recovery_ms), "ms", goal=None),
        ]

    def _stores(self) -> list[dict[str, object]]:
        recording = stores_lives(self._library, self._new("stores"), ROUNDS // 2)
        outcome = campaign(recording.records(), holdings.check_founding)
        _explain("stores", outcome)
        name, points = "faults.killpoints.stores", "kill points"
        return [
            metric(f"{name}.count", outcome.kill_points, points, goal=2000, better="higher"),
            metric(f"{name}.lost", len(outcome.lost), points, goal=0),
            metric(f"{name}.invented", len(outcome.invented), points, goal=0),
        ]

    def _planted(self) -> list[dict[str, object]]:
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
            metric(f"{name}.off_detected", len(off.lost), "kill points", goal=1, better="higher"),
            metric(f"{name}.off_count", off.kill_points, "kill points", goal=None, better="higher"),
            metric(
                f"{name}.planted_found", seen, "planted faults", goal=len(found), better="higher"
            ),
        ]

    def _killed(self) -> list[dict[str, object]]:
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
            metric("faults.kills.count", kills, "kills", goal=KILLS, better="higher"),
            metric("faults.kills.lost", len(lost), "promises", goal=0),
            metric("faults.kills.invented", len(invented), "promises", goal=0),
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


def _p99(samples: list[float]) -> float:
    return round(statistics.quantiles(samples, n=100)[98], 3)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--report", type=Path, default=ROOT / "benches/results/killpoints.json")
    report = arguments.parse_args().report
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="kp-") as directory:
        metrics = Campaigns(Path(directory)).metrics()
    result = {
        "schema_version": 1,
        "name": "killpoints",
        "commit": commit,
        "command": "python -m benches.killpoints",
        "host": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "metrics": metrics,
    }
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(result, indent=1) + "\n")
    for found in metrics:
        goal = "" if found["goal"] is None else f" (goal {found['goal']})"
        say(f"{found['id']:32} {found['value']} {found['unit']}{goal}")


if __name__ == "__main__":
    main()
