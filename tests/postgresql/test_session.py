"""Connections to a database: what is refused, what comes back, who has it."""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hypermesh.postgresql import session as session_module
from hypermesh.postgresql.errors import (
    DatabaseAway,
    DatabaseBusy,
    DatabaseClaimed,
    DatabaseInDoubt,
    DatabaseNameInvalid,
    DatabaseRefused,
    DatabaseUnfit,
    DatabaseUnsafe,
)
from hypermesh.postgresql.place import Place, parse_place
from hypermesh.postgresql.session import Pool, Session

from .proxy import Proxy
from .server import ROLE, SECRET, SECRET_ROLE, Server

WAIT_S = 60.0
SCHEMA = "trustchain_test"
TABLES = ("CREATE TABLE words (word TEXT PRIMARY KEY)",)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "AWAY_S", 0.2)
    monkeypatch.setattr(session_module, "RETRY_S", 0.02)
    monkeypatch.setattr(session_module, "CLAIM_S", WAIT_S)


@pytest.fixture
def proxy(postgresql: Server) -> Iterator[Proxy]:
    made = Proxy(postgresql.directory)
    yield made
    made.close()


@pytest.fixture
def behind(place: Place, proxy: Proxy) -> Place:
    """The database `place`, through `proxy`."""
    return Place(place.url.partition("?")[0] + f"?host={proxy.directory}")


def _name(place: Place) -> str:
    return place.url.partition("@/")[2].partition("?")[0]


def _session(place: Place, claim: int | None = None) -> Session:
    made = Session(place, SCHEMA, claim)
    made.lay_out(TABLES)
    return made


def _put(session: Session | Pool, *words: str, between: Callable[[], None] | None = None) -> None:
    """All of `words` or none; `between` is called after each."""
    with session.transaction() as connection:
        for word in words:
            connection.execute("INSERT INTO words VALUES (%s)", (word,))
            if between is not None:
                between()


def _fail() -> None:
    raise LookupError


def _words(session: Session | Pool) -> list[str]:
    return [word for (word,) in session.rows("SELECT word FROM words ORDER BY word")]


def test_a_transaction_is_there_wholly_or_not_at_all(place: Place) -> None:
    with closing(_session(place)) as session, closing(Session(place, SCHEMA)) as other:
        _put(session, "one")
        with pytest.raises(DatabaseRefused, match="duplicate"):
            _put(session, "two", "one")
        with pytest.raises(LookupError):
            _put(session, "three", between=_fail)
        assert _words(other) == ["one"]
        # Nothing was left open: the next one begins.
        _put(session, "four")
        assert _words(other) == ["four", "one"]


def test_those_that_write_take_turns_and_wait_no_longer_than_they_may(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "LOCK_S", 1)
    with closing(_session(place)) as session, closing(Session(place, SCHEMA)) as other:
        with session.transaction():
            with pytest.raises(DatabaseBusy):
                _put(other, "one")
            with other.transaction(writes=False) as connection:
                assert connection.execute("SELECT count(*) FROM words").fetchone() == (0,)
        _put(other, "one")
        assert _words(session) == ["one"]


def test_a_connection_that_was_lost_is_made_again(behind: Place, proxy: Proxy) -> None:
    with closing(_session(behind)) as session:
        _put(session, "one")
        for word in ("two", "three"):
            proxy.leave()
            with pytest.raises(DatabaseAway):
                _words(session)
            with pytest.raises(DatabaseAway):
                _put(session, word)
            proxy.let_in()
            _put(session, word)
            proxy.leave()
            proxy.let_in()
            assert word in _words(session)
        assert _words(session) == ["one", "three", "two"]


def test_lost_before_the_commit_is_nothing_and_after_it_a_doubt(
    behind: Place, proxy: Proxy
) -> None:
    with closing(_session(behind)) as session:
        proxy.cut("before")
        with pytest.raises(DatabaseInDoubt):
            _put(session, "one")
        assert _words(session) == []
        proxy.cut("after")
        with pytest.raises(DatabaseInDoubt):
            _put(session, "two")
        assert _words(session) == ["two"]
        with pytest.raises(DatabaseAway):
            _put(session, "three", "four", between=proxy.leave)
        proxy.let_in()
        assert _words(session) == ["two"]


