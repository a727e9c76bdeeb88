"""Servers are shared by the tests of a module that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .samples import VALIDATED, Serving, new_zone, serving


@pytest.fixture(scope="module", params=VALIDATED, ids=lambda algorithm: algorithm.name)
def signed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """The sample zone, signed by each algorithm in turn."""
    with serving(tmp_path_factory.mktemp("dns")) as found:
        found.zones.add([new_zone(request.param)], "a test")
        yield found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The sample zone, not signed."""
    with serving(tmp_path_factory.mktemp("dns")) as found:
        found.zones.add([new_zone(None)], "a test")
        yield found
