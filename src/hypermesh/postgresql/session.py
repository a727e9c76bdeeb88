"""Connections to one PostgreSQL database that come back after it was away.

What holds of each connection. It is of a primary whose `fsync` and `full_page_writes` are on and
whose `synchronous_commit` is not off, so what was committed outlives a power cut there; another
is refused (`DatabaseUnsafe`), again at each reconnection. Nothing waits without end: for a
connection `CONNECT_S`, for a lock `LOCK_S`, for a statement `STATEMENT_S`, and the server ends a
transaction that was left open for `IDLE_S`. Names are looked up in the one schema of the store.

    no connection                 tried for `AWAY_S`; then `DatabaseAway`, nothing was changed
    lost before the commit        `DatabaseAway`, the server undoes what was begun
    lost during the commit        `DatabaseInDoubt`: only the database knows, and a claimed session
                                  that is back finds what it knows to be final

A `Session` with a claim holds a lock of the database's as long as its connection lives. The server
gives it up when the connection's process there has ended, whatever that was doing; so who has the
claim sees the outcome of all that its predecessor had begun. A session that comes back claims anew,
and raises `DatabaseClaimed` where another has taken over.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors, sql

from hypermesh.postgresql.errors import (
    DatabaseAway,
    DatabaseBusy,
    DatabaseClaimed,
    DatabaseInDoubt,
    DatabaseRefused,
    DatabaseUnfit,
    DatabaseUnsafe,
)
from hypermesh.postgresql.place import Place
from hypermesh.wire.errors import HyperMeshError

T = TypeVar("T")

CONNECT_S: Final = 5
AWAY_S: Final = 2.0
RETRY_S: Final = 0.1
CLAIM_S: Final = 5.0
"""How long a claim is asked for: the process of a killed server may still be ending there."""
LOCK_S: Final = 10
STATEMENT_S: Final = 30
IDLE_S: Final = 30
PLACE_S: Final = 10.0
"""How long a thread waits for a connection of a pool."""
CONNECTIONS_MAX: Final = 4
VERSION_MIN: Final = 130000
WRITING: Final = 0x48594D45
"""The lock of transactions that write; a store in another schema has another."""
_NETWORK: Final = {
    "connect_timeout": CONNECT_S,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}

Connection = psycopg.Connection[tuple[Any, ...]]


class Session:
    """One connection, made when it is needed and made again when it was lost, for threads that take
    turns. `claim`, a number, is what it holds against others while it is connected."""

    def __init__(self, place: Place, schema: str, claim: int | None = None) -> None:
        self._place = place
        self._schema = schema
        self._claim = claim
        self._turn = threading.RLock()
        self._connection: Connection | None = None
        self._last: int | None = None
        """The process that served the connection before this one."""

    @contextlib.contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[Connection]:
        """A transaction: durable when the block ends, undone if it raises. Those that write to
        this schema happen one after the other, in all processes. Raises `DatabaseAway`,
        `DatabaseInDoubt`, `DatabaseRefused`, `DatabaseBusy`."""
        with self._turn:
            connection = self._begun(writes=writes)
            try:
                with self._told(connection):
                    yield connection
            except BaseException:
                self._undo(connection)
                raise
            self._commit(connection)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` answers, which only reads: it is called again where the connection was lost
        meanwhile. Raises `DatabaseAway`, `DatabaseRefused`, `DatabaseBusy`."""
        with self._turn:
            connection = self._live()
            try:
                with self._told(connection):
                    return work(connection)
            except DatabaseAway:
                connection = self._live()
                with self._told(connection):
                    return work(connection)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What one statement that only reads answers with. Raises as `read` does."""
        return self.read(lambda each: each.execute(query, values, binary=True).fetchall())

    def lay_out(self, migrations: Sequence[str]) -> None:
        """Bring the tables of the schema to the newest layout, which is the number of `migrations`;
        each leads from one to the next. Raises `DatabaseUnfit` where they are newer than that."""
        with self.transaction() as connection:
            lay_out(connection, self._schema, migrations)

    def connect(self) -> None:
        """Connect now, and claim. Raises what connecting raises."""
        with self._turn:
            self._live()

    def close(self) -> None:
        """Give up the connection, and the claim with it. Nothing is lost without it."""
        with self._turn:
            self._drop()

    def _begun(self, *, writes: bool) -> Connection:
        for _ in range(2):
            connection = self._live()
            try:
                with self._told(connection):
                    connection.execute("BEGIN", prepare=False)
                    if writes:
                        connection.execute(
                            "SELECT pg_advisory_xact_lock(%s, hashtext(%s))",
                            (WRITING, self._schema),
                        )
            except DatabaseAway:
                # It was lost while nobody used it: nothing has begun, so it is begun again.
                continue
            except HyperMeshError:
                self._undo(connection)
                raise
            return connection
        raise DatabaseAway(why="the connection was lost twice")

    def _commit(self, connection: Connection) -> None:
        try:
            with self._told(connection):
                connection.execute("COMMIT", prepare=False)
        except DatabaseAway as error:
            raise DatabaseInDoubt(why=error.why) from error
        except HyperMeshError:
            self._undo(connection)
            raise

    def _undo(self, connection: Connection) -> None:
        if connection.closed:
            return
        try:
            connection.execute("ROLLBACK", prepare=False)
        except psycopg.Error:
            self._drop()

    @contextlib.contextmanager
    def _told(self, connection: Connection) -> Iterator[None]:
        """What psycopg raises, in our words."""
        try:
            yield
        except psycopg.Error as error:
            why = said(error)
            if connection.closed or connection.broken:
                self._drop()
                raise DatabaseAway("The connection to the database was lost", why=why) from error
            if isinstance(error, errors.LockNotAvailable | errors.QueryCanceled):
                raise DatabaseBusy(why=why) from error
            raise DatabaseRefused(why=why) from error

    def _live(self) -> Connection:
        """The connection, made where there is none."""
        if self._connection is not None and not self._connection.closed:
            return self._connection
        end = time.monotonic() + AWAY_S
        while True:
            try:
                self._connection = self._connected()
            except DatabaseAway:
                if time.monotonic() >= end:
                    raise
                time.sleep(RETRY_S)
            else:
                return self._connection

    def _connected(self) -> Connection:
        connection = _opened(self._place, self._schema)
        try:
            with self._told(connection):
                _require_safe(connection)
                if self._claim is not None:
                    self._take(connection, self._claim)
        except BaseException:
            connection.close()
            raise
        self._last = connection.info.backend_pid
        return connection

    def _take(self, connection: Connection, claim: int) -> None:
        end = time.monotonic() + CLAIM_S
        while True:
            ((got,),) = connection.execute(
                "SELECT pg_try_advisory_lock(%s, %s)", (WRITING, claim)
            ).fetchall()
            if got:
                return
            holders = [
                pid
                for (pid,) in connection.execute(
                    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND "
                    "classid = %s AND objid = %s AND objsubid = 2 AND database = "
                    "(SELECT oid FROM pg_database WHERE datname = current_database())",
                    (WRITING, claim),
                )
            ]
            if self._last in holders:
                # Our own, which the server has not seen the end of.
                connection.execute("SELECT pg_terminate_backend(%s)", (self._last,))
            if time.monotonic() >= end:
                raise DatabaseClaimed(why=f"its connection is process {holders} of the database")
            time.sleep(RETRY_S)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Pool:
    """Sessions without a claim, for threads at the same time; a further thread waits its turn."""

    def __init__(self, place: Place, schema: str, size: int = CONNECTIONS_MAX) -> None:
        self._place = place
        self._schema = schema
        self._places = threading.BoundedSemaphore(size)
        self._idle: list[Session] = []
        self._sessions: list[Session] = []

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A session of one's own while the block runs. Raises `DatabaseBusy`."""
        if not self._places.acquire(timeout=PLACE_S):
            raise DatabaseBusy(why="all connections of this process are in use")
        try:
            try:
                session = self._idle.pop()
            except IndexError:
                session = Session(self._place, self._schema)
                self._sessions.append(session)
            try:
                yield session
            finally:
                self._idle.append(session)
        finally:
            self._places.release()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """`Session.rows`."""
        with self.session() as session:
            return session.rows(query, *values)

    @contextlib.contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[Connection]:
        """`Session.transaction`."""
        with self.session() as session, session.transaction(writes=writes) as connection:
            yield connection

    def close(self) -> None:
        """Give up the connections. No thread may be using one."""
        for session in self._sessions:
            session.close()