def test_a_claim_is_of_one_and_ends_with_its_connection(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(_session(place, 1)) as first, closing(Session(place, SCHEMA, 1)) as second:
        with closing(Session(place, SCHEMA, 2)) as another:
            another.connect()
        monkeypatch.setattr(session_module, "CLAIM_S", 0.1)
        with pytest.raises(DatabaseClaimed):
            second.connect()
        assert _words(first) == []
        first.close()
        monkeypatch.setattr(session_module, "CLAIM_S", WAIT_S)
        second.connect()
        monkeypatch.setattr(session_module, "CLAIM_S", 0.1)
        with pytest.raises(DatabaseClaimed):
            _words(first)


@pytest.mark.parametrize("setting", ["synchronous_commit"])
def test_a_database_that_does_not_sync_is_refused(
    postgresql: Server, place: Place, setting: str
) -> None:
    with closing(_session(place)) as session:
        name = _name(place)
        postgresql.run(f"ALTER DATABASE {name} SET {setting} = off")
        try:
            with closing(Session(place, SCHEMA)) as other, pytest.raises(DatabaseUnsafe) as told:
                other.connect()
            assert setting in told.value.why
            assert "ALTER SYSTEM" in told.value.fix
            # One that is connected holds on to what it found.
            assert session.rows(f"SHOW {setting}") == [("on",)]
        finally:
            postgresql.run(f"ALTER DATABASE {name} RESET {setting}")
        with closing(Session(place, SCHEMA)) as other:
            other.connect()


def test_a_server_without_fsync_is_refused(place: Place, postgresql: Server) -> None:
    for setting in ("fsync", "full_page_writes"):
        postgresql.set(setting, "off")
        try:
            with closing(Session(place, SCHEMA)) as session, pytest.raises(DatabaseUnsafe) as told:
                session.connect()
            assert setting in told.value.why
        finally:
            postgresql.set(setting, "on")
    with closing(Session(place, SCHEMA)) as session:
        session.connect()


def test_a_newer_layout_is_refused_and_an_older_one_brought_up(place: Place) -> None:
    with closing(_session(place)) as session:
        _put(session, "one")
        more = (*TABLES, "ALTER TABLE words ADD COLUMN at_s BIGINT NOT NULL DEFAULT 7")
        session.lay_out(more)
        session.lay_out(more)
        assert session.rows("SELECT * FROM words") == [("one", 7)]
        with pytest.raises(DatabaseUnfit, match="newer version"):
            session.lay_out(TABLES)
        broken = (*more, "CREATE TABLE fresh (a BIGINT); CREATE TABLE words (a BIGINT)")
        with pytest.raises(DatabaseRefused):
            session.lay_out(broken)
        assert session.rows("SELECT to_regclass('fresh')") == [(None,)]


def test_a_pool_has_as_many_connections_as_it_may(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _session(place).close()
    monkeypatch.setattr(session_module, "PLACE_S", 0.1)
    with closing(Pool(place, SCHEMA, size=2)) as pool:
        with pool.session() as one, pool.session() as two:
            assert one.rows("SELECT 1") == two.rows("SELECT 1")
            with pytest.raises(DatabaseBusy):
                pool.rows("SELECT 1")
        monkeypatch.setattr(session_module, "PLACE_S", WAIT_S)
        threads = [
            threading.Thread(target=lambda each=each: _put(pool, str(each))) for each in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert len(_words(pool)) == 8
        assert len(pool._sessions) == 2


def test_who_may_log_in(postgresql: Server, tmp_path: Path) -> None:
    name = postgresql.database(SECRET_ROLE)
    url = postgresql.url(name, SECRET_ROLE)
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    with closing(Session(Place(url, secret), SCHEMA)) as session:
        session.lay_out(TABLES)
        assert session.rows("SELECT current_user") == [(SECRET_ROLE,)]
    unsaid = closing(Session(Place(url), SCHEMA))
    with unsaid as session, pytest.raises(DatabaseUnfit, match="does not let"):
        session.connect()
    secret.write_text("another\n")
    with closing(Session(Place(url, secret), SCHEMA)) as session:
        with pytest.raises(DatabaseUnfit) as told:
            session.connect()
        assert "another" not in str(told.value)
    secret.chmod(0o644)
    with pytest.raises(DatabaseUnfit, match="Everybody"):
        Place(url, secret).secret()
    with pytest.raises(DatabaseUnfit, match="cannot be read"):
        Place(url, tmp_path / "missing").secret()
    for wrong in (postgresql.url("nothing"), postgresql.url(name, "nobody_here")):
        with closing(Session(Place(wrong), SCHEMA)) as session, pytest.raises(DatabaseUnfit):
            session.connect()
    nowhere = closing(Session(Place("postgresql:///a?host=/nowhere"), SCHEMA))
    with nowhere as session, pytest.raises(DatabaseAway):
        session.connect()


def test_a_unix_socket_knows_its_peer(postgresql: Server) -> None:
    """No password at all: the system says who asks."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    if user == ROLE:
        pytest.skip("the tests run as the superuser's own role")
    postgresql.run(
        f"DO $$ BEGIN CREATE ROLE {user} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    name = postgresql.database(user)
    with closing(Session(Place(postgresql.url(name, user)), SCHEMA)) as session:
        session.lay_out(TABLES)
        assert session.rows("SELECT current_user") == [(user,)]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite", "does not begin"),
        ("postgresql://", "names no database"),
        ("postgresql://host:1:2/a", "no URL"),
        ("postgresql://me:hush@/trust", "no password here"),
        ("postgresql:///trust?password=hush", "no password here"),
        ("postgresql:///trust?options=-cfsync%3Doff", "may not say 'options'"),
        ("postgresql:///trust#hush", "names no database"),
        ("postgresql:///" + "a" * 3000, "at most"),
    ],
)
def test_what_names_no_database(url: str, said: str) -> None:
    with pytest.raises(DatabaseNameInvalid) as told:
        parse_place(url)
    assert said in str(told.value)
    assert "hush" not in str(told.value)


def test_a_host_elsewhere_has_its_certificate_checked() -> None:
    verified = {"sslmode": "verify-full"}
    assert parse_place("postgresql://db.example/a").parameters() == verified
    assert parse_place("postgresql:///a?host=db.example").parameters() == verified
    assert parse_place("postgresql://db.example/a?sslmode=require").parameters() == {}
    assert parse_place("postgresql:///a?host=/run/postgresql").parameters() == {}
    assert parse_place("postgresql://[::1]:5432/a").parameters() == {}
