"""Zones are stored, logged and then served, whatever is killed between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import dns.rcode
import pytest

from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ct.entry import read_act
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.recorder import ActRecorder
from hypermesh.trustchain.dns import records
from hypermesh.trustchain.dns.published import (
    DOCUMENT_BYTES_MAX,
    UPDATE_KIND,
    NewZone,
    PublishedZones,
    ZoneUpdate,
)
from hypermesh.trustchain.dns.records import RecordSet, name, record_set, removal
from hypermesh.trustchain.dns.server import NameServer
from hypermesh.trustchain.dns.zone import ChangeInvalid, Zone, ZoneExists, ZoneMissing
from hypermesh.trustchain.evidence import Act, LogUnavailable
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import InvalidInput

from .samples import (
    APEX,
    AUTHOR,
    SETTINGS,
    VALIDATED,
    FileLog,
    MemoryLog,
    Serving,
    ask,
    data,
    new_zone,
    now_ms,
    serving,
    small_zone,
)

ZONE = name(APEX)
FRESH = record_set(f"fresh.{APEX}", "AAAA", 60, ["2001:db8::99"])


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path) as found:
        yield found


def updates(acts: Sequence[Act]) -> list[ZoneUpdate]:
    assert {act.kind for act in acts} <= {UPDATE_KIND}
    return [decode(ZoneUpdate, act.document) for act in acts]


def test_a_change_is_logged_and_served(empty: Serving) -> None:
    [first] = empty.zones.add([new_zone()], AUTHOR)
    assert (first.serial, first.leaf) == (1, 0)
    done = empty.zones.change(ZONE, [FRESH, removal(f"rev.{APEX}", "PTR")], AUTHOR)
    assert (done.serial, done.author) == (2, AUTHOR)
    assert data(empty.ask(FRESH_NAME, "AAAA").answer, "AAAA") == ["2001:db8::99"]
    assert empty.ask(f"rev.{APEX}", "PTR").rcode() == dns.rcode.NXDOMAIN
    assert " 2 3600 " in data(empty.ask(APEX, "SOA").answer, "SOA")[0]
    logged = updates(empty.log.acts)
    assert [(each.apex, each.before, each.serial) for each in logged] == [
        (ZONE, 0, 1),
        (ZONE, 1, 2),
    ]
    assert set(logged[1].sets) == {FRESH, removal(f"rev.{APEX}", "PTR")}
    assert empty.zones.history(ZONE) == [done, first]


FRESH_NAME = f"fresh.{APEX}"


def test_the_log_shows_the_key_of_a_zone(empty: Serving) -> None:
    empty.zones.add([new_zone()], AUTHOR)
    [first] = updates(empty.log.acts)
    shown = {each.kind: each for each in first.sets}
    [key] = data(empty.ask(APEX, "DNSKEY").answer, "DNSKEY")
    kind = records.kind_of("DNSKEY")
    assert records.data_text(kind, shown[kind].data[0]) == key


def test_what_is_stored_is_served_again(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.zones.add([new_zone(), small_zone("other.example")], AUTHOR)
        first.zones.change(ZONE, [FRESH], AUTHOR)
        first.zones.remove(name("other.example"), AUTHOR)
        key = data(first.ask(APEX, "DNSKEY").answer, "DNSKEY")
        before = first.zones.zone(ZONE)
    with serving(tmp_path) as again:
        assert again.zones.zone(ZONE) == before
        assert data(again.ask(FRESH_NAME, "AAAA").answer, "AAAA") == ["2001:db8::99"]
        assert data(again.ask(APEX, "DNSKEY").answer, "DNSKEY") == key
        assert again.ask("www.other.example", "AAAA").rcode() == dns.rcode.REFUSED
        assert again.log.acts == [], "what was logged is not logged again"
        assert again.zones.apexes == [ZONE]


def test_refused_changes_change_nothing(empty: Serving) -> None:
    empty.zones.add([new_zone()], AUTHOR)
    before = len(empty.log.acts)
    outside = record_set("www.elsewhere.example", "A", 1, ["192.0.2.1"])
    with pytest.raises(ChangeInvalid):
        empty.zones.change(ZONE, [FRESH, outside], AUTHOR)
    with pytest.raises(ZoneExists):
        empty.zones.add([small_zone("new.example"), new_zone()], AUTHOR)
    with pytest.raises(ZoneExists):
        empty.zones.add([small_zone("new.example"), small_zone("new.example")], AUTHOR)
    with pytest.raises(ZoneMissing):
        empty.zones.change(name("new.example"), [], AUTHOR)
    with pytest.raises(ZoneMissing):
        empty.zones.remove(name("new.example"), AUTHOR)
    assert len(empty.log.acts) == before
    assert empty.ask(FRESH_NAME).rcode() == dns.rcode.NXDOMAIN
    assert empty.zones.zone(ZONE).serial == 1


def test_a_zone_is_replaced_as_a_whole(empty: Serving) -> None:
    empty.zones.add([new_zone()], AUTHOR)
    kept = record_set(APEX, "NS", 300, [f"ns.{APEX}."])
    done = empty.zones.replace(ZONE, [kept, FRESH], AUTHOR)
    assert done.serial == 2
    assert empty.ask(f"www.{APEX}").rcode() == dns.rcode.NXDOMAIN
    assert data(empty.ask(FRESH_NAME, "AAAA").answer, "AAAA") == ["2001:db8::99"]
    assert data(empty.ask(APEX, "DNSKEY").answer, "DNSKEY")


def test_a_large_change_is_several_acts(empty: Serving) -> None:
    texts = [f'"{"x" * 200}{number}"' for number in range(70)]
    sets = [record_set(f"n{number}.{APEX}", "TXT", 60, texts) for number in range(8)]
    empty.zones.add([new_zone()], AUTHOR)
    done = empty.zones.change(ZONE, sets, AUTHOR)
    parts = [each for each in updates(empty.log.acts) if each.serial == 2]
    assert done.leaf == len(empty.log.acts) - len(parts)
    assert len(parts) > 1
    assert [(each.part, each.parts) for each in parts] == [
        (number, len(parts)) for number in range(len(parts))
    ]
    assert {each for part in parts for each in part.sets} == set(sets)
    assert all(len(act.document) <= DOCUMENT_BYTES_MAX + 1024 for act in empty.log.acts)
    assert len(data(empty.ask(f"n7.{APEX}", "TXT").answer, "TXT")) == 70


class FullLog:
    """A log without room."""

    def record(self, acts: Sequence[Act]) -> Sequence[int]:
        raise LogUnavailable(why=f"no room for {len(acts)}")


def test_where_the_log_refuses_nothing_has_happened(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.zones.add([new_zone()], AUTHOR)
        first.zones._acts = FullLog()
        with pytest.raises(LogUnavailable):
            first.zones.change(ZONE, [FRESH], AUTHOR)
        assert first.ask(FRESH_NAME).rcode() == dns.rcode.NXDOMAIN
        first.zones._acts = first.log
        assert first.zones.change(ZONE, [], AUTHOR).serial == 2
        assert first.ask(FRESH_NAME).rcode() == dns.rcode.NXDOMAIN
    with serving(tmp_path) as again:
        assert again.log.acts == []
        assert again.ask(FRESH_NAME).rcode() == dns.rcode.NXDOMAIN


class TornLog(MemoryLog):
    """A log that takes acts and then fails to say so."""

    def record(self, acts: Sequence[Act]) -> Sequence[int]:
        super().record(acts)
        raise OSError("the answer was lost")


def test_a_change_of_which_nobody_knows_is_finished_before_the_next(empty: Serving) -> None:
    empty.zones.add([new_zone()], AUTHOR)
    empty.zones._acts = TornLog()
    with pytest.raises(OSError, match="lost"):
        empty.zones.change(ZONE, [FRESH], AUTHOR)
    assert empty.ask(FRESH_NAME).rcode() == dns.rcode.NXDOMAIN
    empty.zones._acts = empty.log
    assert empty.zones.change(ZONE, [], AUTHOR).serial == 3
    assert data(empty.ask(FRESH_NAME, "AAAA").answer, "AAAA") == ["2001:db8::99"]


def test_what_may_have_been_acknowledged_waits_for_the_log(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.zones.add([new_zone()], AUTHOR)
        first.zones._acts = TornLog()
        with pytest.raises(OSError, match="lost"):
            first.zones.change(ZONE, [FRESH], AUTHOR)
    server, keys = NameServer(SETTINGS), KeyStore(tmp_path / "keys")
    try:
        with pytest.raises(LogUnavailable):
            PublishedZones(tmp_path / "zones", FullLog(), server, keys, now_ms)
        assert ask(server.port("udp"), APEX, "SOA").rcode() == dns.rcode.REFUSED
    finally:
        server.stop()
    with serving(tmp_path) as again:
        assert data(again.ask(FRESH_NAME, "AAAA").answer, "AAAA") == ["2001:db8::99"]
        assert len(again.log.acts) == 1


class PickyLog:
    """A log that can never hold what it is given."""

    def record(self, acts: Sequence[Act]) -> Sequence[int]:
        raise InvalidInput(why=f"{len(acts)} acts that no log can hold")


def test_what_no_log_can_hold_is_in_nobodys_way(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.zones.add([new_zone()], AUTHOR)
        first.zones._acts = PickyLog()
        with pytest.raises(InvalidInput):
            first.zones.change(ZONE, [FRESH], AUTHOR)
        first.zones._acts = TornLog()
        with pytest.raises(OSError, match="lost"):
            first.zones.change(ZONE, [FRESH], AUTHOR)
        first.zones._acts = PickyLog()
        with pytest.raises(InvalidInput):
            first.zones.change(ZONE, [], AUTHOR)
        first.zones._acts = first.log
        assert first.zones.change(ZONE, [], AUTHOR).serial == 2
        assert first.ask(FRESH_NAME).rcode() == dns.rcode.NXDOMAIN


def test_changes_are_leaves_of_the_transparency_log(tmp_path: Path) -> None:
    logs = TransparencyLogs(tmp_path / "logs", KeyStore(tmp_path / "log-keys"), "log.example")
    server = NameServer(SETTINGS)
    try:
        acts, keys = ActRecorder(logs), KeyStore(tmp_path / "keys")
        zones = PublishedZones(tmp_path / "zones", acts, server, keys, now_ms)
        zones.add([new_zone(), small_zone("other.example")], AUTHOR)
        done = zones.change(ZONE, [FRESH], AUTHOR)
        leaf = read_act(logs.acts.leaf(done.leaf))
        assert (done.leaf, leaf.kind) == (2, UPDATE_KIND)
        update = decode(ZoneUpdate, leaf.document)
        assert (update.apex, update.before, update.serial) == (ZONE, 1, 2)
        assert update.sets == (FRESH,)
        zones.close()
    finally:
        server.stop()
        logs.close()


class Watched(NameServer):
    """A server that says what it is told."""

    told: Callable[[], None]

    def change(self, zone: Zone, changes: Sequence[RecordSet]) -> None:
        self.told()
        super().change(zone, changes)


POINTS = ("before the log", "after the log", "before it is served")


def killed(directory: Path, point: str) -> None:
    """What the process does that is killed at `point`: a zone is there, and a change comes."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def live() -> None:
        pass

    log = FileLog(directory / "log")
    server = Watched(SETTINGS)
    server.told = live
    zones = PublishedZones(directory / "zones", log, server, KeyStore(directory / "keys"), now_ms)
    zones.add([new_zone()], AUTHOR)
    log._before = die if point == POINTS[0] else live
    log._after = die if point == POINTS[1] else live
    server.told = die if point == POINTS[2] else live
    zones.change(ZONE, [FRESH], AUTHOR)
    raise AssertionError("nothing has killed this process")


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_loses_nothing_and_serves_nothing_unlogged(tmp_path: Path, point: str) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.trustchain.dns.test_published import killed\n"
        "killed(Path(sys.argv[1]), sys.argv[2])"
    )
    died = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), point],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    log = FileLog(tmp_path / "log")
    before = updates(log.read())
    assert len(before) == (1 if point == POINTS[0] else 2)
    server = NameServer(SETTINGS)
    try:
        zones = PublishedZones(tmp_path / "zones", log, server, KeyStore(tmp_path / "keys"), now_ms)
        answer = ask(server.port("udp"), FRESH_NAME, "AAAA")
        assert data(answer.answer, "AAAA") == ["2001:db8::99"]
        assert zones.zone(ZONE).serial == 2
        assert zones.history(ZONE)[0].serial == 2
        logged = updates(log.read())
        assert {(each.before, each.serial) for each in logged} == {(0, 1), (1, 2)}
        # Twice where the process ended before it knew of the first.
        assert len(logged) == (3 if point == POINTS[1] else 2)
        assert zones.change(ZONE, [], AUTHOR).serial == 3
        zones.close()
    finally:
        server.stop()


