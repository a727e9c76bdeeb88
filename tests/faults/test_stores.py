"""The power goes at the instants of a node's other stores; they keep every promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypermesh.node import lifecycle

from . import holdings
from .disk import SomeUnsynced, read_in
from .killpoints import campaign, left_at
from .plants import NOT_SETTLED, SYNCS
from .promises import Promises, Verdict
from .recorder import Kind, Record
from .scenarios import stores_life, stores_lives
from .workloads import Death, Recording

ROUNDS = 12
FULL_TIMEOUT_S = 900


def test_the_model_ends_with_the_very_files_that_the_process_left(
    stores: Recording, tmp_path: Path
) -> None:
    records = stores.records()
    disk, _ = left_at(records, len(records), SomeUnsynced((0,)), tmp_path / "point")
    assert disk.present() == read_in(stores.directory)
    assert {Path(path).suffix for path in disk.mapped} == {".sqlite-shm"}


def test_every_store_takes_part(stores: Recording) -> None:
    promises = Promises()
    for record in stores.records():
        if record.kind is Kind.MARK:
            promises.hear(record.payload)
    kinds = {key.split()[0] for key in promises.kept}
    assert kinds == {
        "settings",
        "genesis",
        "certificate",
        "seeds",
        "secret",
        "issued",
        "invitation",
        "hosted",
        "locator",
        "session",
        "answer",
        "token",
    }


def test_nothing_acknowledged_is_lost_and_nothing_invented(stores: Recording) -> None:
    outcome = campaign(stores.records(), holdings.check, every=5)
    assert outcome.lost == []
    assert outcome.invented == []
    assert outcome.kill_points > 250


def test_a_network_half_founded_is_founded_again(stores: Recording) -> None:
    records = stores.records()
    founding = [b'"done"' in record.payload[:99] for record in records].index(True)
    tries = 0

    def check(point: Path, promises: Promises) -> Verdict:
        nonlocal tries
        tries += 1
        every_few = holdings.check_founding if tries % 12 == 0 else holdings.check
        return every_few(point, promises)

    outcome = campaign(records[:founding], check, every=10)
    assert outcome.lost == []
    assert outcome.invented == []
    assert tries > 36


@pytest.mark.parametrize("plant", list(SYNCS))
def test_a_forgotten_sync_is_found(library: Path, tmp_path: Path, plant: str) -> None:
    recording = Recording.begin(library, tmp_path)
    stores_life(recording, (0, 1), plant=plant)
    outcome = campaign(recording.records(), holdings.check, every=2, enough=3)
    assert len(outcome.lost) == 3


def test_a_start_that_trusts_the_cache_is_found(
    stores: Recording, library: Path, tmp_path: Path
) -> None:
    """A node is killed before its API token's name is synced; the next one finds the token in the
    cache and gives it out; then the power goes."""
    recording = Recording.begin(library, tmp_path)
    death = before_the_name_is_synced(stores.records(), lifecycle.TOKEN_FILE)
    assert stores_life(recording, (0, 1), death=death).killed
    stores_life(recording, (1, 1), plant=NOT_SETTLED)
    outcome = campaign(recording.records(), holdings.check, every=10_000)
    assert [each for each in outcome.lost if "token" in each]


def before_the_name_is_synced(records: list[Record], name: str) -> Death:
    """The instant after the file `name` was replaced and before its directory was synced."""
    acknowledged = syncs = 0
    for record in records:
        if record.kind is Kind.MARK and b'"done"' in record.payload:
            acknowledged, syncs = acknowledged + 1, 0
        syncs += record.kind is Kind.SYNC
        if record.kind is Kind.RENAME and record.paths[1].endswith(f"/{name}"):
            break
    return Death(acknowledged, Kind.SYNC, syncs + 1)


@pytest.mark.long
@pytest.mark.timeout(FULL_TIMEOUT_S)
def test_every_instant_of_two_long_lives(library: Path, tmp_path: Path) -> None:
    records = stores_lives(library, tmp_path, ROUNDS).records()
    outcome = campaign(records, holdings.check_founding)
    assert outcome.lost == []
    assert outcome.invented == []
    assert outcome.kill_points > 2_000
