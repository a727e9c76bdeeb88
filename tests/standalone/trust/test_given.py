"""A certificate of another authority: shown over every TLS port, read again, refused when wrong."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hypermesh.standalone.trust.errors import CertificateUnusable, SettingsInvalid
from hypermesh.standalone.trust.founding import Directory
from hypermesh.standalone.trust.given import read_given, state_of
from hypermesh.standalone.trust.parts import Parts
from hypermesh.standalone.trust.settings import TlsFiles, parse_settings, read_settings

from .conftest import WAIT_S, Server, founded, requested, trustchain
from .test_rereading import SAID, STAY, hung_up, rewritten

pytestmark = pytest.mark.timeout(400)

DAY = dt.timedelta(days=1)
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Another authority")])


@dataclass
class Authority:
    """An authority that has nothing to do with the server's."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def made(cls) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(NAME, key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    def certify(
        self,
        directory: Path,
        key: CertificateIssuerPrivateKeyTypes | None = None,
        starts: dt.timedelta = -DAY,
    ) -> TlsFiles:
        """The files of a new certificate for this machine, good for two days from `starts` on."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv6Address("::1"))]
        )
        builder = _builder(x509.Name([]), key, starts).add_extension(names, critical=True)
        chain = [builder.sign(self.key, hashes.SHA256()), self.certificate]
        directory.mkdir(exist_ok=True)
        files = TlsFiles(str(directory / "tls.pem"), str(directory / "tls.key"))
        put(Path(files.certificate), b"".join(each.public_bytes(Encoding.PEM) for each in chain))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        put(Path(files.key), pem)
        return files

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.certificate.public_bytes(Encoding.DER))


def put(file: Path, data: bytes) -> None:
    """Another file in the place of `file`: the clock of a file system may be too coarse to tell
    two states of one apart."""
    fresh = file.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_bytes(data)
    fresh.rename(file)


def _builder(
    subject: x509.Name,
    key: CertificateIssuerPrivateKeyTypes,
    starts: dt.timedelta = -DAY,
) -> x509.CertificateBuilder:
    begin = dt.datetime.now(dt.UTC) + starts
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(NAME)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(begin).not_valid_after(begin + 2 * DAY)


def shown(server: Server, authority: Authority, port: str = "https") -> bytes:
    """The certificate that a new connection sees, checked below `authority`."""
    with (
        socket.create_connection(("::1", server.port(port)), WAIT_S) as raw,
        authority.context().wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def leaf_of(files: TlsFiles) -> bytes:
    found = x509.load_pem_x509_certificates(Path(files.certificate).read_bytes())
    return found[0].public_bytes(Encoding.DER)


def told(files: TlsFiles) -> str:
    return f'[tls]\ncertificate = "{files.certificate}"\nkey = "{files.key}"\n'


UNSET = '[tls]\ncertificate = ""\nkey = ""\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = founded(tmp_path / "data")
    yield made
    made.kill()


def test_files_are_shown_read_again_and_given_up(server: Server, tmp_path: Path) -> None:
    authority = Authority.made()
    files = authority.certify(tmp_path / "given")
    server.start()
    own, both = server.context(), server.context()
    both.load_verify_locations(cadata=authority.certificate.public_bytes(Encoding.DER))
    with server.client(verify=both) as client:
        assert SAID in rewritten(server, (UNSET, told(files)))
        assert shown(server, authority) == leaf_of(files)
        assert shown(server, authority, "dot") == leaf_of(files)
        asked = requested("web.example.internal").der
        assert client.post("/v1/certificates", content=asked).status_code == 201

        before = leaf_of(files)
        authority.certify(tmp_path / "given")
        assert leaf_of(files) != before
        assert SAID in hung_up(server)
        assert shown(server, authority) == leaf_of(files)
        assert shown(server, authority, "dot") == leaf_of(files)

        # What cannot be shown is not taken, and nothing else of the settings either.
        good = leaf_of(files)
        Path(files.key).chmod(0o644)
        said = rewritten(server, ("member_per_s = 100000", "member_per_s = 1"))
        assert STAY in said
        assert "Others may read" in said
        assert shown(server, authority) == good
        assert client.get("/v1/certificates").status_code == 200
        assert client.get("/v1/certificates").status_code == 200

        assert SAID in rewritten(
            server, (told(files), UNSET), ("member_per_s = 1", "member_per_s = 100000")
        )
        with (
            socket.create_connection(("::1", server.port("https")), WAIT_S) as raw,
            own.wrap_socket(raw, server_hostname="localhost") as tls,
        ):
            assert tls.getpeercert(binary_form=True) != good


def test_a_server_does_not_start_with_what_it_cannot_show(server: Server, tmp_path: Path) -> None:
    files = Authority.made().certify(tmp_path / "given", starts=-4 * DAY)
    file = server.data / "trustchain.toml"
    file.write_text(file.read_text().replace(UNSET, told(files)))
    done = trustchain("run", data=server.data)
    assert done.returncode == 3
    assert "has ended" in done.stderr
    assert "HM-TRUST-0244" in done.stderr


def test_what_is_wrong_with_files_is_said(tmp_path: Path) -> None:
    authority = Authority.made()
    good = authority.certify(tmp_path / "good")
    other = authority.certify(tmp_path / "other")
    now_s = int(dt.datetime.now(dt.UTC).timestamp())
    assert read_given(good, now_s).certificate.chain[0] == leaf_of(good)

    def why(files: TlsFiles) -> str:
        with pytest.raises(CertificateUnusable) as raised:
            read_given(files, now_s)
        return str(raised.value)

    assert "not that of" in why(TlsFiles(good.certificate, other.key))
    assert "cannot be read" in why(TlsFiles(good.certificate, str(tmp_path / "none")))
    assert "cannot be read" in why(TlsFiles(str(tmp_path / "none"), good.key))
    assert "no certificates" in why(TlsFiles(good.key, good.key))
    swapped = tmp_path / "swapped"
    shutil.copyfile(good.certificate, swapped)
    swapped.chmod(0o600)
    assert "no key" in why(TlsFiles(good.certificate, str(swapped)))
    assert "has ended" in why(authority.certify(tmp_path / "old", starts=-3 * DAY))
    assert "not good yet" in why(authority.certify(tmp_path / "early", starts=DAY))
    weak = authority.certify(tmp_path / "weak", ec.generate_private_key(ec.SECP521R1()))
    assert "is not taken" in why(weak)
    assert "ML-DSA-44" in why(
        authority.certify(tmp_path / "pq", mldsa.MLDSA44PrivateKey.generate())
    )
    Path(good.key).chmod(0o640)
    assert "Others may read" in why(good)


def test_another_state_of_the_files_is_seen(tmp_path: Path) -> None:
    authority = Authority.made()
    files = authority.certify(tmp_path / "given")
    before = state_of(files)
    assert state_of(files) == before
    authority.certify(tmp_path / "next")
    (tmp_path / "next" / "tls.pem").rename(files.certificate)
    assert state_of(files) != before


def test_files_that_changed_are_taken_up_by_themselves(server: Server, tmp_path: Path) -> None:
    authority = Authority.made()
    files = authority.certify(tmp_path / "given")
    file = server.data / "trustchain.toml"
    file.write_text(file.read_text().replace(UNSET, told(files)))
    parts = Parts(Directory(server.data), read_settings(file))
    try:
        parts.tend()
        first = leaf_of(files)
        assert parts.tls.certificate.chain[0] == first
        authority.certify(tmp_path / "given")
        parts.tend()
        second = leaf_of(files)
        assert parts.tls.certificate.chain[0] == second != first
        # Half replaced: the one before stays, until the other half is there.
        key = Path(files.key).read_bytes()
        authority.certify(tmp_path / "given")
        third, fitting = leaf_of(files), Path(files.key).read_bytes()
        put(Path(files.key), key)
        for _ in range(2):
            with pytest.raises(CertificateUnusable):
                parts.tend()
        assert parts.tls.certificate.chain[0] == second
        put(Path(files.key), fitting)
        parts.tend()
        assert parts.tls.certificate.chain[0] == third
    finally:
        parts.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tls]\ncertificate = '/a'", "tls.key"),
        ("[tls]\nkey = '/a'", "tls.certificate"),
        ("profile = 'pq'", "tls.certificate"),
        ("profile = 'pq'\n[dns]\ntls = '[::1]:1'\nupdates = true", "dns.updates"),
        ("profile = 'pq'\n[[client]]\nname = 'email:a@b'\nrole = 'auditor'", "client"),
    ],
)
def test_settings_that_do_not_go_together(text: str, said: str) -> None:
    if "profile" in text and said != "tls.certificate":
        head, _, rest = text.partition("\n")
        text = f"{head}\n[tls]\ncertificate = '/a'\nkey = '/b'\n{rest}"
    with pytest.raises(SettingsInvalid, match=said):
        parse_settings(text, "file")
    whole = "profile = 'pq'\n[tls]\ncertificate = '/a'\nkey = '/b'"
    assert parse_settings(whole, "file").tls.key == "/b"