def test_changes_of_several_threads_are_one_after_the_other(empty: Serving) -> None:
    empty.zones.add([new_zone()], AUTHOR)

    def work(worker: int) -> None:
        for number in range(10):
            made = record_set(f"w{worker}-{number}.{APEX}", "A", 60, ["192.0.2.1"])
            empty.zones.change(ZONE, [made], AUTHOR)

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert empty.zones.zone(ZONE).serial == 41
    assert sorted(each.serial for each in updates(empty.log.acts)) == list(range(1, 42))
    for worker in range(4):
        assert empty.ask(f"w{worker}-9.{APEX}").rcode() == dns.rcode.NOERROR


def test_an_answer_is_of_one_version_of_a_zone(empty: Serving) -> None:
    """Both addresses of a set, and the serial, change together under questions."""
    empty.zones.add([new_zone()], AUTHOR)
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 1) % 200
            pair = [f"192.0.2.{number}", f"198.51.100.{number}"]
            empty.zones.change(ZONE, [record_set(f"pair.{APEX}", "A", 0, pair)], AUTHOR)

    empty.zones.change(
        ZONE, [record_set(f"pair.{APEX}", "A", 0, ["192.0.2.0", "198.51.100.0"])], AUTHOR
    )
    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(200):
            found = data(empty.ask(f"pair.{APEX}").answer, "A")
            assert len(found) == 2
            assert len({each.rpartition(".")[2] for each in found}) == 1
    finally:
        stop.set()
        changing.join()


