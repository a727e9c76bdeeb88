"""The power goes at the instants of a sequencer's life; its ledger keeps every promise."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from .disk import NothingUnsynced, SomeUnsynced, read_in
from .killpoints import campaign, left_at
from .ledger_check import Chain, goes_on
from .plants import NOT_SETTLED, STORES
from .promises import Promises
from .recorder import Kind, Record
from .scenarios import LedgerScenario
from .workloads import Recording

KILL_POINTS_MIN = 2_000
OPERATIONS = 300
FULL_TIMEOUT_S = 900


def heard(records: list[Record]) -> Promises:
    promises = Promises()
    for record in records:
        if record.kind is Kind.MARK:
            promises.hear(record.payload)
    return promises


def test_the_model_ends_with_the_very_files_that_the_process_left(
    ledger: Recording, tmp_path: Path
) -> None:
    records = ledger.records()
    disk, _ = left_at(records, len(records), SomeUnsynced((0,)), tmp_path / "point")
    assert disk.present() == read_in(ledger.directory)
    assert {Path(path).name for path in disk.mapped} == {"ledger.sqlite-shm"}


def test_the_workload_is_mixed_and_checkpoints(scenario: LedgerScenario, ledger: Recording) -> None:
    accepted = {kind for (kind, code) in scenario.log.outcomes if code == "ok"}
    assert accepted >= {
        "identity.own",
        "identity.enrol",
        "bank.faucet",
        "bank.transfer",
        "stake.bond",
        "consensus.attest",
        "asset.register",
        "lease.open",
        "lease.activate",
        "lease.settle",
    }
    records = ledger.records()
    assert Counter(record.kind for record in records)[Kind.START] == 3
    assert [r for r in records if r.kind is Kind.UNLINK and r.paths[0].endswith("-wal")]
    assert heard(records).acknowledged > scenario.length


def test_nothing_acknowledged_is_lost_and_nothing_invented(ledger: Recording, chain: Chain) -> None:
    outcome = campaign(ledger.records(), chain.check, every=8)
    assert outcome.lost == []
    assert outcome.invented == []
    assert outcome.kill_points > 250


def test_what_is_left_takes_the_unanswered_again_and_goes_on(
    scenario: LedgerScenario, ledger: Recording, tmp_path: Path
) -> None:
    records = ledger.records()
    for number, share in enumerate((0.05, 0.3, 0.55, 0.8, 1.0)):
        for fate in (NothingUnsynced(), SomeUnsynced((number,))):
            point = tmp_path / "point"
            _, promises = left_at(records, int(share * len(records)), fate, point)
            answers = goes_on(
                point / "node" / "ledger",
                scenario.network.genesis,
                scenario.network.keys("alice"),
                scenario.log.entries,
            )
            assert promises.kept.items() <= answers.items()
            shutil.rmtree(point)


@pytest.mark.parametrize("plant", [plant for plant in STORES if plant])
def test_a_store_that_answers_too_early_is_found(
    scenario: LedgerScenario, library: Path, tmp_path: Path, plant: str
) -> None:
    recording = scenario.one_life(library, tmp_path, plant)
    outcome = campaign(recording.records(), scenario.chain(recording).check, every=50, enough=5)
    assert len(outcome.lost) == 5


def test_a_start_that_trusts_the_cache_is_found(
    scenario: LedgerScenario, library: Path, tmp_path: Path
) -> None:
    """A sequencer is killed before its commit is synced; the next one finds the block in the cache
    and answers from it; then the power goes."""
    recording = scenario.three_lives(library, tmp_path, NOT_SETTLED)
    outcome = campaign(recording.records(), scenario.chain(recording).check, every=10_000)
    assert outcome.lost


def test_a_transaction_that_nobody_submitted_is_found(ledger: Recording, chain: Chain) -> None:
    records = ledger.records()
    marks = [record for record in records if record.kind is Kind.MARK]
    key = marks[0].payload.split(b'"tx ')[1][:64]
    unheard = [record for record in records if key not in record.payload[:200]]
    outcome = campaign(unheard, chain.check, every=10_000, enough=1)
    assert outcome.invented


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE rows SET value = x'00' WHERE key = (SELECT max(key) FROM rows)",
        "DELETE FROM transactions WHERE height = 2",
        "UPDATE blocks SET block = x'00' WHERE height = 1",
        # Buckets whose rows are all gone are empty already.
        "UPDATE buckets SET entries = x'90' WHERE number = "
        "(SELECT max(number) FROM buckets WHERE entries != x'90')",
        "DELETE FROM blocks WHERE height = (SELECT max(height) FROM blocks)",
    ],
)
def test_a_ledger_that_differs_from_its_replay_is_found(
    ledger: Recording, chain: Chain, tmp_path: Path, damage: str
) -> None:
    point = tmp_path / "point"
    records = ledger.records()
    _, promises = left_at(records, len(records), NothingUnsynced(), point)
    assert not chain.check(point, promises)
    with closing(sqlite3.connect(point / "node" / "ledger" / "ledger.sqlite")) as connection:
        assert connection.execute(damage).rowcount > 0
        connection.commit()
    assert chain.check(point, promises)


@pytest.mark.long
@pytest.mark.timeout(FULL_TIMEOUT_S)
def test_every_instant_of_a_long_life(
    library: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scenario = LedgerScenario.make(tmp_path_factory.mktemp("long"), OPERATIONS)
    recording = scenario.three_lives(library, tmp_path_factory.mktemp("lives"))
    outcome = campaign(recording.records(), scenario.chain(recording).check)
    assert outcome.lost == []
    assert outcome.invented == []
    assert outcome.kill_points >= KILL_POINTS_MIN
