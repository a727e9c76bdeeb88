"""A zone signed by FALCON-512, an experiment: what it costs, who checks it, who must not mind."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import dns.dnssec
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from hypermesh import _native
from hypermesh.trustchain.dns.keys import Algorithm
from hypermesh.trustchain.dns.published import NewZone
from hypermesh.trustchain.dns.records import data_text, name, record_set
from hypermesh.wire.errors import HyperMeshError

from .samples import APEX, HOST, PATIENCE_S, Serving, data, new_zone, run, serving, start

MARK = dns.name.from_text("falcon-512.hm.internal.").to_wire()
PUBLIC_BYTES, SIGNATURE_BYTES = 897, 666
PARENT = "example"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The zone of the other tests, and the one above it, signed by Ed25519, with its DS."""
    with serving(tmp_path_factory.mktemp("f")) as found:
        found.zones.add([new_zone(Algorithm.FALCON_512)], "a test")
        shown = found.zones.ds(name(APEX))
        assert shown is not None
        above = [
            record_set(PARENT, "NS", 300, [f"ns.{PARENT}."]),
            record_set(f"ns.{PARENT}", "AAAA", 300, [HOST]),
            record_set(APEX, "NS", 300, [f"ns.{APEX}."]),
            record_set(APEX, "DS", 300, [data_text(dns.rdatatype.DS, shown)]),
        ]
        found.zones.add([NewZone(name(PARENT), start(PARENT), tuple(above))], "a test")
        yield found


def key_of(signed: Serving) -> dns.rdata.Rdata:
    answer = signed.ask(APEX, "DNSKEY", dnssec=True)
    return answer.answer[0][0]


def message(rrset: dns.rrset.RRset, rrsig: dns.rdata.Rdata) -> bytes:
    """What is signed: RFC 4034 section 3.1.8.1. The names here are in canonical form already."""
    labels = rrset.name.labels[-(rrsig.labels + 1) :]
    owner = rrset.name
    if rrsig.labels < len(rrset.name) - 1:
        owner = dns.name.Name((b"*", *labels))
    signed = struct.pack(
        "!HBBIIIH",
        rrsig.type_covered,
        rrsig.algorithm,
        rrsig.labels,
        rrsig.original_ttl,
        rrsig.expiration,
        rrsig.inception,
        rrsig.key_tag,
    )
    signed += rrsig.signer.to_digestable()
    head = owner.to_digestable() + struct.pack("!HHI", rrset.rdtype, 1, rrsig.original_ttl)
    for encoded in sorted(each.to_digestable() for each in rrset):
        signed += head + struct.pack("!H", len(encoded)) + encoded
    return signed


def holds(key: dns.rdata.Rdata, rrset: dns.rrset.RRset, rrsig: dns.rdata.Rdata) -> bool:
    """Whether the private algorithm of this name signed the set with `key`."""
    if (key.algorithm, rrsig.algorithm) != (253, 253) or rrsig.key_tag != dns.dnssec.key_id(key):
        return False
    if not (key.key.startswith(MARK) and rrsig.signature.startswith(MARK)):
        return False
    public, signature = key.key[len(MARK) :], rrsig.signature[len(MARK) :]
    return _native.falcon512_verify(public, message(rrset, rrsig), signature)


def checked(section: list[dns.rrset.RRset], key: dns.rdata.Rdata) -> list[dns.rdatatype.RdataType]:
    """The types of a section that are signed; each signature is asserted to hold."""
    signatures = {(each.name, each.covers): each[0] for each in section if each.covers}
    found = [each for each in section if (each.name, each.rdtype) in signatures]
    for each in found:
        assert holds(key, each, signatures[each.name, each.rdtype]), each.rdtype
    return [each.rdtype for each in found]


@pytest.mark.parametrize(
    ("owner", "kind"),
    [("www", "A"), ("svc", "SVCB"), ("_sip._udp", "SRV"), ("any.wild", "TXT"), ("big", "TXT")],
)
def test_what_is_there_is_signed(signed: Serving, owner: str, kind: str) -> None:
    answer = signed.ask(f"{owner}.{APEX}", kind, dnssec=True)
    assert checked(answer.answer, key_of(signed)) == [dns.rdatatype.from_text(kind)]


def test_the_key_and_what_is_not_there_are_signed(signed: Serving) -> None:
    key = key_of(signed)
    for kind in ("SOA", "NS", "DNSKEY", "CDS", "CDNSKEY"):
        assert checked(signed.ask(APEX, kind, dnssec=True).answer, key)
    for owner, kind in (("nothing", "A"), ("www", "MX")):
        denied = signed.ask(f"{owner}.{APEX}", kind, dnssec=True)
        assert checked(denied.authority, key) == [dns.rdatatype.SOA, dns.rdatatype.NSEC]


