"""A process is killed at drawn instants, over and over; what it acknowledged is there each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from .kills import deaths, killed_ledger, killed_stores
from .recorder import Kind
from .scenarios import LedgerScenario

LEDGER_KINDS = (Kind.SYNC, Kind.WRITE, Kind.MARK)
STORES_KINDS = (Kind.SYNC, Kind.RENAME, Kind.WRITE, Kind.MARK, Kind.UNLINK)
KILLS_MIN = 50
FULL_TIMEOUT_S = 900


def test_a_sequencer_killed_a_few_times(
    scenario: LedgerScenario, library: Path, tmp_path: Path
) -> None:
    survival = killed_ledger(scenario, library, tmp_path, deaths(1, 3, LEDGER_KINDS, 3))
    assert survival.lost == []
    assert survival.invented == []
    assert survival.kills >= 2


def test_a_node_killed_a_few_times(library: Path, tmp_path: Path) -> None:
    survival = killed_stores(library, tmp_path, deaths(1, 3, STORES_KINDS, 8))
    assert survival.lost == []
    assert survival.invented == []
    assert survival.kills >= 2


@pytest.mark.long
@pytest.mark.timeout(FULL_TIMEOUT_S)
def test_many_kills(library: Path, tmp_path: Path) -> None:
    for place in ("network", "ledger", "stores"):
        (tmp_path / place).mkdir()
    scenario = LedgerScenario.make(tmp_path / "network", 200)
    ledger = killed_ledger(
        scenario, library, tmp_path / "ledger", deaths(2, KILLS_MIN, LEDGER_KINDS, 4)
    )
    stores = killed_stores(library, tmp_path / "stores", deaths(3, KILLS_MIN, STORES_KINDS, 14))
    assert ledger.lost + stores.lost == []
    assert ledger.invented + stores.invented == []
    assert ledger.kills + stores.kills >= KILLS_MIN
