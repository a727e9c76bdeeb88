"""Whole tables out of a database, and back: what a backup holds of it.

    DIR/layouts           schema -> the layout that its tables have
    DIR/SCHEMA.TABLE      the rows, in PostgreSQL's text format (COPY)

All of it is of one instant, however long the copying takes: one transaction sees one snapshot. The
text format is read by every version of PostgreSQL.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from psycopg import sql

from hypermesh.postgresql.errors import DatabaseUnfit
from hypermesh.postgresql.place import Place
from hypermesh.postgresql.session import Connection, Session, lay_out, layout
from hypermesh.wire.codec import Undecodable, decode, encode

LAYOUTS: Final = "layouts"
PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """The tables of one store, in a schema of their own. What follows from others by triggers is
    not among `tables`."""

    schema: str
    migrations: Sequence[str]
    tables: Sequence[str]


def copy_out(place: Place, parts: Sequence[Part], directory: Path) -> None:
    """Copy `parts` into the empty directory `directory`, durably and while others work. Raises
    `DatabaseUnfit` where the database lacks one, `OSError`."""
    layouts = {}
    session = Session(place, "pg_catalog")
    try:
        with session.transaction(writes=False) as connection:
            _at_length(connection, "REPEATABLE READ READ ONLY")
            for part in parts:
                _require_there(connection, part)
                _look_in(connection, part)
                layouts[part.schema] = layout(connection)
                for table in part.tables:
                    _copy_table(connection, part, table, directory / f"{part.schema}.{table}")
    finally:
        session.close()
    with _written(directory / LAYOUTS) as file:
        file.write(encode(sorted(layouts.items())))


def copy_in(
    place: Place, parts: Sequence[Part], directory: Path, check: Callable[[], None]
) -> None:
    """Bring `parts` back into a database that has none of them, then call `check`: all of it stays,
    or, where that raises, nothing. Raises `DatabaseUnfit`, `OSError`."""
    try:
        layouts = dict(decode(list[tuple[str, int]], (directory / LAYOUTS).read_bytes()))
    except Undecodable as error:
        raise DatabaseUnfit(f"{directory / LAYOUTS} cannot be read", why=str(error)) from error
    session = Session(place, "pg_catalog")
    try:
        with session.transaction(writes=False) as connection:
            _at_length(connection, "READ COMMITTED")
            for part in parts:
                _bring(connection, part, layouts.get(part.schema, 0), directory)
        try:
            check()
        except BaseException:
            with session.transaction(writes=False) as connection:
                for part in parts:
                    name = sql.Identifier(part.schema)
                    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(name))
            raise
    finally:
        session.close()


def _at_length(connection: Connection, level: str) -> None:
    """Of this transaction: it may take as long as it does."""
    connection.execute(sql.SQL("SET TRANSACTION ISOLATION LEVEL " + level))
    connection.execute("SET LOCAL statement_timeout = 0")
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def _require_there(connection: Connection, part: Part) -> None:
    if not _is_there(connection, part):
        raise DatabaseUnfit(f"The database has no {part.schema}", fix="Begin with: init")


def _is_there(connection: Connection, part: Part) -> bool:
    return bool(
        connection.execute(
            "SELECT 1 FROM pg_namespace WHERE nspname = %s", (part.schema,)
        ).fetchall()
    )


def _look_in(connection: Connection, part: Part) -> None:
    name = sql.Identifier(part.schema)
    connection.execute(sql.SQL("SET LOCAL search_path = {}").format(name))


def _copy_table(connection: Connection, part: Part, table: str, target: Path) -> None:
    name = sql.Identifier(part.schema, table)
    statement = sql.SQL("COPY {} TO STDOUT").format(name)
    with (
        _written(target) as file,
        connection.cursor() as cursor,
        cursor.copy(statement) as rows,
    ):
        for piece in rows:
            file.write(piece)


@contextlib.contextmanager
def _written(target: Path) -> Iterator[BinaryIO]:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(descriptor)


def _bring(connection: Connection, part: Part, number: int, directory: Path) -> None:
    if _is_there(connection, part):
        raise DatabaseUnfit(
            f"The database holds {part.schema} already",
            fix="Name an empty database; what is in this one may be all that there is",
        )
    if not 0 < number <= len(part.migrations):
        raise DatabaseUnfit(
            f"The backup's {part.schema} has layout {number}",
            why=f"this version knows {len(part.migrations)}",
            fix="Install the version that made it",
        )
    _look_in(connection, part)
    lay_out(connection, part.schema, part.migrations[:number])
    for table in part.tables:
        name = sql.Identifier(part.schema, table)
        with (
            (directory / f"{part.schema}.{table}").open("rb") as file,
            connection.cursor() as cursor,
            cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as rows,
        ):
            while piece := file.read(PIECE_BYTES):
                rows.write(piece)
