"""What the server answers, seen by dnspython, dig and kdig."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from .samples import APEX, HOST, PATIENCE_S, Serving, data, run

CLASS_CHAOS = 3


@pytest.mark.parametrize(
    ("owner", "kind", "wanted"),
    [
        ("www", "A", ["192.0.2.1", "192.0.2.2"]),
        ("www", "AAAA", ["2001:db8::1"]),
        ("_443._tcp.www", "TLSA", 1),
        ("_sip._udp", "SRV", ["1 2 5060 www.mesh.example."]),
        ("svc", "SVCB", ['1 www.mesh.example. alpn="h3" port="8443"']),
        ("web", "HTTPS", ['1 . alpn="h2,h3"']),
        ("rev", "PTR", ["www.mesh.example."]),
        ("alias", "A", ["192.0.2.1", "192.0.2.2"]),
        ("chain", "A", ["192.0.2.1", "192.0.2.2"]),
        ("alias", "CNAME", ["www.mesh.example."]),
        ("any.wild", "TXT", ['"from a wildcard"']),
        ("far.below.wild", "TXT", ['"from a wildcard"']),
        ("*.wild", "TXT", ['"from a wildcard"']),
        ("safe", "DS", 1),
        ("big", "TXT", 20),
        ("WwW", "AAAA", ["2001:db8::1"]),
    ],
)
def test_what_is_there(plain: Serving, owner: str, kind: str, wanted: list[str] | int) -> None:
    answer = plain.ask(f"{owner}.{APEX}", kind)
    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.flags & dns.flags.AA
    found = data(answer.answer, kind)
    assert (len(found) if isinstance(wanted, int) else found) == wanted


def test_the_apex(plain: Serving) -> None:
    assert data(plain.ask(APEX, "NS").answer, "NS") == ["ns.mesh.example."]
    assert data(plain.ask(APEX, "CAA").answer, "CAA") == ['0 issue "ca.mesh.example"']
    assert data(plain.ask(APEX, "MX").answer, "MX") == ["10 mail.mesh.example."]
    [soa] = data(plain.ask(APEX, "SOA").answer, "SOA")
    assert soa == "ns.mesh.example. hostmaster.mesh.example. 1 3600 600 1209600 300"


def test_the_case_of_a_question_comes_back(plain: Serving) -> None:
    answer = plain.ask("wWw.MeSh.ExAmPlE")
    assert answer.question[0].name.to_text() == "wWw.MeSh.ExAmPlE."
    assert answer.answer[0].name.to_text() == "wWw.MeSh.ExAmPlE."


@pytest.mark.parametrize("owner", ["nothing", "b.nothing", "x.b.c", "x.here.wild", "a.ns"])
def test_what_is_not_there(plain: Serving, owner: str) -> None:
    answer = plain.ask(f"{owner}.{APEX}")
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert [found.rdtype for found in answer.authority] == [dns.rdatatype.SOA]
    assert answer.authority[0].ttl == 300


@pytest.mark.parametrize(
    ("owner", "kind"),
    [("www", "MX"), ("b.c", "A"), ("c", "AAAA"), ("any.wild", "A"), ("wild", "A")],
)
def test_names_without_records_of_a_type(plain: Serving, owner: str, kind: str) -> None:
    answer = plain.ask(f"{owner}.{APEX}", kind)
    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])
    assert [found.rdtype for found in answer.authority] == [dns.rdatatype.SOA]


def test_chains_end(plain: Serving) -> None:
    away = plain.ask(f"away.{APEX}")
    assert data(away.answer, "CNAME") == ["host.elsewhere.example."]
    assert away.rcode() == dns.rcode.NOERROR
    lost = plain.ask(f"lost.{APEX}")
    assert lost.rcode() == dns.rcode.NXDOMAIN
    assert len(data(plain.ask(f"loop.{APEX}").answer, "CNAME")) == 2


def test_a_delegation_is_referred_to_with_its_addresses(plain: Serving) -> None:
    answer = plain.ask(f"host.sub.{APEX}")
    assert not answer.flags & dns.flags.AA
    assert answer.answer == []
    assert data(answer.authority, "NS") == ["ns.sub.mesh.example."]
    assert data(answer.additional, "A") == ["192.0.2.3"]
    assert data(answer.additional, "AAAA") == ["2001:db8::3"]


def test_any_gives_one_set(plain: Serving) -> None:
    assert len(plain.ask(f"www.{APEX}", "ANY").answer) == 1


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
def test_no_zone_is_copied(plain: Serving, kind: str) -> None:
    query = dns.message.make_query(APEX, kind)
    answer = dns.query.tcp(query, HOST, PATIENCE_S, plain.port, one_rr_per_rrset=True)
    assert (answer.rcode(), answer.answer) == (dns.rcode.REFUSED, [])


def test_names_of_others_are_refused(plain: Serving) -> None:
    answer = plain.ask("www.elsewhere.example")
    assert answer.rcode() == dns.rcode.REFUSED
    assert plain.ask("example", "A").rcode() == dns.rcode.REFUSED


def test_an_update_by_nobody_is_refused(plain: Serving) -> None:
    update = dns.message.make_query(APEX, "SOA")
    update.set_opcode(dns.opcode.UPDATE)
    for way in (dns.query.udp, dns.query.tcp):
        answer = way(update, HOST, PATIENCE_S, plain.port)
        assert answer.rcode() == dns.rcode.REFUSED


def test_other_classes_and_operations(plain: Serving) -> None:
    chaos = dns.message.make_query("version.bind", "TXT", CLASS_CHAOS)
    assert dns.query.udp(chaos, HOST, PATIENCE_S, plain.port).rcode() == dns.rcode.REFUSED
    notify = dns.message.make_query(APEX, "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    answer = sent(plain, notify.to_wire())
    assert (answer[3] & 0xF, answer[2] >> 3 & 0xF) == (dns.rcode.NOTIMP, dns.opcode.NOTIFY)


def test_a_version_of_edns_that_is_not_known(plain: Serving) -> None:
    query = dns.message.make_query(f"www.{APEX}", "A", use_edns=1)
    answer = dns.query.udp(query, HOST, PATIENCE_S, plain.port)
    assert answer.rcode() == dns.rcode.BADVERS
    assert answer.edns == 0


def sent(to: Serving, query: bytes) -> bytes:
    """The answer to these bytes over UDP."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE_S)
        client.connect((HOST, to.port))
        client.send(query)
        return client.recv(65535)


