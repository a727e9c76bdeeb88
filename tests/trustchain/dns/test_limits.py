"""Who asks too much: bounds on responses, connections and time."""

from __future__ import annotations

import dataclasses
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import pytest

from hypermesh.trustchain.dns.server import NameServer, NameServerUnavailable, Rate
from hypermesh.wire.errors import InvalidInput

from .samples import APEX, AUTHOR, HOST, PATIENCE_S, SETTINGS, Serving, new_zone, serving

RATE = dataclasses.replace(SETTINGS, rate=Rate(per_second=1, slip=2, exempt=()))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def counted(found: Serving, counter: str) -> int:
    return found.server.counters()[counter]


def flood(found: Serving, query: bytes, count: int) -> list[bytes]:
    """What comes back for `count` equal queries, all of which the server has seen."""
    before = counted(found, "udp")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.connect((HOST, found.port))
        for _ in range(count):
            client.send(query)
        until(lambda: counted(found, "udp") >= before + count)
        # The last ones may still be under way, and none of them matters for what is asserted.
        client.settimeout(0.5)
        answers = []
        while True:
            try:
                answers.append(client.recv(4096))
            except TimeoutError:
                return answers


def test_a_network_has_a_rate_and_then_tcp(tmp_path: Path) -> None:
    with serving(tmp_path, RATE) as found:
        found.zones.add([new_zone()], AUTHOR)
        query = dns.message.make_query(f"big.{APEX}", "TXT", want_dnssec=True)
        sent = 100
        answers = flood(found, query.to_wire(), sent)
        # One a second is answered, and of the others every second is sent to TCP.
        assert len(answers) < sent
        assert counted(found, "limited") >= sent // 2
        assert all(dns.message.from_wire(each).flags & dns.flags.TC for each in answers)
        whole = dns.query.tcp(query, HOST, PATIENCE_S, found.port)
        assert whole.answer


def test_whoever_has_a_cookie_is_not_counted(tmp_path: Path) -> None:
    with serving(tmp_path, RATE) as found:
        found.zones.add([new_zone()], AUTHOR)
        query = dns.message.make_query(
            f"www.{APEX}", "A", use_edns=0, options=[dns.edns.CookieOption(b"8 bytes!", b"")]
        )
        [cookie] = dns.query.tcp(query, HOST, PATIENCE_S, found.port).options
        query.use_edns(0, options=[cookie])
        before = counted(found, "limited")
        for _ in range(20):
            answer = dns.query.udp(query, HOST, PATIENCE_S, found.port)
            assert answer.answer
        assert counted(found, "limited") == before


def test_connections_are_bounded(tmp_path: Path) -> None:
    few = dataclasses.replace(SETTINGS, connections_max=2, idle_ms=120_000)
    query = dns.message.make_query(f"www.{APEX}", "A")

    def connected(found: Serving) -> socket.socket:
        """A connection that was answered, so that it has a place."""
        stream = socket.create_connection((HOST, found.port), PATIENCE_S)
        dns.query.send_tcp(stream, query)
        assert dns.query.receive_tcp(stream, time.time() + PATIENCE_S)[0].answer
        return stream

    with serving(tmp_path, few) as found:
        found.zones.add([new_zone()], AUTHOR)
        first, second = connected(found), connected(found)
        with socket.create_connection((HOST, found.port), PATIENCE_S) as third:
            assert third.recv(1) == b""
        assert counted(found, "connections_refused") == 1
        assert dns.query.udp(query, HOST, PATIENCE_S, found.port).answer
        first.close()

        def answered() -> bool:
            try:
                return bool(dns.query.tcp(query, HOST, PATIENCE_S, found.port).answer)
            except (EOFError, ConnectionError):
                return False

        until(answered)
        second.close()


def test_a_silent_connection_ends(tmp_path: Path) -> None:
    short = dataclasses.replace(SETTINGS, idle_ms=200)
    with serving(tmp_path, short) as found, socket.create_connection((HOST, found.port)) as stream:
        stream.settimeout(PATIENCE_S)
        assert stream.recv(1) == b""


def test_a_query_byte_by_byte_does_not_hold_a_place(tmp_path: Path) -> None:
    short = dataclasses.replace(SETTINGS, idle_ms=500)
    with serving(tmp_path, short) as found, socket.create_connection((HOST, found.port)) as stream:
        stream.settimeout(0.05)
        stream.sendall(struct.pack("!H", 500))
        deadline = time.monotonic() + PATIENCE_S
        ended = False
        while not ended and time.monotonic() < deadline:
            try:
                stream.sendall(b"x")
                ended = stream.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended


def test_a_port_that_is_taken_is_said() -> None:
    first = NameServer(SETTINGS)
    try:
        taken = dataclasses.replace(SETTINGS, addresses=((HOST, first.port("udp")),))
        with pytest.raises(NameServerUnavailable):
            NameServer(taken)
    finally:
        first.stop()
    with pytest.raises(InvalidInput):
        NameServer(dataclasses.replace(SETTINGS, addresses=(("no address", 0),)))


def test_a_stopped_server_ends_its_connections(tmp_path: Path) -> None:
    with serving(tmp_path) as found:
        found.zones.add([new_zone()], AUTHOR)
        with socket.create_connection((HOST, found.port), PATIENCE_S) as stream:
            dns.query.send_tcp(stream, dns.message.make_query(f"www.{APEX}", "A"))
            assert dns.query.receive_tcp(stream, time.time() + PATIENCE_S)[0].answer
            found.server.stop()
            assert stream.recv(1) == b""
        found.server.stop()
