"""Sequencing: every answer is of what is stored, once, whatever happens beside it."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ct import log as log_module
from hypermesh.trustchain.ct.checkpoint import CosignatureVerifier
from hypermesh.trustchain.ct.entry import prepared, read_act
from hypermesh.trustchain.ct.errors import (
    AnotherLog,
    EntryInvalid,
    LogBusy,
    LogDamaged,
    LogInUse,
    NotInLog,
    ProofInvalid,
)
from hypermesh.trustchain.ct.log import DATABASE, Request, TransparencyLogs
from hypermesh.trustchain.ct.proof import Inclusion, verify_inclusion
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.ct.sct import read_sct, verify_sct
from hypermesh.trustchain.ct.store import Growth, SqliteLogStore
from hypermesh.trustchain.ct.tiles import Tile
from hypermesh.trustchain.ct.tree import included, leaf_hash, root_of
from hypermesh.trustchain.evidence import (
    Act,
    ActLog,
    CertificateLog,
    FinalCertificate,
    LogUnavailable,
    Precertificate,
    Recorded,
)
from hypermesh.wire.codec import decode, encode

from .samples import WAIT_S, Issuer, opened, plain

TOGETHER = 16
EACH = 20


def test_a_recorded_certificate_is_proven(logs: TransparencyLogs, issuer: Issuer) -> None:
    recorder: CertificateLog = CertificateRecorder(logs, WAIT_S)
    submission = issuer.final("a.example")
    (recorded,) = recorder.record([submission])
    view = logs.certificates
    key = view.identity.p256
    assert key is not None
    leaf = verify_sct(read_sct(recorded.sct), submission, key)
    checkpoint = view.identity.opened(view.checkpoint(recorded.index + 1))
    path = view.inclusion(recorded.index, checkpoint.size)
    assert included(checkpoint.root, recorded.index, checkpoint.size, leaf_hash(leaf), path)
    assert view.leaf(recorded.index) == leaf
    assert view.index_of(leaf_hash(leaf)) == recorded.index
    entry = view.entry(recorded.index)
    assert (entry.submitted, entry.timestamp_ms) == (submission.certificate, recorded.timestamp_ms)
    assert [view.issuer(each) for each in entry.chain] == [issuer.der]
    assert view.resource(f"issuer/{hashlib.sha256(issuer.der).hexdigest()}") == issuer.der


def test_evidence_is_checked_without_the_log(logs: TransparencyLogs, issuer: Issuer) -> None:
    submissions = [issuer.final(f"{number}.example") for number in range(5)]
    (recorded, *_) = CertificateRecorder(logs, WAIT_S).record(submissions)
    view = logs.certificates
    inclusion, leaf = view.prove(3), view.leaf(3)
    travelled = decode(Inclusion, encode(inclusion))
    assert verify_inclusion(travelled, leaf, view.identity).size == 5
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    stranger = CosignatureVerifier("w.example", key)
    for refused in (
        lambda: verify_inclusion(travelled, leaf[:-1] + b"x", view.identity),
        lambda: verify_inclusion(travelled, view.leaf(2), view.identity),
        lambda: verify_inclusion(replace(travelled, index=2), leaf, view.identity),
        lambda: verify_inclusion(replace(travelled, path=travelled.path[:-1]), leaf, view.identity),
        lambda: verify_inclusion(travelled, leaf, logs.acts.identity),
        lambda: verify_inclusion(travelled, leaf, view.identity, [stranger], 1),
    ):
        with pytest.raises(ProofInvalid):
            refused()
    assert recorded.index == 0


def test_acts_are_leaves_in_order(logs: TransparencyLogs) -> None:
    recorder: ActLog = ActRecorder(logs, WAIT_S)
    acts = [Act("ca.revoke", b"%d" % number) for number in range(300)]
    assert recorder.record(acts) == list(range(300))
    assert recorder.record(acts[:1]) == [300]
    leaves = logs.acts.leaves(0, 400)
    assert [read_act(leaf).document for leaf in leaves] == [b"%d" % n for n in range(300)] + [b"0"]
    checkpoint = logs.acts.identity.opened(logs.acts.checkpoint())
    assert checkpoint.root == root_of([leaf_hash(leaf) for leaf in leaves])
    assert logs.acts.resource("tile/entries/001.p/45") == logs.acts.tile(Tile(None, 1, 45))
    assert logs.certificates.head.size == 0


def test_the_same_again_has_the_same_answer(tmp_path: Path) -> None:
    logs = opened(tmp_path)
    first, second = plain(1), plain(2)
    pre = Precertificate(b"pre", b"tbs", bytes(32), (b"issuer",))
    recorder = CertificateRecorder(logs, WAIT_S)
    answers = recorder.record([first, second, first, pre])
    assert [each.index for each in answers] == [0, 1, 0, 2]
    assert answers[0] == answers[2]
    other_chain = FinalCertificate(first.certificate, (b"cross",))
    assert recorder.record([other_chain]) == [answers[0]]
    logs.close()
    again = opened(tmp_path)
    assert CertificateRecorder(again, WAIT_S).record([pre, first]) == [answers[3], answers[0]]
    assert again.certificates.head.size == 3
    again.close()


def test_many_threads_share_commits(tmp_path: Path) -> None:
    store = Counted
    store.commits = 0
    logs = opened(tmp_path, store=store)
    answers: dict[int, Recorded] = {}
    acts: list[int] = []

    def submit(thread: int) -> None:
        certificates = CertificateRecorder(logs, WAIT_S)
        act_log = ActRecorder(logs, WAIT_S)
        for number in range(thread * EACH, (thread + 1) * EACH):
            # Every other one is also submitted by the next thread.
            (answers[number],) = certificates.record([plain(number // 2)])
            acts.extend(act_log.record([Act("test.act", b"%d" % number)]))

    in_threads([lambda thread=thread: submit(thread) for thread in range(TOGETHER)])
    count = TOGETHER * EACH
    assert {each.index for each in answers.values()} == set(range(count // 2))
    assert all(answers[number] == answers[number ^ 1] for number in answers)
    assert sorted(acts) == list(range(count))
    assert store.commits < 2 * count
    logs.close()
    again = opened(tmp_path)
    key = again.certificates.identity.p256
    assert key is not None
    for number, recorded in answers.items():
        leaf = verify_sct(read_sct(recorded.sct), plain(number // 2), key)
        assert again.certificates.leaf(recorded.index) == leaf
    again.close()


def test_requests_that_wait_are_one_batch(tmp_path: Path) -> None:
    store = Counted
    logs = opened(tmp_path, store=Held)
    Held.gate.clear()
    try:
        first = started(lambda: CertificateRecorder(logs, WAIT_S).record([plain(0)]))
        assert Held.reached.wait(WAIT_S)
        rest = [
            started(lambda number=number: CertificateRecorder(logs, WAIT_S).record([plain(number)]))
            for number in range(1, 9)
        ]
        until(lambda: logs.waiting == 8)
        store.commits = 0
    finally:
        Held.gate.set()
    for thread in (first, *rest):
        thread.join(WAIT_S)
    assert store.commits == 2
    assert logs.certificates.head.size == 9
    logs.close()


def test_a_full_queue_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "QUEUE_MAX", 2)
    logs = opened(tmp_path, store=Held)
    Held.gate.clear()
    try:
        first = started(lambda: CertificateRecorder(logs, WAIT_S).record([plain(0)]))
        assert Held.reached.wait(WAIT_S)
        second = started(lambda: CertificateRecorder(logs, WAIT_S).record([plain(1), plain(2)]))
        until(lambda: logs.waiting == 2)
        with pytest.raises(LogBusy):
            CertificateRecorder(logs, WAIT_S).record([plain(3)])
        monkeypatch.setattr(log_module, "QUEUE_MAX", 3)
        # Taken off the queue again, for its time is over before its turn comes.
        with pytest.raises(LogUnavailable, match="nothing was recorded"):
            ActRecorder(logs, 0.01).record([Act("late", b"")])
        assert logs.waiting == 2
    finally:
        Held.gate.set()
    first.join(WAIT_S)
    second.join(WAIT_S)
    assert logs.certificates.head.size == 3
    assert logs.acts.head.size == 0
    logs.close()


def test_a_disk_that_does_not_answer(tmp_path: Path) -> None:
    logs = opened(tmp_path, store=Held)
    Held.gate.clear()
    request = Request([prepared(plain(0))], ())
    try:
        waiting = started(lambda: logs.submit(request, WAIT_S))
        assert Held.reached.wait(WAIT_S)
        with pytest.raises(LogUnavailable, match="may still be recorded"):
            logs._withdraw(request, 0.01)
    finally:
        Held.gate.set()
    waiting.join(WAIT_S)
    assert CertificateRecorder(logs, WAIT_S).record([plain(0)])[0].index == 0
    logs.close()


def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    logs = opened(tmp_path, store=Small)
    recorder = CertificateRecorder(logs, WAIT_S)
    recorder.record([plain(0)])
    Small.allow(logs, 0)
    large = [plain(number, 8_000) for number in range(1, 200)]
    with pytest.raises(LogUnavailable, match="full"):
        recorder.record(large)
    assert logs.failure is None
    assert logs.certificates.head.size == 1
    Small.allow(logs, 1 << 20)
    assert [each.index for each in recorder.record(large)] == list(range(1, 200))
    logs.close()
    opened(tmp_path).close()


def test_any_other_failure_stops_the_log_for_good(tmp_path: Path) -> None:
    logs = opened(tmp_path, store=Failing)
    recorder = CertificateRecorder(logs, WAIT_S)
    recorder.record([plain(0)])
    Failing.fails = True
    try:
        with pytest.raises(LogUnavailable, match="disk I/O error"):
            recorder.record([plain(1)])
        until(lambda: logs.failure is not None)
    finally:
        Failing.fails = False
    assert "disk I/O error" in logs.failure.why  # type: ignore[union-attr]
    with pytest.raises(LogUnavailable, match="has stopped"):
        recorder.record([plain(2)])
    assert logs.certificates.identity.opened(logs.certificates.checkpoint()).size == 1
    logs.close()
    again = opened(tmp_path)
    assert CertificateRecorder(again, WAIT_S).record([plain(1)])[0].index == 1
    again.close()


def test_who_waits_when_the_store_fails_is_told(tmp_path: Path) -> None:
    logs = opened(tmp_path, store=Held)
    Held.gate.clear()
    errors: list[Exception] = []

    def submit(number: int) -> None:
        try:
            CertificateRecorder(logs, WAIT_S).record([plain(number)])
        except LogUnavailable as error:
            errors.append(error)

    try:
        first = started(lambda: submit(0))
        assert Held.reached.wait(WAIT_S)
        second = started(lambda: submit(1))
        until(lambda: logs.waiting == 1)
        Held.fails = True
    finally:
        Held.gate.set()
    first.join(WAIT_S)
    second.join(WAIT_S)
    Held.fails = False
    assert len(errors) == 2
    assert all("no disk" in str(error) for error in errors)
    assert logs.waiting == 0
    logs.close()


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(LogUnavailable, match="cannot be opened"):
        TransparencyLogs(tmp_path / "file" / "ct", KeyStore(tmp_path / "keys"), "log.example")
    opened(tmp_path).close()
    (tmp_path / "ct" / DATABASE).write_bytes(b"not a database" * 1000)
    with pytest.raises(LogDamaged):
        opened(tmp_path)


def test_one_process_and_one_identity(tmp_path: Path) -> None:
    logs = opened(tmp_path)
    with pytest.raises(LogInUse):
        opened(tmp_path)
    logs.close()
    with pytest.raises(AnotherLog):
        TransparencyLogs(tmp_path / "ct", KeyStore(tmp_path / "keys"), "other.example")
    with pytest.raises(AnotherLog):
        TransparencyLogs(tmp_path / "ct", KeyStore(tmp_path / "others"), "trust.example/ct")
    opened(tmp_path).close()


def test_a_closed_or_ended_log_takes_nothing(tmp_path: Path) -> None:
    logs = opened(tmp_path)
    (recorded,) = CertificateRecorder(logs, WAIT_S).record([plain(0)])
    logs.close()
    with pytest.raises(LogUnavailable, match="closed"):
        CertificateRecorder(logs, WAIT_S).record([plain(1)])
    ended = opened(tmp_path, ended="restored from a backup")
    with pytest.raises(LogUnavailable, match="restored from a backup"):
        ActRecorder(ended, WAIT_S).record([Act("any", b"")])
    assert ended.certificates.entry(recorded.index).submitted == plain(0).certificate
    ended.close()


def test_the_clock_may_go_back(tmp_path: Path) -> None:
    now = [2_000]
    logs = opened(tmp_path, clock_ms=lambda: now[0])
    recorder = CertificateRecorder(logs, WAIT_S)
    assert recorder.record([plain(0)])[0].timestamp_ms == 2_000
    now[0] = 1_000
    assert recorder.record([plain(1)])[0].timestamp_ms == 2_000
    logs.close()
    again = opened(tmp_path, clock_ms=lambda: now[0])
    assert CertificateRecorder(again, WAIT_S).record([plain(2)])[0].timestamp_ms == 2_000
    again.close()


def test_a_checkpoint_serves_for_a_while(tmp_path: Path) -> None:
    now = [10_000]
    logs = opened(tmp_path, clock_ms=lambda: now[0])
    view, recorder = logs.certificates, CertificateRecorder(logs, WAIT_S)
    empty = view.checkpoint()
    assert view.identity.opened(empty).size == 0
    recorder.record([plain(0)])
    assert view.checkpoint() == empty
    assert view.identity.opened(view.checkpoint(1)).size == 1
    recorder.record([plain(1)])
    now[0] += log_module.CHECKPOINT_INTERVAL_MS
    assert view.identity.opened(view.checkpoint()).size == 2
    assert view.checkpoint() == view.checkpoint()
    with pytest.raises(NotInLog):
        view.checkpoint(3)
    shown = view.checkpoint()
    logs.close()
    again = opened(tmp_path)
    assert again.certificates.checkpoint() == shown
    again.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE heads SET size = size - 1 WHERE log = 0",
        "UPDATE heads SET root = zeroblob(32) WHERE log = 0",
        "UPDATE hashes_0 SET hashes = zeroblob(length(hashes)) WHERE level = 0",
        "DELETE FROM hashes_0",
        "DELETE FROM entries_0 WHERE position = 2",
        "UPDATE heads SET published = CAST('none' AS BLOB) WHERE log = 0",
        "PRAGMA user_version = 2",
    ],
)
def test_damage_is_found_when_it_opens(tmp_path: Path, damage: str) -> None:
    logs = opened(tmp_path)
    CertificateRecorder(logs, WAIT_S).record([plain(number) for number in range(3)])
    logs.certificates.checkpoint()
    logs.close()
    changed(tmp_path, damage)
    with pytest.raises(LogDamaged):
        opened(tmp_path)


def test_a_log_that_went_back_is_found(tmp_path: Path) -> None:
    """Entries, tiles and head go together, so that only the checkpoint still tells."""
    logs = opened(tmp_path)
    recorder = CertificateRecorder(logs, WAIT_S)
    recorder.record([plain(0)])
    logs.close()
    before = (tmp_path / "ct" / DATABASE).read_bytes()
    logs = opened(tmp_path)
    CertificateRecorder(logs, WAIT_S).record([plain(1)])
    shown = logs.certificates.checkpoint()
    logs.close()
    (tmp_path / "ct" / DATABASE).write_bytes(before)
    database = sqlite3.connect(tmp_path / "ct" / DATABASE)
    with database:
        database.execute("UPDATE heads SET published = ? WHERE log = 0", (shown,))
    database.close()
    with pytest.raises(LogDamaged, match="2 entries"):
        opened(tmp_path)


def test_what_no_log_could_hold(logs: TransparencyLogs) -> None:
    certificates, acts = CertificateRecorder(logs, WAIT_S), ActRecorder(logs, WAIT_S)
    for submission in (
        FinalCertificate(b"", ()),
        FinalCertificate(b"x" * (1 << 18), ()),
        FinalCertificate(b"x", (b"y",) * 17),
        FinalCertificate(b"x", (b"",)),
        Precertificate(b"x", b"", bytes(32), ()),
        Precertificate(b"x", b"y", bytes(31), ()),
    ):
        with pytest.raises(EntryInvalid):
            certificates.record([submission])
    for act in (Act("", b""), Act("k" * 65, b""), Act("k", bytes(65_536))):
        with pytest.raises(EntryInvalid):
            acts.record([act])
    with pytest.raises(EntryInvalid, match="too many at once"):
        certificates.record([plain(number) for number in range(log_module.BATCH_MAX + 1)])
    assert acts.record([Act("k" * 64, bytes(65_000))]) == [0]
    assert logs.certificates.head.size == 0


def test_readers_see_what_is_committed(logs: TransparencyLogs) -> None:
    CertificateRecorder(logs, WAIT_S).record([plain(number) for number in range(3)])
    view = logs.certificates
    for refused in (
        lambda: view.leaf(3),
        lambda: view.leaf(-1),
        lambda: view.inclusion(0, 4),
        lambda: view.consistency(1, 4),
        lambda: view.root(4),
        lambda: view.tile(Tile(0, 0)),
        lambda: view.tile(Tile(0, 0, 4)),
        lambda: view.tile(Tile(1, 0, 1)),
        lambda: view.tile(Tile(None, 1, 1)),
        lambda: view.issuer(bytes(32)),
        lambda: view.index_of(bytes(32)),
        lambda: view.resource("tile/9/000"),
        lambda: view.resource("other"),
    ):
        with pytest.raises(NotInLog):
            refused()
    assert len(view.tile(Tile(0, 0, 2))) == 64


class Counted(SqliteLogStore):
    """Counts commits of entries."""

    commits = 0

    def append(self, growths: Sequence[Growth]) -> None:
        Counted.commits += 1
        super().append(growths)


class Held(Counted):
    """Commits entries only while the gate is open."""

    gate = threading.Event()
    reached = threading.Event()
    fails = False

    def append(self, growths: Sequence[Growth]) -> None:
        Held.reached.set()
        assert Held.gate.wait(WAIT_S)
        Held.reached.clear()
        if Held.fails:
            raise OSError("no disk")
        super().append(growths)


class Failing(SqliteLogStore):
    """Fails as a disk does."""

    fails = False

    def _commit(self, writer: sqlite3.Connection) -> None:
        if Failing.fails:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        super()._commit(writer)


class Small(SqliteLogStore):
    """Has room for so many pages."""

    @staticmethod
    def allow(logs: TransparencyLogs, pages: int) -> None:
        """Room for `pages` more pages than there are."""
        writer = logs._store._writer  # type: ignore[attr-defined]
        (now,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {now + pages}")


def changed(directory: Path, statement: str) -> None:
    database = sqlite3.connect(directory / "ct" / DATABASE, isolation_level=None)
    database.execute(statement)
    database.close()


def started(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def in_threads(works: Sequence[Callable[[], object]]) -> None:
    threads = [started(work) for work in works]
    for thread in threads:
        thread.join(WAIT_S)
    assert not any(thread.is_alive() for thread in threads)


def until(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds; it is asked often, for nothing announces it."""
    tick, waited_s = threading.Event(), 0.0
    while not condition():
        assert waited_s < WAIT_S
        tick.wait(0.005)
        waited_s += 0.005
