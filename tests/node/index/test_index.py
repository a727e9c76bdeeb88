"""The index is never the truth: removed, damaged, old or wrong, it is built again from the ledger,
to the same content; and where it does not add up even then, it says so."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hypermesh.ledger.history import History
from hypermesh.ledger.ledger import Ledger
from hypermesh.node.index import index as index_module
from hypermesh.node.index import movements
from hypermesh.node.index.database import Database
from hypermesh.node.index.index import (
    REBUILDS_MAX,
    Index,
    IndexBehind,
    IndexDisagrees,
    IndexNotKept,
)
from hypermesh.node.index.movements import Movement
from hypermesh.node.trouble import state_of

from .conftest import WAIT_S, Written

TABLES = ("accounts", "entries", "operations", "timeline", "leases", "certificates", "assets")


def content(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of an index, table by table."""
    database = sqlite3.connect(file)
    try:
        return {
            table: sorted(database.execute(f"SELECT * FROM {table}"), key=repr)  # noqa: S608
            for table in TABLES
        }
    finally:
        database.close()


def built(written: Written, directory: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The content of the index in `directory` once it has caught up."""
    with written.index(directory) as index:
        index.accounts(WAIT_S)
    return content(directory / "index" / "index.sqlite")


@pytest.fixture(scope="session")
def right(written: Written, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What the index of this ledger holds."""
    return built(written, tmp_path_factory.mktemp("right"))


def test_it_is_the_index_that_the_node_itself_had(written: Written, right: object) -> None:
    node = content(written.data / "index" / "index.sqlite")
    assert node == right
    assert len(node["entries"]) > 10
    assert len(node["leases"]) == 3
    assert any(row[5] != "ok" for row in node["operations"])


def _execute(*statements: str) -> Callable[[Path], None]:
    def alter(file: Path) -> None:
        database = sqlite3.connect(file)
        for statement in statements:
            database.execute(statement)
        database.commit()
        database.close()

    return alter


def _bytes(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[: len(data) // 2] = b"x" * (len(data) // 2)
    file.write_bytes(data)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: 3 * 4096 + 17])


FAULTS: dict[str, Callable[[Path], None]] = {
    "overwritten": _bytes,
    "cut short": _cut,
    "another schema": _execute("UPDATE meta SET value = '0' WHERE name = 'schema'"),
    "another network": _execute("UPDATE meta SET value = x'00' WHERE name = 'genesis'"),
    "ahead of the ledger": _execute("UPDATE meta SET value = '1000000' WHERE name = 'height'"),
    "of another chain": _execute("UPDATE meta SET value = x'00' WHERE name = 'hash'"),
    "a wrong amount": _execute("UPDATE entries SET balance = balance + 1 WHERE sequence = 2"),
    "an entry lost": _execute("DELETE FROM entries WHERE sequence = 3"),
    "a wrong sum": _execute("UPDATE accounts SET in_escrow = in_escrow + 5"),
    "an index lost": _execute("DROP INDEX operations_by_tx"),
    "a table lost": _execute("DROP TABLE leases"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda name: name.replace(" ", "-"))
def test_an_index_that_does_not_fit_is_built_again(
    fault: str, written: Written, right: object, tmp_path: Path
) -> None:
    assert built(written, tmp_path) == right
    file = tmp_path / "index" / "index.sqlite"
    FAULTS[fault](file)
    assert built(written, tmp_path) == right


def test_an_index_that_is_behind_goes_on_from_where_it_is(
    written: Written, right: object, tmp_path: Path
) -> None:
    """After a power cut it may lack the last blocks: they are read, and no others."""
    before: list[int] = []
    whole = Ledger.happened

    def noted(ledger: Ledger, first: int, last: int) -> Any:
        before.append(first)
        return whole(ledger, first, min(last, first + 2))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "happened", noted)
        with written.index(tmp_path) as index:
            index.current(WAIT_S)
        assert before[:2] == [1, 4]
    assert content(tmp_path / "index" / "index.sqlite") == right


def test_blocks_whose_events_are_not_kept_are_executed_again(
    written: Written, right: object, tmp_path: Path
) -> None:
    shutil.copytree(written.data / "ledger", tmp_path / "ledger")
    _execute("DELETE FROM events")(tmp_path / "ledger" / "ledger.sqlite")
    assert built(written, tmp_path) == right


def test_an_index_that_never_adds_up_says_so(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = movements._closed
    monkeypatch.setattr(
        movements, "_closed", lambda lease: (m for m in whole(lease) if m.reason != "fee")
    )
    with written.index(tmp_path) as index:
        index.current(WAIT_S)
        with pytest.raises(IndexDisagrees) as said:
            index.accounts(WAIT_S)
        assert index.rebuilds == 1
    assert "by the ledger" in said.value.why


def test_whoever_asks_too_early_is_told_to_wait(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(*_: object) -> Iterator[Movement]:
        raise OSError("the disk does not answer")

    monkeypatch.setattr(History, "since", stuck)
    with written.index(tmp_path) as index, pytest.raises(IndexBehind) as told:
        index.current(0.2)
    assert told.value.status == 503


def test_a_damaged_index_on_a_full_disk_is_built_again_when_there_is_room(
    written: Written, right: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instant: the index is found damaged while it is read, and there is no room for another.
    Its thread must not end with it."""
    is_full, refused = threading.Event(), threading.Semaphore(0)
    emptied, apply = Index._emptied, Database.apply
    is_full.set()

    def full(index: Index) -> Database:
        if is_full.is_set() and index._thread.is_alive():
            refused.release()
            raise sqlite3.OperationalError("database or disk is full")
        return emptied(index)

    def damaged(database: Database, happened: Any) -> Any:
        if is_full.is_set():
            raise sqlite3.DatabaseError("database disk image is malformed")
        return apply(database, happened)

    monkeypatch.setattr(Index, "_emptied", full)
    monkeypatch.setattr(Database, "apply", damaged)
    monkeypatch.setattr(index_module, "POLL_S", 0.01)
    with written.index(tmp_path) as index:
        for _ in range(REBUILDS_MAX + 2):
            assert refused.acquire(timeout=WAIT_S)
        assert state_of(index.threads) == "ok"
        with pytest.raises(IndexBehind):
            index.current(0.01)
        is_full.clear()
        index.accounts(WAIT_S)
        assert index.rebuilds == 1
    assert content(tmp_path / "index" / "index.sqlite") == right


def test_a_mistake_in_the_index_is_tried_again(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, failed = Database.apply, threading.Event()

    def mistaken(database: Database, happened: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise KeyError("a mistake of this node")
        return apply(database, happened)

    monkeypatch.setattr(Database, "apply", mistaken)
    with written.index(tmp_path) as index:
        index.accounts(WAIT_S)
        assert state_of(index.threads) == "ok"


def test_a_node_without_room_for_an_index_says_so(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Index) -> Database:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Index, "_emptied", full)
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "index.sqlite").write_bytes(b"x" * 8192)
    with pytest.raises(IndexNotKept) as said, written.index(tmp_path):
        pass
    assert (said.value.status, said.value.exit_code) == (507, 8)