def lay_out(connection: Connection, schema: str, migrations: Sequence[str]) -> None:
    """`Session.lay_out`, within the transaction that is open; `schema` is the one that its names
    are looked up in."""
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    connection.execute("CREATE TABLE IF NOT EXISTS layout (number BIGINT NOT NULL)")
    there = layout(connection)
    if there > len(migrations):
        raise DatabaseUnfit(
            f"The tables in {schema} were written by a newer version",
            why=f"they have layout {there}, this version knows {len(migrations)}",
            fix="Install the version that wrote them",
        )
    for number, statements in enumerate(migrations[there:], there + 1):
        connection.execute(statements, prepare=False)
        connection.execute("INSERT INTO layout VALUES (%s)", (number,))


def layout(connection: Connection) -> int:
    """Which layout the tables of the schema have; 0 where there are none."""
    row = connection.execute("SELECT max(number) FROM layout").fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def said(error: psycopg.Error) -> str:
    """What the database or libpq says, in one line."""
    text = error.diag.message_primary or str(error) or type(error).__name__
    return " ".join(text.split())[:500]


def _opened(place: Place, schema: str) -> Connection:
    # Beside the URL, so that it cannot take them back.
    options = (
        f"-c search_path={schema} -c lock_timeout={LOCK_S}s "
        f"-c statement_timeout={STATEMENT_S}s -c idle_in_transaction_session_timeout={IDLE_S}s"
    )
    parameters: dict[str, Any] = {
        "options": options,
        "client_encoding": "utf8",
        "application_name": f"trustchain {schema}",
        **_NETWORK,
        **place.parameters(),
    }
    if (secret := place.secret()) is not None:
        parameters["password"] = secret
    try:
        return psycopg.connect(place.url, autocommit=True, **parameters)
    except psycopg.OperationalError as error:
        why = said(error)
        if _is_refusal(error):
            raise DatabaseUnfit(
                "The database does not let this role in",
                why=why,
                fix="Make the database and the role, and let the role in by pg_hba.conf",
            ) from error
        raise DatabaseAway(why=why) from error
    except psycopg.Error as error:
        raise DatabaseUnfit(why=said(error)) from error


