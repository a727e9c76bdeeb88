"""Dynamic updates: what a message asks for, and what becomes of a zone."""

from __future__ import annotations

import dns.message
import dns.opcode
import dns.rdataclass
import dns.rdatatype
import dns.update
import pytest
from dns.rcode import Rcode

from hypermesh.trustchain.dns import update as updates
from hypermesh.trustchain.dns.records import RecordSet, name, record_set
from hypermesh.trustchain.dns.rights import may_change, names_of
from hypermesh.trustchain.dns.update import (
    UpdateRefused,
    changes,
    check_prerequisites,
    read,
    response,
    touched,
)
from hypermesh.trustchain.dns.zone import Zone, changed, founded

from .samples import APEX, new_zone

MADE = new_zone(None)
ZONE = founded(MADE.apex, MADE.start, MADE.sets, [])
WWW = name(f"www.{APEX}")
A, AAAA, CNAME, TXT = (dns.rdatatype.from_text(each) for each in ("A", "AAAA", "CNAME", "TXT"))


def message() -> dns.update.UpdateMessage:
    return dns.update.UpdateMessage(f"{APEX}.")


def after(asked: dns.update.UpdateMessage) -> Zone:
    return changed(ZONE, changes(read(asked.to_wire()), ZONE))


def held(zone: Zone, owner: str, kind: int) -> RecordSet | None:
    return zone.sets.get((name(f"{owner}.{APEX}"), kind))


def test_records_are_added_beside_others() -> None:
    asked = message()
    asked.add(f"www.{APEX}.", 60, "A", "192.0.2.7")
    asked.add(f"www.{APEX}.", 60, "A", "192.0.2.1")
    assert held(after(asked), "www", A) == record_set(
        f"www.{APEX}", "A", 60, ["192.0.2.1", "192.0.2.2", "192.0.2.7"]
    )


def test_what_is_added_is_canonical() -> None:
    asked = message()
    asked.add(f"MiXeD.{APEX}.", 60, "PTR", f"WWW.{APEX}.")
    kind = dns.rdatatype.PTR
    assert held(after(asked), "mixed", kind) == record_set(
        f"mixed.{APEX}", "PTR", 60, [f"www.{APEX}."]
    )


def test_sets_and_records_are_deleted() -> None:
    asked = message()
    asked.delete(f"www.{APEX}.", "A", "192.0.2.1")
    asked.delete(f"here.wild.{APEX}.", "A")
    asked.delete(f"rev.{APEX}.")
    asked.delete(f"not.there.{APEX}.")
    zone = after(asked)
    assert held(zone, "www", A) == record_set(f"www.{APEX}", "A", 300, ["192.0.2.2"])
    assert held(zone, "here.wild", A) is None
    assert held(zone, "rev", dns.rdatatype.PTR) is None
    assert len(zone.sets) == len(ZONE.sets) - 2


def test_operations_have_their_order() -> None:
    asked = message()
    asked.add(f"www.{APEX}.", 60, "A", "192.0.2.7")
    asked.delete(f"www.{APEX}.", "A")
    asked.add(f"www.{APEX}.", 60, "A", "192.0.2.8")
    assert held(after(asked), "www", A) == record_set(f"www.{APEX}", "A", 60, ["192.0.2.8"])


def test_the_last_name_server_and_what_the_zone_makes_stay() -> None:
    asked = message()
    asked.delete(f"{APEX}.", "NS")
    asked.delete(f"{APEX}.", "NS", f"ns.{APEX}.")
    assert changes(read(asked.to_wire()), ZONE) == []
    asked = message()
    asked.delete(f"{APEX}.")
    gone = {each.kind for each in changes(read(asked.to_wire()), ZONE)}
    assert gone == {dns.rdatatype.CAA, dns.rdatatype.MX}


def test_aliases_stand_alone_and_the_rest_is_ignored() -> None:
    asked = message()
    asked.add(f"www.{APEX}.", 60, "CNAME", "other.example.")
    asked.add(f"alias.{APEX}.", 60, "A", "192.0.2.7")
    assert changes(read(asked.to_wire()), ZONE) == []
    asked = message()
    asked.add(f"alias.{APEX}.", 60, "CNAME", "other.example.")
    assert held(after(asked), "alias", CNAME) == record_set(
        f"alias.{APEX}", "CNAME", 60, ["other.example."]
    )


@pytest.mark.parametrize(
    ("call", "arguments", "rcode"),
    [
        ("present", ("www",), None),
        ("present", ("nothing",), Rcode.NXDOMAIN),
        ("present", ("b.c",), Rcode.NXDOMAIN),
        ("present", ("www", "A"), None),
        ("present", ("www", "MX"), Rcode.NXRRSET),
        ("present", ("rev", "PTR", f"www.{APEX}."), None),
        ("present", ("www", "A", "192.0.2.1"), Rcode.NXRRSET),
        ("present", ("rev", "PTR", f"other.{APEX}."), Rcode.NXRRSET),
        ("absent", ("nothing",), None),
        ("absent", ("www",), Rcode.YXDOMAIN),
        ("absent", ("www", "MX"), None),
        ("absent", ("www", "A"), Rcode.YXRRSET),
    ],
)
def test_prerequisites(call: str, arguments: tuple[str, ...], rcode: Rcode | None) -> None:
    asked = message()
    owner, *rest = arguments
    getattr(asked, call)(f"{owner}.{APEX}.", *rest)
    found = read(asked.to_wire())
    if rcode is None:
        check_prerequisites(found, ZONE)
        return
    with pytest.raises(UpdateRefused) as refused:
        check_prerequisites(found, ZONE)
    assert refused.value.rcode == rcode


