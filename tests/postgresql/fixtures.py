"""A PostgreSQL server for the tests that ask for one: one for each worker, started only then."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hypermesh.postgresql.place import Place

    from .server import Server


STORES = ("sqlite", "postgresql")
"""Parameters of a fixture of what is kept in either; `place_of` says where."""


def place_of(request: pytest.FixtureRequest) -> Place | None:
    """A new, empty database where the fixture's parameter asks for one; None for files."""
    if request.param == "sqlite":
        return None
    server: Server = request.getfixturevalue("postgresql")
    made = server.place()
    request.addfinalizer(lambda: server.give_back(made))
    return made


@contextlib.contextmanager
def started() -> Iterator[Server]:
    """A server of one's own, to be killed."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    from .server import Server, missing

    if reason := missing():
        pytest.skip(reason)
    server = Server()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """The server of this worker, for tests that leave it running."""
    with started() as server:
        yield server


@pytest.fixture
def place(postgresql: Server) -> Iterator[Place]:
    """An empty database."""
    made = postgresql.place()
    yield made
    postgresql.give_back(made)
