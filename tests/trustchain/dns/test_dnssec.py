"""Signed answers, seen by validators of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from hypermesh.trustchain.dns import records
from hypermesh.trustchain.dns.records import name

from .samples import APEX, AUTHOR, HOST, PATIENCE_S, Serving, data, run

NXNAME = dns.rdatatype.RdataType.make(128)
Keys = dict[dns.name.Name, dns.rrset.RRset]


def keys_of(signed: Serving) -> Keys:
    answer = signed.ask(APEX, "DNSKEY", dnssec=True)
    return {dns.name.from_text(APEX): answer.answer[0]}


def validated(section: list[dns.rrset.RRset], keys: Keys) -> list[dns.rrset.RRset]:
    """The sets of a section that are signed, after their signatures were checked."""
    signatures = {
        (each.name, each.covers): each for each in section if each.rdtype == dns.rdatatype.RRSIG
    }
    sets = [each for each in section if (each.name, each.rdtype) in signatures]
    for each in sets:
        dns.dnssec.validate(each, signatures[each.name, each.rdtype], keys)
    return sets


@pytest.mark.parametrize(
    ("owner", "kind"),
    [
        ("www", "A"),
        ("_443._tcp.www", "TLSA"),
        ("svc", "SVCB"),
        ("_sip._udp", "SRV"),
        ("any.wild", "TXT"),
        ("*.wild", "TXT"),
        ("alias", "CNAME"),
        ("safe", "DS"),
        ("big", "TXT"),
        ("www", "ANY"),
        ("www", "NSEC"),
    ],
)
def test_what_is_there_is_signed(signed: Serving, owner: str, kind: str) -> None:
    answer = signed.ask(f"{owner}.{APEX}", kind, dnssec=True)
    assert len(validated(answer.answer, keys_of(signed))) == 1


def test_the_apex_is_signed(signed: Serving) -> None:
    keys = keys_of(signed)
    for kind in ("SOA", "NS", "DNSKEY", "CDS", "CDNSKEY", "CAA"):
        assert len(validated(signed.ask(APEX, kind, dnssec=True).answer, keys)) == 1


def test_a_validator_sees_an_altered_record(signed: Serving) -> None:
    answer = signed.ask(f"rev.{APEX}", "PTR", dnssec=True)
    altered = dns.rrset.from_text(f"rev.{APEX}.", 300, "IN", "PTR", "other.mesh.example.")
    with pytest.raises(dns.dnssec.ValidationFailure):
        validated([altered, answer.answer[1]], keys_of(signed))


def test_a_chain_is_signed_link_by_link(signed: Serving) -> None:
    answer = signed.ask(f"chain.{APEX}", "A", dnssec=True)
    assert len(validated(answer.answer, keys_of(signed))) == 3


def denial(signed: Serving, owner: str, kind: str = "A") -> tuple[dns.message.Message, set[int]]:
    """The answer, and the types that its NSEC names after it was checked."""
    answer = signed.ask(owner, kind, dnssec=True)
    sets = validated(answer.authority, keys_of(signed))
    assert [each.rdtype for each in sets] == [dns.rdatatype.SOA, dns.rdatatype.NSEC]
    wanted = dns.name.from_text(owner)
    assert sets[1].name == wanted
    [nsec] = sets[1]
    assert nsec.next == dns.name.Name((b"\x00", *wanted.labels))
    kinds = {
        window * 256 + octet * 8 + bit
        for window, bits in nsec.windows
        for octet, value in enumerate(bits)
        for bit in range(8)
        if value & 0x80 >> bit
    }
    return answer, kinds


def test_denial_is_compact(signed: Serving) -> None:
    shown = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC}
    answer, kinds = denial(signed, f"nothing.{APEX}")
    assert answer.rcode() == dns.rcode.NOERROR
    assert kinds == {NXNAME, *shown}
    assert denial(signed, f"b.c.{APEX}")[1] == shown
    assert denial(signed, f"www.{APEX}", "MX")[1] == {
        dns.rdatatype.A,
        dns.rdatatype.AAAA,
        *shown,
    }
    assert denial(signed, f"any.wild.{APEX}")[1] == {dns.rdatatype.TXT, *shown}
    assert denial(signed, f"sub.{APEX}", "DS")[1] == {dns.rdatatype.NS, *shown}


def test_who_knows_compact_denial_is_told_that_a_name_is_not_there(signed: Serving) -> None:
    query = dns.message.make_query(f"nothing.{APEX}", "A", use_edns=0, ednsflags=0x8000 | 0x4000)
    answer = dns.query.udp(query, HOST, PATIENCE_S, signed.port)
    assert answer.rcode() == dns.rcode.NXDOMAIN
    query = dns.message.make_query(f"nothing.{APEX}", NXNAME, want_dnssec=True)
    assert dns.query.udp(query, HOST, PATIENCE_S, signed.port).rcode() == dns.rcode.FORMERR


def test_delegations_are_signed_as_such(signed: Serving) -> None:
    keys = keys_of(signed)
    secure = signed.ask(f"x.safe.{APEX}", "A", dnssec=True)
    assert [each.rdtype for each in validated(secure.authority, keys)] == [dns.rdatatype.DS]
    insecure = signed.ask(f"x.sub.{APEX}", "A", dnssec=True)
    assert [each.rdtype for each in validated(insecure.authority, keys)] == [dns.rdatatype.NSEC]
    assert not insecure.flags & dns.flags.AA


def test_signatures_only_for_who_asks(signed: Serving) -> None:
    answer = signed.ask(f"nothing.{APEX}", "A")
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert [each.rdtype for each in answer.authority] == [dns.rdatatype.SOA]


def test_the_ds_record_is_that_of_the_key(signed: Serving) -> None:
    shown = signed.zones.ds(name(APEX))
    assert shown is not None
    [key] = keys_of(signed).values()
    wanted = dns.dnssec.make_ds(dns.name.from_text(APEX), key[0], "SHA256").to_text()
    assert records.data_text(dns.rdatatype.DS, shown) == wanted
    assert data(signed.ask(APEX, "CDS").answer, "CDS") == [wanted]


def test_a_changed_set_is_signed_anew(signed: Serving) -> None:
    made = records.record_set(f"changing.{APEX}", "TXT", 60, ['"one"'])
    signed.zones.change(name(APEX), [made], AUTHOR)
    keys = keys_of(signed)
    for text in ('"two"', '"three"'):
        made = records.record_set(f"changing.{APEX}", "TXT", 60, [text])
        signed.zones.change(name(APEX), [made], AUTHOR)
        answer = signed.ask(f"changing.{APEX}", "TXT", dnssec=True)
        assert [each[0].to_text() for each in validated(answer.answer, keys)] == [text]


def anchor(signed: Serving) -> str:
    [key] = data(signed.ask(APEX, "DNSKEY").answer, "DNSKEY")
    return key


@pytest.mark.skipif(shutil.which("delv") is None, reason="delv is not installed")
def test_delv(signed: Serving, tmp_path: Path) -> None:
    flags, protocol, algorithm, *key = anchor(signed).split()
    trusted = f'"{APEX}." static-key {flags} {protocol} {algorithm} "{"".join(key)}";'
    anchors = tmp_path / "anchors"
    anchors.write_text(f"trust-anchors {{ {trusted} }};\n")
    ask = ("delv", f"@{HOST}", "-p", str(signed.port), "-a", str(anchors), f"+root={APEX}")
    for owner, kind in (("www", "A"), ("any.wild", "TXT"), ("chain", "AAAA"), ("svc", "SVCB")):
        assert "; fully validated" in run(*ask, f"{owner}.{APEX}", kind)
    for owner, kind in (("nothing", "A"), ("www", "MX"), ("b.c", "A")):
        assert "; negative response, fully validated" in run(*ask, f"{owner}.{APEX}", kind)
    other = key[0][:-4] + ("AAA=" if not key[0].endswith("AAA=") else "BBB=")
    anchors.write_text(anchors.read_text().replace("".join(key), other + "".join(key[1:])))
    assert "fully validated" not in run(*ask, f"www.{APEX}", "A")


@pytest.mark.skipif(shutil.which("unbound-host") is None, reason="unbound-host is not installed")
def test_unbound_host(signed: Serving, tmp_path: Path) -> None:
    settings = tmp_path / "unbound.conf"
    settings.write_text(
        "server:\n  do-not-query-localhost: no\n  do-ip6: yes\n"
        f"stub-zone:\n  name: {APEX}\n  stub-addr: {HOST}@{signed.port}\n"
    )
    trusted = f"{APEX}. DNSKEY {anchor(signed)}"
    ask = ("unbound-host", "-C", str(settings), "-y", trusted, "-v")
    assert "(secure)" in run(*ask, "-t", "AAAA", f"www.{APEX}")
    assert "(secure)" in run(*ask, "-t", "TXT", f"any.wild.{APEX}")
    assert "(secure)" in run(*ask, "-t", "A", f"nothing.{APEX}")
