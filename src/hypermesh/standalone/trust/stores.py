"""Where a server keeps what it issued, logged and was asked for: in files of its data directory, or
in one PostgreSQL database. Keys, tokens, zones and the root are files in both cases."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hypermesh.crypto.files import make_directory
from hypermesh.postgresql.errors import DatabaseUnfit
from hypermesh.postgresql.place import Place
from hypermesh.standalone.trust.errors import BackupInvalid
from hypermesh.trustchain.acme.store import Store
from hypermesh.trustchain.ca.store import CertificateStore
from hypermesh.trustchain.ct.store import LogStore

if TYPE_CHECKING:
    from hypermesh.postgresql.copying import Part
    from hypermesh.standalone.trust.founding import Directory
    from hypermesh.standalone.trust.settings import Settings


class Stores(Protocol):
    """Opens the stores of one server. Who opens one closes it; each raises its own errors."""

    def log(self, path: Path) -> LogStore:
        """Of both logs; `path` is where a file of it would lie."""

    def certificates(self) -> CertificateStore:
        """May be opened beside a running server."""

    def orders(self, *, serves: bool = True) -> Store:
        """Of the ACME server; `serves` False beside a running one."""

    def copy_out(self, directory: Path) -> None:
        """Put what is not in files of the data directory into files below `directory`, as it is at
        one instant."""

    def copy_in(self, directory: Path, check: Callable[[], None]) -> None:
        """Bring back what `copy_out` left there, then call `check`; nothing where that raises."""


def stores_of(directory: Directory, settings: Settings) -> Stores:
    """As `settings` say. Raises `DatabaseUnfit` where the library for a database is missing."""
    place = settings.database
    return InFiles(directory) if place is None else InDatabase(place)


class InFiles:
    """`Stores` in SQLite."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def log(self, path: Path) -> LogStore:
        from hypermesh.trustchain.ct.store import SqliteLogStore

        return SqliteLogStore(path)

    def certificates(self) -> CertificateStore:
        from hypermesh.trustchain.ca.sqlite_store import SqliteStore

        return SqliteStore(self._directory.ca)

    def orders(self, *, serves: bool = True) -> Store:
        from hypermesh.trustchain.acme.sqlite import SqliteStore

        del serves
        make_directory(self._directory.acme, 0o700)
        return SqliteStore(self._directory.acme)

    def copy_out(self, directory: Path) -> None:
        del directory

    def copy_in(self, directory: Path, check: Callable[[], None]) -> None:
        del directory
        check()


class InDatabase:
    """`Stores` in PostgreSQL."""

    def __init__(self, place: Place) -> None:
        if importlib.util.find_spec("psycopg") is None:
            raise DatabaseUnfit(
                "PostgreSQL needs a library that is not installed",
                fix="pip install 'hypermesh[postgresql]'",
            )
        self._place = place

    def log(self, path: Path) -> LogStore:
        from hypermesh.trustchain.ct.postgresql_store import PostgresqlLogStore

        return PostgresqlLogStore(path, self._place)

    def certificates(self) -> CertificateStore:
        from hypermesh.trustchain.ca.postgresql_store import PostgresqlStore

        return PostgresqlStore(self._place)

    def orders(self, *, serves: bool = True) -> Store:
        from hypermesh.trustchain.acme.postgresql import PostgresqlStore

        return PostgresqlStore(self._place, serves=serves)

    def copy_out(self, directory: Path) -> None:
        from hypermesh.postgresql.copying import copy_out

        make_directory(directory, 0o700)
        copy_out(self._place, _parts(), directory)

    def copy_in(self, directory: Path, check: Callable[[], None]) -> None:
        from hypermesh.postgresql.copying import copy_in

        if not directory.is_dir():
            raise BackupInvalid(why="it was made of files, and the settings name a database")
        copy_in(self._place, _parts(), directory, check)


def _parts() -> list[Part]:
    from hypermesh.postgresql.copying import Part
    from hypermesh.trustchain.acme import postgresql as orders
    from hypermesh.trustchain.ca import postgresql_store as certificates
    from hypermesh.trustchain.ct import postgresql_store as logs

    return [
        Part(each.SCHEMA, each.MIGRATIONS, each.TABLES) for each in (certificates, orders, logs)
    ]