def _is_refusal(error: psycopg.OperationalError) -> bool:
    # libpq gives no SQLSTATE for a connection that failed, only the server's words.
    text = str(error)
    marks = ("authentication failed", "no pg_hba.conf entry", "does not exist", "no password")
    return not any(each in text for each in ("starting up", "shutting down", "No such file")) and (
        any(each in text for each in marks) or "permission denied for database" in text
    )


def _require_safe(connection: Connection) -> None:
    """Raise `DatabaseUnsafe` or `DatabaseUnfit` unless what this connection commits is durable."""
    if connection.info.server_version < VERSION_MIN:
        raise DatabaseUnfit(
            f"PostgreSQL {connection.info.server_version // 10_000} is too old",
            fix=f"Use {VERSION_MIN // 10_000} or newer",
        )
    names = ("fsync", "full_page_writes", "synchronous_commit", "server_encoding")
    row = connection.execute(
        "SELECT pg_is_in_recovery(), " + ", ".join(f"current_setting('{each}')" for each in names)
    ).fetchone()
    assert row is not None  # noqa: S101 - one row, always
    is_standby, fsync, pages, commit, encoding = row
    for setting, value in (
        ("fsync", fsync),
        ("full_page_writes", pages),
        ("synchronous_commit", commit),
    ):
        if value == "off":
            raise DatabaseUnsafe(
                why=f"{setting} is off",
                fix=f"ALTER SYSTEM SET {setting} = on; SELECT pg_reload_conf(); and see that "
                "neither role nor database sets it otherwise",
            )
    if is_standby:
        raise DatabaseUnsafe(
            "The database takes no writes", why="it is a standby", fix="Name the primary"
        )
    if encoding != "UTF8":
        raise DatabaseUnfit(
            why=f"its encoding is {encoding}", fix="CREATE DATABASE ... ENCODING 'UTF8'"
        )
    # Not to follow a setting that changes while this connection lives.
    connection.execute(sql.SQL("SET synchronous_commit = {}").format(sql.Literal(commit)))