def test_a_set_is_compared_whole() -> None:
    asked = message()
    asked.present(f"www.{APEX}.", "A", "192.0.2.2")
    asked.present(f"www.{APEX}.", "A", "192.0.2.1")
    check_prerequisites(read(asked.to_wire()), ZONE)


def refusal(wire: bytes) -> Rcode:
    with pytest.raises(UpdateRefused) as refused:
        read(wire)
    return refused.value.rcode


def test_malformed_updates_are_refused() -> None:
    asked = message()
    asked.add(f"www.{APEX}.", 60, "A", "192.0.2.7")
    wire = asked.to_wire()
    for cut in range(len(wire)):
        assert refusal(wire[:cut]) == Rcode.FORMERR
    assert refusal(wire + b"more") == Rcode.FORMERR
    assert refusal(b"\x00" * 65_536) == Rcode.FORMERR
    query = dns.message.make_query(APEX, "SOA")
    assert refusal(query.to_wire()) == Rcode.FORMERR
    # Its zone named by another type than SOA.
    at = wire.index(b"\x00\x06\x00\x01")
    assert refusal(wire[:at] + b"\x00\x01" + wire[at + 2 :]) == Rcode.FORMERR


def test_a_name_outside_the_zone() -> None:
    asked, other = message(), dns.update.UpdateMessage("example.")
    other.add("www.example.", 60, "A", "192.0.2.1")
    asked.update.append(other.update[0])
    assert refusal(asked.to_wire()) == Rcode.NOTZONE


@pytest.mark.parametrize("kind", ["SOA", "DNSKEY", "CDS", "CDNSKEY"])
def test_what_the_zone_makes_cannot_be_asked_for(kind: str) -> None:
    asked = message()
    asked.delete(f"{APEX}.", kind)
    assert refusal(asked.to_wire()) == Rcode.REFUSED


def test_an_update_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "RECORDS_MAX", 1)
    asked = message()
    asked.add(f"a.{APEX}.", 60, "A", "192.0.2.7")
    read(asked.to_wire())
    asked.add(f"b.{APEX}.", 60, "A", "192.0.2.7")
    assert refusal(asked.to_wire()) == Rcode.FORMERR


def test_all_that_an_update_touches_needs_a_right() -> None:
    asked = message()
    asked.add(f"new.{APEX}.", 60, "TXT", '"x"')
    asked.delete(f"www.{APEX}.")
    asked.delete(f"nothing.{APEX}.")
    asked.delete(f"{APEX}.")
    apex = name(APEX)
    assert touched(read(asked.to_wire()), ZONE) == {
        (name(f"new.{APEX}"), TXT),
        (WWW, A),
        (WWW, AAAA),
        (name(f"nothing.{APEX}"), dns.rdatatype.ANY),
        (apex, dns.rdatatype.CAA),
        (apex, dns.rdatatype.MX),
    }


def test_a_response_is_a_header() -> None:
    asked = message()
    answer = dns.message.from_wire(response(asked.to_wire(), Rcode.NOTAUTH))
    assert (answer.id, answer.rcode(), answer.opcode()) == (
        asked.id,
        Rcode.NOTAUTH,
        dns.opcode.UPDATE,
    )


@pytest.mark.parametrize(
    ("holder", "owner", "kind", "may"),
    [
        ("www.example", "www.example", "AAAA", True),
        ("www.example", "_443._tcp.www.example", "TLSA", True),
        ("www.example", "_acme-challenge.www.example", "TXT", True),
        ("www.example", "below.www.example", "A", False),
        ("www.example", "_tcp.below.www.example", "TLSA", False),
        ("www.example", "example", "A", False),
        ("www.example", "xwww.example", "A", False),
        ("www.example", "www.example", "NS", False),
        ("www.example", "www.example", "DS", False),
        ("www.example", "www.example", "CAA", False),
        ("www.example", "www.example", "SOA", False),
        ("*.example", "www.example", "A", True),
        ("*.example", "_443._tcp.www.example", "TLSA", True),
        ("*.example", "example", "A", False),
        ("*.example", "a.www.example", "A", False),
        ("*.example", "*.example", "A", False),
    ],
)
def test_rights(holder: str, owner: str, kind: str, may: bool) -> None:
    number = dns.rdatatype.from_text(kind)
    assert may_change([name("other.example"), name(holder)], name(owner), number) is may
    assert not may_change([], name(owner), number)


def test_bytes_that_are_no_certificate_give_no_right() -> None:
    assert names_of(b"") == names_of(b"\x30\x03\x02\x01\x01") == ()
