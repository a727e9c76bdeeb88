"""Two real nodes, alice who founds and bob who joins, and HTTP clients for their listeners."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from .nodes import Running, started


@pytest.fixture(scope="session")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("api") / "alice", "private") as running:
        yield running


@pytest.fixture(scope="session")
def bob(alice: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    token = alice.mesh.network.invite().token
    with started(tmp_path_factory.mktemp("api") / "bob", "full_public", token) as running:
        yield running


@pytest.fixture
def owner(alice: Running) -> Iterator[httpx.Client]:
    """Over alice's UNIX socket."""
    with alice.over_socket() as client:
        yield client


@pytest.fixture
def browser(alice: Running) -> Iterator[httpx.Client]:
    """Over loopback TCP, without the session token."""
    with httpx.Client(base_url=alice.api, timeout=30) as client:
        yield client


@pytest.fixture
def signed_in(alice: Running) -> Iterator[httpx.Client]:
    """Over loopback TCP, with the session token."""
    token = (alice.data / "api-token").read_text()
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=alice.api, timeout=30, headers=headers) as client:
        yield client
