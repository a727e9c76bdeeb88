"""The recorder, and one recording of each workload for the quick tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import recorder
from .ledger_check import Chain
from .scenarios import LedgerScenario, stores_lives
from .workloads import Recording

OPERATIONS = 90
ROUNDS = 2


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorder.build(tmp_path_factory.mktemp("recorder"))


@pytest.fixture(scope="session")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> LedgerScenario:
    return LedgerScenario.make(tmp_path_factory.mktemp("network"), OPERATIONS)


@pytest.fixture(scope="session")
def ledger(
    scenario: LedgerScenario, library: Path, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    return scenario.three_lives(library, tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="session")
def chain(scenario: LedgerScenario, ledger: Recording) -> Chain:
    return scenario.chain(ledger)


@pytest.fixture(scope="session")
def stores(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return stores_lives(library, tmp_path_factory.mktemp("stores"), ROUNDS)
