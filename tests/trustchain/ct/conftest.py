"""An authority and logs for the tests of the transparency logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hypermesh.trustchain.ct.log import TransparencyLogs

from .samples import Issuer, opened


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer.make()


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[TransparencyLogs]:
    logs = opened(tmp_path)
    yield logs
    logs.close()
