"""One company for each profile; tests that change what all see make their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hypermesh.trustchain.ca.issuing import IssuingAuthority

from .companies import Company, company


@pytest.fixture(scope="session", params=["classic", "pq", "hybrid"])
def any_company(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Company:
    return company(tmp_path_factory.mktemp("company"), request.param)


@pytest.fixture
def any_authority(any_company: Company) -> Iterator[IssuingAuthority]:
    authority = any_company.open()
    yield authority
    authority.close()


@pytest.fixture(scope="session")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return company(tmp_path_factory.mktemp("classic"), "classic")


@pytest.fixture
def authority(classic: Company) -> Iterator[IssuingAuthority]:
    opened = classic.open()
    yield opened
    opened.close()
