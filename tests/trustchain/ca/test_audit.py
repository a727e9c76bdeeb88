"""The audit log: every act has its row, and no row can be changed, taken out or moved unseen."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from hypermesh.trustchain.ca.audit import ORIGIN, AuditBroken, AuditRow, Entry, check, follows
from hypermesh.trustchain.ca.sqlite_store import FILE, SqliteStore
from hypermesh.trustchain.ca.store import Reason, whole_audit
from hypermesh.wire.codec import decode

from .companies import NOW, Company, company, issued


def rows(count: int) -> list[AuditRow]:
    made: list[AuditRow] = []
    for number in range(count):
        before = made[-1].hash if made else ORIGIN
        entry = Entry(NOW + number, "tester", "ca.issue", f"{number}", b"")
        made.append(follows(entry, number + 1, before))
    return made


def test_a_whole_log_is_whole() -> None:
    log = rows(10)
    assert check([]) == 0
    assert check([], ORIGIN) == 0
    assert check(log) == 10
    for row in log:
        assert check(log, row.hash) == 10


def test_each_altered_field_of_each_row_is_found() -> None:
    log = rows(5)
    changes = {
        "number": 99,
        "before": bytes(31) + b"\x01",
        "hash": bytes(31) + b"\x01",
    }
    entries: dict[str, object] = {
        "at_s": 1,
        "actor": "other",
        "kind": "ca.revoke",
        "subject": "other",
        "document": b"other",
    }
    for place, row in enumerate(log):
        altered = [msgspec.structs.replace(row, **{name: value}) for name, value in changes.items()]
        altered += [
            msgspec.structs.replace(row, entry=msgspec.structs.replace(row.entry, **{name: value}))
            for name, value in entries.items()
        ]
        for wrong in altered:
            with pytest.raises(AuditBroken):
                check([*log[:place], wrong, *log[place + 1 :]])


def test_removed_moved_and_added_rows_are_found() -> None:
    log = rows(6)
    for place in range(5):
        with pytest.raises(AuditBroken, match=f"row {place + 1} is missing"):
            check([*log[:place], *log[place + 1 :]])
        moved = [*log[:place], log[place + 1], log[place], *log[place + 2 :]]
        with pytest.raises(AuditBroken):
            check(moved)
        with pytest.raises(AuditBroken):
            check([*log[:place], log[place], *log[place:]])
    # A row cut off at the end is missed by whoever knows a head after it.
    assert check(log[:-1]) == 5
    with pytest.raises(AuditBroken, match="is gone"):
        check(log[:-1], log[-1].hash)


def test_a_row_written_anew_breaks_the_next() -> None:
    log = rows(4)
    forged = follows(Entry(NOW, "other", "ca.issue", "1", b""), 2, log[0].hash)
    with pytest.raises(AuditBroken, match="row 3"):
        check([log[0], forged, *log[2:]])


@pytest.fixture
def firm(tmp_path: Path) -> Company:
    return company(tmp_path, "classic")


def test_every_act_has_its_row(firm: Company) -> None:
    authority = firm.open()
    answer = issued(authority)
    authority.revoke(answer.serial, Reason.SUPERSEDED, NOW + 1, "operator")
    authority.revoke(answer.serial, Reason.SUPERSEDED, NOW + 2, "operator")
    log = list(whole_audit(authority.store))
    told = [(row.entry.kind, row.entry.actor, row.entry.subject) for row in log]
    assert told == [
        ("ca.install", "ceremony", authority.issuer.key_id.hex()),
        ("ca.issue", "tester", f"{answer.serial:x}"),
        ("ca.revoke", "operator", f"{answer.serial:x}"),
    ]
    assert check(log) == 3
    authority.close()


def test_the_file_itself_is_only_added_to(firm: Company) -> None:
    authority = firm.open()
    for _ in range(3):
        issued(authority)
    authority.close()
    raw = sqlite3.connect(firm.online / FILE)
    for statement in ("UPDATE audit SET kind = 'x'", "DELETE FROM audit WHERE number = 2"):
        with pytest.raises(sqlite3.IntegrityError, match="only added to"):
            raw.execute(statement)
    # Who writes to the file without the program is found out by the chain.
    raw.execute("DROP TRIGGER audit_is_not_shortened")
    raw.execute("DELETE FROM audit WHERE number = 2")
    raw.commit()
    raw.close()
    store = SqliteStore(firm.online)
    with pytest.raises(AuditBroken, match="row 2 is missing"):
        check(whole_audit(store))
    store.close()


def test_acts_are_told_to_their_log(firm: Company) -> None:
    authority = firm.open()
    answers = [issued(authority) for _ in range(2)]
    firm.acts.is_down = True
    authority.revoke(answers[0].serial, Reason.SUPERSEDED, NOW, "operator")
    assert firm.acts.acts == []
    firm.acts.is_down = False
    authority.revoke(answers[1].serial, Reason.SUPERSEDED, NOW, "operator")
    assert [act.kind for act in firm.acts.acts] == ["ca.install", "ca.revoke", "ca.revoke"]
    assert authority.tell() == 0
    log = {row.number: row for row in whole_audit(authority.store)}
    for act in firm.acts.acts:
        row = decode(AuditRow, act.document)
        assert row == log[row.number]
        # Each one is a head that the whole log must contain.
        check(log.values(), row.before)
    authority.close()
