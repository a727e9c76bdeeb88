"""DNS over TLS and over QUIC, and updates by the holders of certificates."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.update
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from dns.quic import SyncQuicManager

from hypermesh.trustchain.dns.records import name, record_set
from hypermesh.trustchain.dns.responder import Responder
from hypermesh.trustchain.dns.server import Certificate, Quic, Settings, Tls

from .samples import APEX, AUTHOR, HOST, PATIENCE_S, Serving, data, new_zone, run, serving

TLS_NAME = f"ns.{APEX}"
NOW = dt.datetime.now(dt.UTC)
ZONE = name(APEX)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in PEM files too."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    file: Path

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def served(self) -> Certificate:
        key = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return Certificate((self.der,), key)


def issued(directory: Path, common: str, names: list[str], by: Issued | None = None) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    issuer = subject if by is None else by.certificate.subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(alternative, critical=False)
    certificate = builder.sign(key if by is None else by.key, hashes.SHA256())
    file = directory / f"{common}.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    return Issued(certificate, key, file)


@dataclass
class Encrypted:
    """A server over TLS and QUIC with the sample zone, and who signs for it."""

    serving: Serving
    authority: Issued
    directory: Path

    @property
    def tls(self) -> int:
        return self.serving.server.port("tls")

    @property
    def quic(self) -> int:
        return self.serving.server.port("quic")

    def context(self, client: Issued | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.set_alpn_protocols(["dot"])
        if client is not None:
            context.load_cert_chain(client.file)
        return context

    def update(self, message: dns.message.Message, client: Issued | None) -> int:
        """The code of the answer to an update over TLS."""
        answer = dns.query.tls(
            message,
            HOST,
            PATIENCE_S,
            self.tls,
            ssl_context=self.context(client),
            server_hostname=TLS_NAME,
        )
        assert answer.opcode() == dns.opcode.UPDATE
        return answer.rcode()

    def over_quic(self, query: dns.message.Message) -> dns.message.Message:
        """The answer of the server to dnspython's client."""
        with SyncQuicManager(verify_mode=str(self.authority.file), server_name=TLS_NAME) as manager:
            connection = manager.connect(HOST, self.quic)
            answer = dns.query.quic(query, HOST, PATIENCE_S, connection=connection)
        # It leaves them open, which Python would tell at some later time.
        connection._send_wakeup.close()
        connection._receive_wakeup.close()
        return answer

    def client(self, *names: str) -> Issued:
        return issued(self.directory, "client", list(names), self.authority)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    directory = tmp_path_factory.mktemp("dns")
    authority = issued(directory, "authority", [])
    own = issued(directory, "server", [TLS_NAME], authority)
    settings = Settings(
        addresses=((HOST, 0),),
        workers=1,
        tls=Tls(((HOST, 0),), own.served, (authority.der,)),
        quic=Quic((HOST, 0), own.served),
    )
    responder = Responder()
    with serving(directory, settings, responder) as found:
        found.zones.add([new_zone()], AUTHOR)
        responder.attach(found.zones)
        yield Encrypted(found, authority, directory)


def test_tls(encrypted: Encrypted) -> None:
    context = encrypted.context()
    with (
        socket.create_connection((HOST, encrypted.tls), PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname=TLS_NAME) as stream,
    ):
        assert stream.version() == "TLSv1.3"
        assert stream.selected_alpn_protocol() == "dot"
        for kind, wanted in (("AAAA", 1), ("A", 2)):
            dns.query.send_tcp(stream, dns.message.make_query(f"www.{APEX}", kind))
            answer, _ = dns.query.receive_tcp(stream)
            assert len(data(answer.answer, kind)) == wanted


def test_quic_by_dnspython(encrypted: Encrypted) -> None:
    for owner, kind, wanted in (("www", "AAAA", 1), ("big", "TXT", 20), ("nothing", "A", 0)):
        query = dns.message.make_query(f"{owner}.{APEX}", kind, want_dnssec=True)
        answer = encrypted.over_quic(query)
        assert len(data(answer.answer, kind)) == wanted
        assert answer.id == query.id


def kdig_quic() -> bool:
    if shutil.which("kdig") is None:
        return False
    shown = subprocess.run(["kdig", "--help"], capture_output=True, text=True, check=False)
    return "+[no]quic" in shown.stdout


@pytest.mark.skipif(shutil.which("kdig") is None, reason="kdig is not installed")
def test_kdig_over_tls(encrypted: Encrypted) -> None:
    shown = run(
        "kdig",
        f"@{HOST}",
        "-p",
        str(encrypted.tls),
        f"+tls-ca={encrypted.authority.file}",
        f"+tls-hostname={TLS_NAME}",
        f"www.{APEX}",
        "AAAA",
    )
    assert "2001:db8::1" in shown
    assert "TLS session" in shown


@pytest.mark.skipif(not kdig_quic(), reason="no kdig with QUIC is installed")
def test_kdig_over_quic(encrypted: Encrypted) -> None:
    at = ("kdig", f"@{HOST}", "-p", str(encrypted.quic), "+quic")
    shown = run(*at, f"www.{APEX}", "AAAA", f"svc.{APEX}", "SVCB")
    assert "2001:db8::1" in shown
    assert "QUIC session" in shown


def test_what_is_no_query_ends_a_connection_over_tls(encrypted: Encrypted) -> None:
    with (
        socket.create_connection((HOST, encrypted.tls), PATIENCE_S) as plain,
        encrypted.context().wrap_socket(plain, server_hostname=TLS_NAME) as stream,
    ):
        stream.sendall(struct.pack("!H", 3) + b"abc")
        assert stream.recv(1) == b""


