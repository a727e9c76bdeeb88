"""Whatever of the indexes is in memory and whatever in tables, every key is found."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hypermesh.trustchain.ct import store as store_module
from hypermesh.trustchain.ct.entry import prepared
from hypermesh.trustchain.ct.log import DATABASE
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.ct.store import SqliteLogStore
from hypermesh.trustchain.ct.tree import leaf_hash
from hypermesh.trustchain.evidence import Act

from .samples import WAIT_S, opened, plain

BATCHES = (1, 30, 200, 7, 64, 129, 300)


def test_every_key_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "INDEXED_LATER", 64)
    answers = []
    for count in BATCHES:
        # A start for each batch: what was in memory is read again.
        logs = opened(tmp_path)
        recorder = CertificateRecorder(logs, WAIT_S)
        fresh = [plain(len(answers) + number, 40) for number in range(count)]
        for at in range(0, count, 50):
            answers += recorder.record(fresh[at : at + 50])
        acts = [Act("test.act", b"%d" % number) for number in range(count)]
        ActRecorder(logs, WAIT_S).record(acts)
        total = len(answers)
        again = recorder.record([plain(number, 40) for number in range(total)])
        assert again == answers
        for view in (logs.certificates, logs.acts):
            leaves = view.leaves(0, total)
            assert [view.index_of(leaf_hash(leaf)) for leaf in leaves] == list(range(total))
        logs.close()
    moved = rows(tmp_path, "SELECT count(*) FROM identities")
    assert 0 < moved < len(answers)
    assert 0 < rows(tmp_path, "SELECT count(*) FROM leaves_1") < len(answers)
    # What is said to be indexed surely is.
    indexed = rows(tmp_path, "SELECT indexed FROM heads WHERE log = 0")
    query = f"SELECT count(*) FROM identities WHERE position < {indexed}"  # noqa: S608
    found = rows(tmp_path, query)
    assert found == indexed


def test_an_index_kept_in_memory_alone_would_be_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: a start that does not read it again gives a second entry."""
    logs = opened(tmp_path)
    (first,) = CertificateRecorder(logs, WAIT_S).record([plain(0)])
    logs.close()
    with monkeypatch.context() as patch:
        patch.setattr(SqliteLogStore, "_index_again", lambda _: None)
        forgetful = SqliteLogStore(tmp_path / "ct" / DATABASE)
        assert forgetful.placed([prepared(plain(0)).identity]) == {}
        forgetful.close()
    logs = opened(tmp_path)
    assert CertificateRecorder(logs, WAIT_S).record([plain(0)]) == [first]
    logs.close()


def rows(directory: Path, query: str) -> int:
    database = sqlite3.connect(directory / "ct" / DATABASE)
    try:
        return int(database.execute(query).fetchone()[0])
    finally:
        database.close()
