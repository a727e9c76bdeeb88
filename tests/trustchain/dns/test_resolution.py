"""Phases between DNS and ledger, and lookups at other servers."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from hypermesh.trustchain.dns.forwarding import Forwarder
from hypermesh.trustchain.dns.records import name, record_set
from hypermesh.trustchain.dns.resolution import (
    Agreement,
    Found,
    NameSource,
    Origin,
    Phase,
    Resolved,
    SourceUnavailable,
    resolve,
)
from hypermesh.trustchain.dns.responder import Responder
from hypermesh.trustchain.dns.server import LOOPBACK

from .samples import APEX, AUTHOR, HOST, PATIENCE_S, SETTINGS, Serving, data, new_zone, serving

AAAA = dns.rdatatype.AAAA
SUFFIX = "hm.internal"
ASSET = f"gpu.node.network.{SUFFIX}"
ONE = Found(60, (bytes(15) + b"\x01",))
TWO = Found(60, (bytes(15) + b"\x02",))


class Known:
    """A source that knows one name."""

    def __init__(self, found: Found | None) -> None:
        self.found = found

    def lookup(self, owner: bytes, kind: int) -> Found | None:
        if owner != name(ASSET):
            return None
        return self.found if kind == AAAA or self.found is None else Found(60, ())


class Away:
    """A source that cannot be reached."""

    def lookup(self, owner: bytes, kind: int) -> Found | None:
        raise SourceUnavailable(why=f"asked for {owner!r} {kind}")


NOT_ASKED, AGREES, DIFFERS, UNAVAILABLE = (
    Agreement.NOT_ASKED,
    Agreement.AGREES,
    Agreement.DIFFERS,
    Agreement.UNAVAILABLE,
)


@pytest.mark.parametrize(
    ("phase", "ledger", "traditional", "wanted"),
    [
        (Phase.TRADITIONAL, Away(), Known(ONE), Resolved(ONE, Origin.DNS, NOT_ASKED)),
        (Phase.TRADITIONAL, Known(ONE), Known(None), Resolved(None, Origin.DNS, NOT_ASKED)),
        (Phase.BOTH, Known(ONE), Known(ONE), Resolved(ONE, Origin.DNS, AGREES)),
        (Phase.BOTH, Known(Found(9, ONE.data)), Known(ONE), Resolved(ONE, Origin.DNS, AGREES)),
        (Phase.BOTH, Known(TWO), Known(ONE), Resolved(ONE, Origin.DNS, DIFFERS)),
        (Phase.BOTH, Known(None), Known(ONE), Resolved(ONE, Origin.DNS, DIFFERS)),
        (Phase.BOTH, Known(Found(1, ())), Known(None), Resolved(None, Origin.DNS, DIFFERS)),
        (Phase.BOTH, Known(None), Known(None), Resolved(None, Origin.DNS, AGREES)),
        (Phase.BOTH, Away(), Known(ONE), Resolved(ONE, Origin.DNS, UNAVAILABLE)),
        (Phase.LEDGER_FIRST, Known(TWO), Known(ONE), Resolved(TWO, Origin.LEDGER, NOT_ASKED)),
        (Phase.LEDGER_FIRST, Known(TWO), Away(), Resolved(TWO, Origin.LEDGER, NOT_ASKED)),
        (Phase.LEDGER_FIRST, Known(None), Known(ONE), Resolved(ONE, Origin.DNS, NOT_ASKED)),
        (Phase.LEDGER_FIRST, Away(), Known(ONE), Resolved(ONE, Origin.DNS, UNAVAILABLE)),
        (Phase.LEDGER_ONLY, Known(TWO), Away(), Resolved(TWO, Origin.LEDGER, NOT_ASKED)),
        (Phase.LEDGER_ONLY, Known(None), Known(ONE), Resolved(None, Origin.LEDGER, NOT_ASKED)),
    ],
)
def test_who_answers(
    phase: Phase, ledger: NameSource, traditional: NameSource, wanted: Resolved
) -> None:
    assert resolve(phase, ledger, traditional, name(ASSET), AAAA) == wanted


@pytest.mark.parametrize(
    ("phase", "ledger", "traditional"),
    [
        (Phase.TRADITIONAL, Known(ONE), Away()),
        (Phase.BOTH, Known(ONE), Away()),
        (Phase.LEDGER_FIRST, Known(None), Away()),
        (Phase.LEDGER_FIRST, Away(), Away()),
        (Phase.LEDGER_ONLY, Away(), Known(ONE)),
    ],
)
def test_who_must_answer_and_cannot(
    phase: Phase, ledger: NameSource, traditional: NameSource
) -> None:
    with pytest.raises(SourceUnavailable):
        resolve(phase, ledger, traditional, name(ASSET), AAAA)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "upstream") as found:
        found.zones.add([new_zone(None)], AUTHOR)
        yield found


def to(upstream: Serving, clock: Clock, **settings: int) -> Forwarder:
    return Forwarder(((HOST, upstream.port),), clock, timeout_s=PATIENCE_S, **settings)


def asked(owner: str, kind: str = "A") -> dns.message.Message:
    return dns.message.make_query(f"{owner}.{APEX}", kind)


def test_an_answer_is_kept_as_long_as_it_says(upstream: Serving) -> None:
    clock = Clock()
    forwarder = to(upstream, clock)
    query = asked("www")
    first = forwarder.answer(query)
    assert data(first.answer, "A") == ["192.0.2.1", "192.0.2.2"]
    assert (first.id, first.answer[0].ttl) == (query.id, 300)
    assert first.flags & dns.flags.RA
    upstream.zones.change(name(APEX), [record_set(f"www.{APEX}", "A", 300, ["192.0.2.9"])], AUTHOR)
    clock.now_s += 200
    kept = forwarder.answer(asked("WWW"))
    assert data(kept.answer, "A") == ["192.0.2.1", "192.0.2.2"]
    assert kept.answer[0].ttl == 100
    clock.now_s += 100
    assert data(forwarder.answer(asked("www")).answer, "A") == ["192.0.2.9"]


def test_a_denial_is_kept_too(upstream: Serving) -> None:
    clock = Clock()
    forwarder = to(upstream, clock)
    assert forwarder.answer(asked("late")).rcode() == dns.rcode.NXDOMAIN
    upstream.zones.change(name(APEX), [record_set(f"late.{APEX}", "A", 1, ["192.0.2.9"])], AUTHOR)
    clock.now_s += 299
    assert forwarder.answer(asked("late")).rcode() == dns.rcode.NXDOMAIN
    clock.now_s += 1
    assert data(forwarder.answer(asked("late")).answer, "A") == ["192.0.2.9"]


def test_what_is_kept_is_bounded(upstream: Serving) -> None:
    forwarder = to(upstream, Clock(), answers_max=5)
    for number in range(20):
        forwarder.answer(asked(f"n{number}"))
    assert forwarder.kept == 5


def test_a_large_answer_comes_by_tcp(upstream: Serving) -> None:
    assert len(to(upstream, Clock()).answer(asked("big", "TXT")).answer[0]) == 20


def test_a_server_that_refuses_or_is_silent_is_passed_over(upstream: Serving) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as silent:
        silent.bind((HOST, 0))
        port = silent.getsockname()[1]
        alone = Forwarder(((HOST, port),), Clock(), timeout_s=0.1)
        with pytest.raises(SourceUnavailable):
            alone.answer(asked("www"))
        with pytest.raises(SourceUnavailable):
            to(upstream, Clock()).answer(dns.message.make_query("elsewhere.example", "A"))
        with pytest.raises(SourceUnavailable):
            Forwarder((), Clock()).answer(asked("www"))


def test_as_a_source_of_names(upstream: Serving) -> None:
    forwarder = to(upstream, Clock())
    wanted = Found(300, (bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])))
    assert forwarder.lookup(name(f"www.{APEX}"), dns.rdatatype.A) == wanted
    assert forwarder.lookup(name(f"www.{APEX}"), dns.rdatatype.MX) == Found(0, ())
    assert forwarder.lookup(name(f"nothing.{APEX}"), dns.rdatatype.A) is None


@pytest.fixture
def recursive(tmp_path: Path, upstream: Serving) -> Iterator[tuple[Serving, Responder]]:
    """A server that forwards for this machine and knows a name of the ledger."""
    settings = dataclasses.replace(SETTINGS, recursive=LOOPBACK, suffixes=(SUFFIX,))
    responder = Responder(forwarder=to(upstream, Clock()), names=Known(ONE), suffixes=(SUFFIX,))
    with serving(tmp_path / "recursive", settings, responder) as found:
        yield found, responder


def test_recursion_for_who_may_and_wants_it(recursive: tuple[Serving, Responder]) -> None:
    found, _ = recursive
    answer = found.ask(f"chain.{APEX}")
    assert data(answer.answer, "A") == ["192.0.2.1", "192.0.2.2"]
    assert answer.flags & dns.flags.RA
    assert not answer.flags & dns.flags.AA
    assert len(data(found.ask(f"big.{APEX}", "TXT").answer, "TXT")) == 20
    query = asked("www")
    query.flags &= ~dns.flags.RD
    assert dns.query.udp(query, HOST, PATIENCE_S, found.port).rcode() == dns.rcode.REFUSED
    assert found.ask("elsewhere.example").rcode() == dns.rcode.SERVFAIL


def test_recursion_is_off_where_nobody_may(tmp_path: Path, upstream: Serving) -> None:
    responder = Responder(forwarder=to(upstream, Clock()))
    with serving(tmp_path / "closed", SETTINGS, responder) as found:
        assert found.ask(f"www.{APEX}").rcode() == dns.rcode.REFUSED


def test_names_of_assets_say_their_source(recursive: tuple[Serving, Responder]) -> None:
    found, responder = recursive
    query = dns.message.make_query(ASSET, "AAAA", use_edns=0)
    for phase, rcode, shown in (
        (Phase.LEDGER_ONLY, dns.rcode.NOERROR, "from ledger"),
        (Phase.LEDGER_FIRST, dns.rcode.NOERROR, "from ledger"),
        # The server above refuses names that are not its own.
        (Phase.TRADITIONAL, dns.rcode.SERVFAIL, None),
        (Phase.BOTH, dns.rcode.SERVFAIL, None),
    ):
        responder.phase = phase
        answer = dns.query.udp(query, HOST, PATIENCE_S, found.port)
        assert answer.rcode() == rcode
        if shown is not None:
            assert data(answer.answer, "AAAA") == ["::1"]
            assert answer.flags & dns.flags.AA
            [said] = answer.options
            assert isinstance(said, dns.edns.EDEOption)
            assert said.text == shown
    responder.phase = Phase.LEDGER_ONLY
    assert found.ask(f"no.such.{SUFFIX}", "AAAA").rcode() == dns.rcode.NXDOMAIN
    assert found.ask(ASSET, "TXT").answer == []


def test_questions_elsewhere_wait_in_a_bounded_queue(tmp_path: Path) -> None:
    """More than wait at a time are answered with SERVFAIL, and the server's own names at once."""
    free = threading.Event()

    class Slow:
        def lookup(self, owner: bytes, kind: int) -> Found | None:
            assert free.wait(PATIENCE_S)
            return Known(ONE).lookup(owner, kind)

    settings = dataclasses.replace(SETTINGS, suffixes=(SUFFIX,))
    responder = Responder(names=Slow(), suffixes=(SUFFIX,))
    with serving(tmp_path, settings, responder) as found:
        found.zones.add([new_zone(None)], AUTHOR)
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE_S)
                client.connect((HOST, found.port))
                query = dns.message.make_query(ASSET, "AAAA")
                # Four are being answered and 256 wait.
                refused = None
                for number in range(300):
                    query.id = number
                    client.send(query.to_wire())
                    if number >= 260:
                        refused = dns.message.from_wire(client.recv(4096))
                        assert refused.rcode() == dns.rcode.SERVFAIL
                assert refused is not None
                assert found.ask(f"www.{APEX}").rcode() == dns.rcode.NOERROR
                free.set()
                # What was refused before the four were taken up is still to be read.
                while dns.message.from_wire(client.recv(4096)).rcode() != dns.rcode.NOERROR:
                    continue
        finally:
            free.set()