def test_zones_may_share_a_key(empty: Serving) -> None:
    made = [small_zone(f"z{number}.example", "dns-shared") for number in range(20)]
    empty.zones.add(made, AUTHOR)
    keys = {
        data(empty.ask(f"z{number}.example", "DNSKEY").answer, "DNSKEY")[0] for number in range(20)
    }
    assert len(keys) == 1
    assert empty.keys.names() == ["dns-shared"]
    assert len({empty.zones.ds(each.apex) for each in made}) == 20


def test_a_key_that_is_there_keeps_its_algorithm(empty: Serving) -> None:
    zones = [
        NewZone(each.apex, each.start, each.sets, algorithm, "dns-one")
        for each, algorithm in zip(
            [small_zone("a.example"), small_zone("b.example")], VALIDATED, strict=True
        )
    ]
    empty.zones.add(zones, AUTHOR)
    for each in ("a.example", "b.example"):
        assert " 13 " in data(empty.ask(each, "DNSKEY").answer, "DNSKEY")[0]


def test_the_closest_zone_holds_a_name(empty: Serving) -> None:
    empty.zones.add([new_zone(), small_zone(f"below.{APEX}")], AUTHOR)
    found = [
        empty.zones.closest(name(each))
        for each in (f"x.below.{APEX}", f"x.{APEX}", "elsewhere.example")
    ]
    assert [each and each.apex for each in found] == [name(f"below.{APEX}"), ZONE, None]


def test_an_act_is_read_as_it_was_written() -> None:
    written = ZoneUpdate(ZONE, 1, 2, AUTHOR, 3, 0, 1, (FRESH,))
    assert decode(ZoneUpdate, encode(written)) == written
