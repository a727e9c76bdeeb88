"""Names as the running server gives them: over TLS and QUIC, changed by certificate, by phases."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.update
import pytest
from dns.quic import SyncQuicManager

from .conftest import WAIT_S, Server
from .test_server import issued, split

TRUST = "trust.hypermesh.online"


def kdig(*words: str) -> str:
    done = subprocess.run(
        ["kdig", "@::1", "+timeout=60", *words],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    )
    return done.stdout


def kdig_speaks(flag: str) -> bool:
    if shutil.which("kdig") is None:
        return False
    shown = subprocess.run(["kdig", "--help"], capture_output=True, text=True, check=False)
    return flag in shown.stdout


@pytest.mark.skipif(not kdig_speaks("tls"), reason="kdig is not installed")
def test_kdig_over_tcp_and_tls(server: Server) -> None:
    asked = (TRUST, "AAAA")
    assert "::1" in kdig("-p", str(server.port("dns")), "+tcp", "+short", *asked)
    over_tls = kdig(
        *("-p", str(server.port("dot")), f"+tls-ca={server.root_file}"),
        *(f"+tls-hostname={TRUST}", *asked),
    )
    assert "TLS session (TLS1.3)" in over_tls
    assert "::1" in over_tls


@pytest.mark.skipif(not kdig_speaks("+[no]quic"), reason="no kdig with QUIC is installed")
def test_kdig_over_quic(server: Server) -> None:
    shown = kdig("-p", str(server.port("doq")), "+quic", TRUST, "AAAA")
    assert "QUIC session" in shown
    assert "::1" in shown


def test_dnspython_over_quic_believes_the_root(server: Server) -> None:
    with SyncQuicManager(verify_mode=str(server.root_file), server_name=TRUST) as manager:
        connection = manager.connect("::1", server.port("doq"))
        query = dns.message.make_query(TRUST, "AAAA", want_dnssec=True)
        answer = dns.query.quic(query, "::1", WAIT_S, connection=connection)
    # It leaves them open, which Python would tell at some later time.
    connection._send_wakeup.close()
    connection._receive_wakeup.close()
    assert str(answer.answer[0][0]) == "::1"
    assert answer.flags & dns.flags.AA


def sent(server: Server, message: dns.message.Message, file: Path | None) -> dns.rcode.Rcode:
    """The code of the answer to `message` over TLS, shown the certificate in `file`."""
    context = server.context(file, None if file is None else file.with_suffix(".key"))
    answer = dns.query.tls(
        message,
        "::1",
        WAIT_S,
        server.port("dot"),
        ssl_context=context,
        server_hostname="localhost",
    )
    return answer.rcode()


def address_of(server: Server, owner: str) -> list[str]:
    query = dns.message.make_query(owner, "AAAA")
    answer = dns.query.udp(query, "::1", WAIT_S, server.port("dns"))
    return [str(record) for each in answer.answer for record in each]


def test_a_certificate_changes_its_own_name_until_it_is_revoked(
    server: Server, tmp_path: Path
) -> None:
    zone = "own.example.internal"
    owner = f"host.{zone}"
    with server.client() as client:
        assert client.put(f"/v1/dns/zones/{zone}", json={"address": "::1"}).status_code == 201
    # A client shows it, so it must be one for clients too: a node's.
    file = issued(server, tmp_path, owner, kind="node")
    update = dns.update.UpdateMessage(f"{zone}.")
    update.add(f"{owner}.", 60, "AAAA", "2001:db8::8")
    assert sent(server, update, None) == dns.rcode.REFUSED
    assert address_of(server, owner) == []
    assert sent(server, update, file) == dns.rcode.NOERROR
    assert address_of(server, owner) == ["2001:db8::8"], "served when it is answered"
    other = dns.update.UpdateMessage(f"{zone}.")
    other.add(f"other.{zone}.", 60, "AAAA", "2001:db8::9")
    assert sent(server, other, file) == dns.rcode.REFUSED
    with server.client() as client:
        client.post(f"/v1/certificates/{split(file)[0].serial_number:x}/revoke")
    more = dns.update.UpdateMessage(f"{zone}.")
    more.replace(f"{owner}.", 60, "AAAA", "2001:db8::a")
    assert sent(server, more, file) == dns.rcode.REFUSED, "revoked"
    assert address_of(server, owner) == ["2001:db8::8"]


def test_a_certificate_for_servers_alone_does_not_connect(server: Server, tmp_path: Path) -> None:
    file = issued(server, tmp_path, "only.example.internal", kind="service")
    update = dns.update.UpdateMessage("example.internal.")
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        sent(server, update, file)
