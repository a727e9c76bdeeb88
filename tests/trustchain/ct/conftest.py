"""An authority and logs for the tests of the transparency logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgresql.fixtures import STORES, place_of

from hypermesh.trustchain.ct.log import TransparencyLogs

from .samples import PLACE, Issuer, opened


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer.make()


@pytest.fixture(params=STORES)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """`tmp_path`, whose logs are in a file or in a database."""
    if (place := place_of(request)) is not None:
        (tmp_path / PLACE).write_text(place.url)
    return tmp_path


@pytest.fixture
def logs(kept: Path) -> Iterator[TransparencyLogs]:
    logs = opened(kept)
    yield logs
    logs.close()
