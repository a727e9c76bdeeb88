"""What a zone may hold."""

from __future__ import annotations

import pytest

from hypermesh.trustchain.dns import records, zone
from hypermesh.trustchain.dns.records import (
    SET_BYTES_MAX,
    TTL_MAX,
    NameInvalid,
    RecordInvalid,
    RecordSet,
    checked,
    name,
    name_text,
    record_set,
    removal,
)
from hypermesh.trustchain.dns.zone import ChangeInvalid, changed, difference, founded, next_serial

from .samples import APEX, new_zone

MADE = new_zone(None)
ZONE = founded(MADE.apex, MADE.start, MADE.sets, [])


def test_names_are_canonical() -> None:
    assert name("WwW.Example.") == name("www.example") == b"\x03www\x07example\x00"
    assert name(".") == b"\x00"
    assert name_text(name("www.example.")) == "www.example"
    assert name_text(b"\x00") == "."


@pytest.mark.parametrize("text", ["a" * 64, "a..b", ".a", "a." * 128, "\\999", ""])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(NameInvalid):
        name(text) if text else name("a..")


@pytest.mark.parametrize("wire", [b"", b"\x03ww", b"\x01a", b"\xc0\x00", b"\x00\x00"])
def test_bytes_that_are_no_name(wire: bytes) -> None:
    with pytest.raises(NameInvalid):
        name_text(wire)


def test_data_is_canonical_and_reads_back() -> None:
    made = record_set("a.example", "MX", 5, ["20 B.Example.", "10 A.Example.", "10 a.example."])
    assert made.data == (b"\x00\x0a\x01a\x07example\x00", b"\x00\x14\x01b\x07example\x00")
    assert records.data_text(made.kind, made.data[0]) == "10 a.example."
    assert records.canonical(made.kind, b"\x00\x0a\x01A\x07example\x00") == made.data[0]


@pytest.mark.parametrize(
    ("kind", "ttl", "data"),
    [
        ("A", 1, ["192.0.2"]),
        ("AAAA", 1, ["192.0.2.1"]),
        ("NOSUCH", 1, ["x"]),
        ("SOA", 1, ["a. b. 1 2 3 4 5"]),
        ("DNSKEY", 1, ["257 3 15 AAAA"]),
        ("DNAME", 1, ["a.example."]),
        ("A", -1, ["192.0.2.1"]),
        ("A", TTL_MAX + 1, ["192.0.2.1"]),
        ("CNAME", 1, ["a.", "b."]),
        ("TXT", 1, ['"' + "x" * 255 + '" ' * 0] * 1 + [f'"{n:0255}"' for n in range(70)]),
        ("MX", 1, ["10 relative", "x"]),
    ],
)
def test_records_that_are_refused(kind: str, ttl: int, data: list[str]) -> None:
    with pytest.raises(RecordInvalid):
        record_set("a.example", kind, ttl, data)


def test_the_bound_on_a_set_is_exact() -> None:
    kind = records.kind_of("TXT")
    fitting = RecordSet(name("a"), kind, 1, (b"\x00" * SET_BYTES_MAX,))
    assert checked(fitting) == fitting
    with pytest.raises(RecordInvalid):
        checked(RecordSet(name("a"), kind, 1, (b"\x00" * (SET_BYTES_MAX + 1),)))


@pytest.mark.parametrize(
    "change",
    [
        record_set("www.elsewhere.example", "A", 1, ["192.0.2.1"]),
        record_set(f"x{APEX}", "A", 1, ["192.0.2.1"]),
        record_set(f"www.{APEX}", "CNAME", 1, ["other.example."]),
        record_set(f"alias.{APEX}", "A", 1, ["192.0.2.1"]),
        record_set(APEX, "CNAME", 1, ["other.example."]),
        record_set(APEX, "DS", 1, ["1 15 2 " + "00" * 32]),
        record_set(f"www.{APEX}", "DS", 1, ["1 15 2 " + "00" * 32]),
        removal(APEX, "NS"),
        removal(f"safe.{APEX}", "NS"),
        removal(APEX, "SOA"),
        removal(APEX, "DNSKEY"),
    ],
    ids=str,
)
def test_changes_that_are_refused(change: RecordSet) -> None:
    with pytest.raises(ChangeInvalid):
        changed(ZONE, [change])


def test_a_change_may_pass_through_what_it_may_not_leave() -> None:
    alias = record_set(f"rev.{APEX}", "CNAME", 1, [f"www.{APEX}."])
    after = changed(ZONE, [alias, removal(f"rev.{APEX}", "PTR")])
    assert list(after.at(alias.owner)) == [alias]
    assert after.serial == ZONE.serial + 1


def test_a_change_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone, "CHANGE_SETS_MAX", 1)
    with pytest.raises(ChangeInvalid):
        changed(ZONE, [removal(f"a.{APEX}", "A"), removal(f"b.{APEX}", "A")])
    monkeypatch.setattr(zone, "SETS_MAX", len(ZONE.sets))
    with pytest.raises(ChangeInvalid):
        changed(ZONE, [record_set(f"one.more.{APEX}", "A", 1, ["192.0.2.1"])])


def test_serials_go_round_without_zero() -> None:
    assert next_serial(1) == 2
    assert next_serial(2**32 - 1) == 1


def test_the_difference_leads_from_one_to_the_other() -> None:
    changes = [
        record_set(f"www.{APEX}", "A", 9, ["192.0.2.77"]),
        removal(f"rev.{APEX}", "PTR"),
        removal(f"not.there.{APEX}", "PTR"),
        record_set(f"svc.{APEX}", "SVCB", 300, [f"1 www.{APEX}. alpn=h3 port=8443"]),
    ]
    after = changed(ZONE, changes)
    assert set(difference(ZONE, after)) == {changes[0], changes[1]}
    assert changed(ZONE, difference(ZONE, after)).sets == after.sets