def test_malformed_messages_have_an_answer(plain: Serving) -> None:
    query = dns.message.make_query(f"www.{APEX}", "A", want_dnssec=True).to_wire()
    for cut in range(12, len(query)):
        answer = sent(plain, query[:cut])
        assert answer[:2] == query[:2]
        assert (len(answer), answer[3] & 0xF) == (12, dns.rcode.FORMERR)
    assert sent(plain, query)[3] & 0xF == dns.rcode.NOERROR
    assert sent(plain, query + b"more")[3] & 0xF == dns.rcode.FORMERR
    two = query[:4] + b"\x00\x02" + query[6:]
    assert sent(plain, two)[3] & 0xF == dns.rcode.FORMERR
    assert sent(plain, query[:10] + b"\xff\xff" + query[12:])[3] & 0xF == dns.rcode.FORMERR


def test_a_large_answer_is_truncated_over_udp(plain: Serving) -> None:
    for size, edns in ((512, -1), (1232, 0)):
        query = dns.message.make_query(f"big.{APEX}", "TXT", use_edns=edns, payload=4096)
        answer = dns.query.udp(query, HOST, PATIENCE_S, plain.port)
        assert answer.flags & dns.flags.TC
        assert answer.answer == []
        assert len(answer.to_wire()) <= size
    whole = dns.query.tcp(query, HOST, PATIENCE_S, plain.port)
    assert len(data(whole.answer, "TXT")) == 20


def test_cookies(plain: Serving) -> None:
    own = b"8 bytes!"
    query = dns.message.make_query(
        f"www.{APEX}", "A", use_edns=0, options=[dns.edns.CookieOption(own, b"")]
    )
    [first] = dns.query.udp(query, HOST, PATIENCE_S, plain.port).options
    assert isinstance(first, dns.edns.CookieOption)
    assert (first.client, len(first.server)) == (own, 16)
    query.use_edns(0, options=[first])
    assert dns.query.udp(query, HOST, PATIENCE_S, plain.port).rcode() == dns.rcode.NOERROR
    query.use_edns(0, options=[dns.edns.GenericOption(10, b"short")])
    assert dns.query.udp(query, HOST, PATIENCE_S, plain.port).rcode() == dns.rcode.FORMERR


def test_several_queries_on_one_connection(plain: Serving) -> None:
    query = dns.message.make_query(f"www.{APEX}", "A")
    with socket.create_connection((HOST, plain.port), PATIENCE_S) as stream:
        for number in range(3):
            query.id = number
            dns.query.send_tcp(stream, query)
        for number in range(3):
            assert dns.query.receive_tcp(stream)[0].id == number
        stream.sendall(struct.pack("!H", 3) + b"abc")
        assert stream.recv(1) == b"", "what is no query ends the connection"


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed")
def test_dig(plain: Serving) -> None:
    ask = ("dig", f"@{HOST}", "-p", str(plain.port), "+short")
    assert run(*ask, f"www.{APEX}", "AAAA") == "2001:db8::1\n"
    assert run(*ask, "+tcp", f"chain.{APEX}", "AAAA").splitlines()[-1] == "2001:db8::1"
    transfer = subprocess.run(
        [*ask, APEX, "AXFR"], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Transfer failed" in transfer.stdout


@pytest.mark.skipif(shutil.which("kdig") is None, reason="kdig is not installed")
def test_kdig(plain: Serving) -> None:
    ask = ("kdig", f"@{HOST}", "-p", str(plain.port), "+short")
    assert run(*ask, f"svc.{APEX}", "SVCB") == "1 www.mesh.example. alpn=h3 port=8443\n"
    assert run(*ask, f"big.{APEX}", "TXT").count("x" * 200) == 20
