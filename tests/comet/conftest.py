"""One real network for the quick tests, and the engine where it is built."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypermesh.ledger.engines.comet.home import VERSION
from hypermesh.ledger.store import Store

from .network import Network

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / ".tools" / f"cometbft-{VERSION}"


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    made = Network(tmp_path_factory.mktemp("ca"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network that begins now, as the engine takes its time from this machine."""
    made = Network(tmp_path_factory.mktemp("ca"), time.time_ns() // 1_000_000)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path, network: Network) -> Iterator[Store]:
    opened = network.store(tmp_path / "ledger")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def engine() -> Path:
    """The pinned engine's program."""
    if not ENGINE.exists():
        pytest.fail(f"{ENGINE.relative_to(ROOT)} is not built; build it: make cometbft")
    return ENGINE
