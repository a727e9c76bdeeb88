from __future__ import annotations

import pytest

from .network import Network


@pytest.fixture
def network() -> Network:
    return Network()