def test_nothing_can_be_changed(signed: Serving) -> None:
    key = key_of(signed)
    rrset, signatures = signed.ask(f"www.{APEX}", "A", dnssec=True).answer
    rrsig = signatures[0]
    assert holds(key, rrset, rrsig)
    other = dns.rrset.from_text(f"www.{APEX}.", 300, "IN", "A", "192.0.2.1", "192.0.2.3")
    assert not holds(key, other, rrsig)
    for position in range(len(rrsig.signature)):
        changed = bytearray(rrsig.signature)
        changed[position] ^= 1 << position % 8
        assert not holds(key, rrset, rrsig.replace(signature=bytes(changed))), position
    for field in ("original_ttl", "expiration", "inception", "key_tag"):
        wrong = rrsig.replace(**{field: getattr(rrsig, field) + 1})
        assert not holds(key, rrset, wrong), field


def test_what_it_costs(signed: Serving) -> None:
    """A key of 897 bytes and signatures of 666, each behind the 24 of its name. One signature fits
    into a datagram of 1,232; two, as a denial needs, and the key do not, and go over TCP."""
    key = key_of(signed)
    assert len(MARK) == 24
    assert len(key.key) == len(MARK) + PUBLIC_BYTES
    rrsig = signed.ask(f"www.{APEX}", "A", dnssec=True).answer[1][0]
    assert len(rrsig.signature) == len(MARK) + SIGNATURE_BYTES

    def over_udp(owner: str, kind: str) -> dns.message.Message:
        query = dns.message.make_query(owner, kind, want_dnssec=True)
        return dns.query.udp(query, HOST, PATIENCE_S, signed.port, raise_on_truncation=False)

    one = over_udp(f"www.{APEX}", "A")
    assert not one.flags & dns.flags.TC
    assert 700 < len(one.to_wire()) <= 1232
    for owner, kind in ((f"nothing.{APEX}", "A"), (APEX, "DNSKEY")):
        cut = over_udp(owner, kind)
        assert cut.flags & dns.flags.TC
        assert not cut.answer
        whole = signed.ask(owner, kind, dnssec=True)
        assert 1232 < len(whole.to_wire()) < 2048


def test_no_other_validator_knows_it(signed: Serving) -> None:
    rrset, signatures = signed.ask(f"www.{APEX}", "A", dnssec=True).answer
    keys = {dns.name.from_text(APEX): signed.ask(APEX, "DNSKEY", dnssec=True).answer[0]}
    with pytest.raises((dns.dnssec.UnsupportedAlgorithm, dns.dnssec.ValidationFailure)):
        dns.dnssec.validate(rrset, signatures, keys)


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed")
def test_dig_shows_it(signed: Serving) -> None:
    ask = ("dig", f"@{HOST}", "-p", str(signed.port), "+dnssec")
    assert "257 3 253 " in run(*ask, "+short", APEX, "DNSKEY")
    assert "A 253 3 300 " in run(*ask, "+short", f"www.{APEX}", "A")


@pytest.mark.skipif(shutil.which("delv") is None, reason="delv is not installed")
def test_delv_takes_the_zone_for_one_that_is_not_signed(signed: Serving, tmp_path: Path) -> None:
    """Below a zone that is validated, its DS names an algorithm that delv does not have (RFC 4035
    section 5.2): insecure, and not bogus. So it does no harm to those who cannot check it."""
    [key] = data(signed.ask(PARENT, "DNSKEY").answer, "DNSKEY")
    flags, protocol, algorithm, *digits = key.split()
    trusted = f'"{PARENT}." static-key {flags} {protocol} {algorithm} "{"".join(digits)}";'
    anchors = tmp_path / "anchors"
    anchors.write_text(f"trust-anchors {{ {trusted} }};\n")
    ask = ("delv", f"@{HOST}", "-p", str(signed.port), "-a", str(anchors), f"+root={PARENT}")
    assert "; fully validated" in run(*ask, f"ns.{PARENT}", "AAAA")
    said = run(*ask, f"www.{APEX}", "A")
    assert "; unsigned answer" in said
    assert "192.0.2.1" in said


def test_a_key_of_another_algorithm_is_refused() -> None:
    secret = _native.falcon512_generate()
    wrong = [(253, secret[:-1]), (253, b""), (15, secret), (13, secret), (254, secret)]
    for algorithm, each in wrong:
        with pytest.raises((ValueError, HyperMeshError)):
            _native.DnsKey(algorithm, each, 60)
