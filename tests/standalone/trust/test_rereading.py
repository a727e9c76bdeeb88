"""SIGHUP: settings are obeyed without a restart, or stay as they were and it is said why."""

from __future__ import annotations

import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import dns.rdatatype
import pytest

from hypermesh.standalone.trust.errors import SettingsFixed
from hypermesh.standalone.trust.settings import parse_settings, require_changeable

from .conftest import WAIT_S, Server, eventually, founded, requested, running

SAID = "the settings are read again"
STAY = "the settings stay as they were"
FAR = "far.example.internal"
HASTY = """
import os, signal, sys
from hypermesh.standalone.trust import server

say = server._say

def hasty(*told):
    say(*told)
    os.kill(os.getpid(), signal.SIGHUP)

server._say = hasty
sys.exit(server.main(sys.argv[1:]))
"""
"""A server whose operator sends SIGHUP as soon as it says where it serves."""


@pytest.fixture(scope="module")
def above(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another server, whose names are found through the first."""
    with running(tmp_path_factory.mktemp("above") / "data") as made:
        with made.client() as client:
            zone = "/v1/dns/zones/example.internal"
            client.put(zone, json={"address": "::1"})
            client.put(f"{zone}/{FAR}/AAAA", json={"data": ["2001:db8::1"]})
            client.put(f"{zone}/old.example.internal/AAAA", json={"data": ["2001:db8::2"]})
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = founded(tmp_path / "data")
    yield made
    made.kill()


def rewritten(server: Server, *changes: tuple[str, str]) -> str:
    """Change the settings file, have it read, and give what was logged of it."""
    file = server.data / "trustchain.toml"
    text = file.read_text()
    for before, after in changes:
        assert before in text, text
        text = text.replace(before, after)
    file.write_text(text)
    return hung_up(server)


def hung_up(server: Server) -> str:
    log = server.data / "stderr"
    seen = len(log.read_text())
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    eventually(
        lambda: any(each in log.read_text()[seen:] for each in (SAID, STAY)), "settings are read"
    )
    return log.read_text()[seen:]


def shown(server: Server, name: str = "localhost", port: str = "https") -> bytes:
    """The certificate that a new connection sees, checked for `name`."""
    with (
        socket.create_connection(("::1", server.port(port)), WAIT_S) as raw,
        server.context().wrap_socket(raw, server_hostname=name) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def test_a_hangup_is_obeyed_from_the_instant_that_it_says_it_serves(server: Server) -> None:
    server.start("-c", HASTY)
    eventually(lambda: SAID in (server.data / "stderr").read_text(), "settings are read")
    with server.client() as client:
        assert client.get("/readyz").status_code == 200


def test_names_and_hosts_change_while_connections_go_on(server: Server) -> None:
    server.start()
    asked = requested("host.new.internal").der
    with server.client() as client:
        assert client.post("/v1/certificates", content=asked).status_code == 403
        with pytest.raises(ssl.SSLCertVerificationError):
            shown(server, "added.example.internal")
        said = rewritten(
            server,
            ('"dns:.example.internal"', '"dns:.example.internal", "dns:.new.internal"'),
            ('"localhost"', '"localhost", "added.example.internal"'),
            ("member_per_s = 100000", "member_per_s = 100001"),
        )
        assert SAID in said
        # On the connection from before.
        assert client.post("/v1/certificates", content=asked).status_code == 201
        first, second = client.get("/v1/report").json()["policies"]
        assert set(second["permitted"]) - set(first["permitted"]) == {"dns:.new.internal"}
        leaf = shown(server, "added.example.internal")
        assert shown(server, "added.example.internal", "dot") == leaf, "DNS over TLS follows"
    server.kill()


def test_what_cannot_change_is_refused_and_nothing_is_changed(server: Server) -> None:
    server.start()
    asked = requested("host.new.internal").der
    permitting = ('"dns:.example.internal"', '"dns:.example.internal", "dns:.new.internal"')
    with server.client() as client:
        said = rewritten(server, permitting, ('name = "Example"', 'name = "Other"'))
        assert STAY in said
        assert "cannot change: name" in said
        assert client.post("/v1/certificates", content=asked).status_code == 403
        assert STAY in rewritten(server, ('name = "Other"', "name = 5"))
        assert client.post("/v1/certificates", content=asked).status_code == 403
        # Put right, the same process obeys it.
        assert SAID in rewritten(server, ("name = 5", 'name = "Example"'))
        assert client.post("/v1/certificates", content=asked).status_code == 201
    server.kill()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https = '[::1]:9'", "https"),
        ("profile = 'hybrid'", "profile"),
        ("hosts = ['other.internal']", "the first of hosts"),
        ("[dns]\ntls = '[::1]:9'", "dns.tls"),
        ("[dns]\nphased = ['a.internal']", "dns.phased"),
        ("[dns]\nupstream = ['[::1]:9']", "dns.upstream"),
        ("[acme]\nenabled = true", "acme.enabled"),
    ],
)
def test_a_setting_that_needs_a_restart_is_named(text: str, said: str) -> None:
    before = parse_settings("", "x")
    with pytest.raises(SettingsFixed, match=said):
        require_changeable(before, parse_settings(text, "x"))
    free = parse_settings("permitted = ['dns:.a']\n[rate]\nmember_per_s = 5", "x")
    require_changeable(before, free)


def test_phases_are_switched_there_and_back(above: Server, tmp_path: Path) -> None:
    """One zone is in both: what only one has, or both differ in, says who answered."""
    made = founded(tmp_path / "data", upstream=f"[::1]:{above.port('dns')}")
    file = made.data / "trustchain.toml"
    text = file.read_text().replace("phased = []", 'phased = ["example.internal"]')
    file.write_text(text.replace("phase = 3", "phase = 0"))
    made.start()
    zone = "/v1/dns/zones/example.internal"
    try:
        with made.client() as client:
            assert client.put(zone, json={"address": "::1"}).status_code == 201
            client.put(f"{zone}/{FAR}/AAAA", json={"data": ["2001:db8::7"]})
            client.put(f"{zone}/*.wild.example.internal/AAAA", json={"data": ["2001:db8::8"]})
            client.put(f"{zone}/alias.example.internal/CNAME", json={"data": [f"{FAR}."]})
        old, new = "old.example.internal", "any.wild.example.internal"
        assert asked_of(made, FAR) == (["2001:db8::1"], "from dns")
        assert asked_of(made, new) == ([], "from dns")
        assert SAID in rewritten(made, ("phase = 0", "phase = 1"))
        assert asked_of(made, FAR) == (["2001:db8::1"], "from dns; ledger differs")
        assert SAID in rewritten(made, ("phase = 1", "phase = 2"))
        assert asked_of(made, FAR) == (["2001:db8::7"], "from ledger")
        assert asked_of(made, new) == (["2001:db8::8"], "from ledger")
        assert asked_of(made, "alias.example.internal") == (["2001:db8::7"], "from ledger")
        assert asked_of(made, old) == (["2001:db8::2"], "from dns")
        assert SAID in rewritten(made, ("phase = 2", "phase = 3"))
        # Served as every zone, and so signed.
        assert asked_of(made, FAR) == (["2001:db8::7"], "signed")
        assert asked_of(made, old) == ([], "signed")
        assert SAID in rewritten(made, ("phase = 3", "phase = 0"))
        assert asked_of(made, FAR) == (["2001:db8::1"], "from dns")
    finally:
        made.kill()


def asked_of(server: Server, owner: str) -> tuple[list[str], str]:
    """The addresses of `owner`, and who is said to have answered."""
    query = dns.message.make_query(owner, "AAAA", want_dnssec=True)
    answer = dns.query.udp(query, "::1", WAIT_S, server.port("dns"))
    texts = [each.text or "" for each in answer.options if isinstance(each, dns.edns.EDEOption)]
    is_signed = any(
        each.rdtype == dns.rdatatype.RRSIG for each in (*answer.answer, *answer.authority)
    )
    found = [
        str(record)
        for each in answer.answer
        if each.rdtype == dns.rdatatype.AAAA
        for record in each
    ]
    return found, "signed" if is_signed else "".join(texts)
