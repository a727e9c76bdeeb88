"""The logs in a database that is cut off, killed, taken over or brought back: nothing that was
answered is lost, and there is never a fork."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgresql.proxy import Proxy
from tests.postgresql.server import Server

from hypermesh.postgresql import session
from hypermesh.postgresql.place import Place
from hypermesh.trustchain.ct import postgresql_store
from hypermesh.trustchain.ct.errors import AnotherLog, LogDamaged, LogInUse
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.postgresql_store import HEAD_FILE
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.evidence import Act, LogUnavailable

from .samples import PLACE, WAIT_S, opened, plain


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "AWAY_S", 0.2)
    monkeypatch.setattr(session, "RETRY_S", 0.02)
    monkeypatch.setattr(session, "CLAIM_S", WAIT_S)
    monkeypatch.setattr(postgresql_store, "SETTLE_S", 0.02)


@pytest.fixture
def proxy(postgresql: Server) -> Iterator[Proxy]:
    made = Proxy(postgresql.directory)
    yield made
    made.close()


@pytest.fixture
def data(tmp_path: Path, postgresql: Server, place: Place, proxy: Proxy) -> Path:
    """A directory of logs whose database is behind `proxy`."""
    name = place.url.partition("@/")[2].partition("?")[0]
    (tmp_path / PLACE).write_text(postgresql.url(name, socket=proxy.directory))
    return tmp_path


@pytest.fixture
def logs(data: Path) -> Iterator[TransparencyLogs]:
    logs = opened(data)
    yield logs
    logs.close()


def _recorded(logs: TransparencyLogs, *numbers: int) -> list[int]:
    answers = CertificateRecorder(logs, WAIT_S).record([plain(each) for each in numbers])
    return [each.index for each in answers]


def test_cut_before_the_commit_nothing_is_recorded_and_the_log_goes_on(
    logs: TransparencyLogs, proxy: Proxy
) -> None:
    assert _recorded(logs, 0, 1) == [0, 1]
    proxy.cut("before")
    with pytest.raises(LogUnavailable):
        _recorded(logs, 2)
    assert logs.failure is None
    assert logs.certificates.head.size == 2
    assert _recorded(logs, 3, 2) == [2, 3]
    logs.certificates.read_edge()


def test_cut_after_the_commit_the_answer_is_found(logs: TransparencyLogs, proxy: Proxy) -> None:
    for number in range(4):
        proxy.cut("after")
        assert _recorded(logs, number) == [number]
        assert proxy.was_cut.is_set()
    assert _recorded(logs, 3, 4) == [3, 4]
    assert logs.failure is None
    logs.certificates.read_edge()


def test_a_doubt_lasts_until_the_database_is_back(logs: TransparencyLogs, proxy: Proxy) -> None:
    answers: list[list[int]] = []
    for first, instant in ((0, "after"), (2, "before")):
        proxy.cut(instant, away=True)

        def record(first: int = first) -> None:
            try:
                answers.append(_recorded(logs, first, first + 1))
            except LogUnavailable:
                answers.append([])

        asking = threading.Thread(target=record)
        asking.start()
        assert proxy.was_cut.wait(WAIT_S)
        for _ in range(5):
            assert proxy.refused.acquire(timeout=WAIT_S)
        proxy.let_in()
        asking.join(WAIT_S)
        assert not asking.is_alive()
    assert answers == [[0, 1], []]
    assert _recorded(logs, 2, 1) == [2, 1]
    assert logs.failure is None


def test_while_it_is_away_readers_and_writers_are_told(
    logs: TransparencyLogs, proxy: Proxy
) -> None:
    _recorded(logs, 0)
    logs.certificates.checkpoint()
    proxy.leave()
    with pytest.raises(LogUnavailable):
        _recorded(logs, 1)
    with pytest.raises(LogUnavailable, match="cannot be read"):
        logs.certificates.leaf(0)
    proxy.let_in()
    assert logs.certificates.leaf(0)
    assert _recorded(logs, 1) == [1]
    assert logs.certificates.checkpoint(2)


def test_one_server_at_a_time(
    data: Path, logs: TransparencyLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CLAIM_S", 0.1)
    _recorded(logs, 0)
    other = tmp_path / "other"
    other.mkdir()
    (other / PLACE).write_text((data / PLACE).read_text())
    with pytest.raises(LogInUse):
        opened(other)
    logs.close()
    with pytest.raises(AnotherLog):
        opened(other)


def test_a_server_that_was_replaced_stops(
    data: Path,
    logs: TransparencyLogs,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _recorded(logs, 0)
    proxy.leave()
    proxy.let_in()
    # Another with the same keys, as on a machine that took over.
    other = tmp_path / "other"
    other.mkdir()
    (other / PLACE).write_text((data / PLACE).read_text())
    (other / "keys").symlink_to(data / "keys")
    second = opened(other)
    assert _recorded(second, 1) == [1]
    monkeypatch.setattr(session, "CLAIM_S", 0.1)
    with pytest.raises(LogUnavailable, match="Another server"):
        _recorded(logs, 2)
    assert logs.failure is not None
    assert _recorded(second, 3) == [2]
    second.close()


def test_its_own_connection_that_the_server_still_sees_is_ended(
    logs: TransparencyLogs, proxy: Proxy
) -> None:
    _recorded(logs, 0)
    proxy.forget()
    assert _recorded(logs, 1) == [1]
    assert logs.failure is None


def test_a_database_that_went_back_is_not_gone_on_from(
    data: Path, logs: TransparencyLogs, postgresql: Server
) -> None:
    _recorded(logs, 0, 1)
    ActRecorder(logs, WAIT_S).record([Act("test.act", b"1")])
    logs.close()
    url = (data / PLACE).read_text()
    name = url.partition("@/")[2].partition("?")[0]
    copy = postgresql.database()
    with postgresql.connect(name) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    postgresql.run(f"DROP DATABASE {copy}")
    postgresql.run(f"CREATE DATABASE {copy} TEMPLATE {name}")
    later = opened(data)
    assert _recorded(later, 2) == [2]
    later.close()
    (data / PLACE).write_text(postgresql.url(copy))
    with pytest.raises(LogDamaged, match="gone back"):
        opened(data)
    # Planted: without the file nobody would have seen it.
    (data / "ct" / HEAD_FILE).unlink()
    forking = opened(data)
    assert _recorded(forking, 3) == [2]
    forking.close()
    # And a copy that went its own way is as long, and not the same.
    (data / PLACE).write_text(url)
    with pytest.raises(LogDamaged, match="another root"):
        opened(data)


def test_who_writes_beside_it_stops_it(
    data: Path, logs: TransparencyLogs, postgresql: Server
) -> None:
    _recorded(logs, 0)
    name = (data / PLACE).read_text().partition("@/")[2].partition("?")[0]
    postgresql.run("UPDATE trustchain_log.heads SET size = size + 1 WHERE log = 0", name)
    with pytest.raises(LogUnavailable, match="not where this server left it"):
        _recorded(logs, 1)
    assert logs.failure is not None