def fresh(owner: str) -> dns.update.UpdateMessage:
    message = dns.update.UpdateMessage(f"{APEX}.")
    message.add(f"{owner}.{APEX}.", 60, "AAAA", "2001:db8::77")
    return message


def test_a_certificate_changes_its_own_names(encrypted: Encrypted) -> None:
    client = encrypted.client(f"mine.{APEX}")
    before = encrypted.serving.zones.zone(ZONE).serial
    message = fresh("mine")
    message.add(f"_443._tcp.mine.{APEX}.", 60, "TLSA", f"3 1 1 {'ab' * 32}")
    assert encrypted.update(message, client) == dns.rcode.NOERROR
    answer = encrypted.serving.ask(f"mine.{APEX}", "AAAA")
    assert data(answer.answer, "AAAA") == ["2001:db8::77"]
    assert encrypted.serving.zones.zone(ZONE).serial == before + 1
    done = encrypted.serving.zones.history(ZONE)[0]
    assert done.author == f"certificate {client.certificate.fingerprint(hashes.SHA256()).hex()}"
    assert encrypted.update(message, client) == dns.rcode.NOERROR
    assert encrypted.serving.zones.zone(ZONE).serial == before + 1, "nothing was changed"
    message = dns.update.UpdateMessage(f"{APEX}.")
    message.delete(f"mine.{APEX}.")
    assert encrypted.update(message, client) == dns.rcode.NOERROR
    assert data(encrypted.serving.ask(f"mine.{APEX}", "AAAA").answer, "AAAA") == []


def test_updates_without_rights_are_refused(encrypted: Encrypted) -> None:
    before = encrypted.serving.zones.zone(ZONE).serial
    client = encrypted.client(f"mine.{APEX}")
    assert encrypted.update(fresh("other"), client) == dns.rcode.REFUSED
    assert encrypted.update(fresh("below.mine"), client) == dns.rcode.REFUSED
    assert encrypted.update(fresh("mine"), None) == dns.rcode.REFUSED
    assert encrypted.update(fresh("mine"), encrypted.client()) == dns.rcode.REFUSED
    delegation = dns.update.UpdateMessage(f"{APEX}.")
    delegation.add(f"mine.{APEX}.", 60, "NS", "ns.elsewhere.example.")
    assert encrypted.update(delegation, client) == dns.rcode.REFUSED
    mixed = fresh("mine")
    mixed.delete(f"www.{APEX}.", "A")
    assert encrypted.update(mixed, client) == dns.rcode.REFUSED
    elsewhere = dns.update.UpdateMessage("elsewhere.example.")
    elsewhere.add("www.elsewhere.example.", 60, "A", "192.0.2.1")
    assert encrypted.update(elsewhere, client) == dns.rcode.NOTAUTH
    outside = dns.update.UpdateMessage(f"{APEX}.")
    outside.update.append(elsewhere.update[0])
    assert encrypted.update(outside, client) == dns.rcode.NOTZONE
    assert encrypted.serving.zones.zone(ZONE).serial == before
    udp = dns.query.udp(fresh("mine"), HOST, PATIENCE_S, encrypted.serving.port)
    assert udp.rcode() == dns.rcode.REFUSED


def test_a_certificate_of_others_does_not_connect(encrypted: Encrypted, tmp_path: Path) -> None:
    stranger = issued(tmp_path, "stranger", [])
    client = issued(tmp_path, "client", [f"mine.{APEX}"], stranger)
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        encrypted.update(fresh("mine"), client)


def test_prerequisites_hold_or_nothing_happens(encrypted: Encrypted) -> None:
    client = encrypted.client(f"counted.{APEX}")
    first = fresh("counted")
    first.absent(f"counted.{APEX}.")
    assert encrypted.update(first, client) == dns.rcode.NOERROR
    assert encrypted.update(first, client) == dns.rcode.YXDOMAIN
    swap = dns.update.UpdateMessage(f"{APEX}.")
    swap.present(f"counted.{APEX}.", "AAAA", "2001:db8::77")
    swap.replace(f"counted.{APEX}.", 60, "AAAA", "2001:db8::78")
    assert encrypted.update(swap, client) == dns.rcode.NOERROR
    assert encrypted.update(swap, client) == dns.rcode.NXRRSET
    answer = encrypted.serving.ask(f"counted.{APEX}", "AAAA")
    assert data(answer.answer, "AAAA") == ["2001:db8::78"]


def test_an_update_over_quic_is_refused(encrypted: Encrypted) -> None:
    answer = encrypted.over_quic(fresh("mine"))
    assert answer.rcode() == dns.rcode.REFUSED


def test_many_connections_over_quic_come_and_go(encrypted: Encrypted) -> None:
    before = encrypted.serving.server.counters()["quic"]
    for _ in range(5):
        query = dns.message.make_query(f"www.{APEX}", "A")
        answer = encrypted.over_quic(query)
        assert answer.flags & dns.flags.AA
    assert encrypted.serving.server.counters()["quic"] == before + 5


def test_a_record_of_the_zone_is_changed_beside_updates(encrypted: Encrypted) -> None:
    made = record_set(f"beside.{APEX}", "A", 60, ["192.0.2.5"])
    encrypted.serving.zones.change(ZONE, [made], AUTHOR)
    assert data(encrypted.serving.ask(f"beside.{APEX}").answer, "A") == ["192.0.2.5"]
