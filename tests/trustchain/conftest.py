"""Networks to test against; making keys takes most of a test's time, so they are shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from .samples import Network, make_network


@pytest.fixture(scope="session")
def network() -> Network:
    return make_network()


@pytest.fixture(scope="session")
def other_network() -> Network:
    return make_network()


@pytest.fixture(scope="session")
def vectors() -> Path:
    return Path(__file__).parents[2] / "vectors"
