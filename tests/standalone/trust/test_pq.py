"""The profile pq: ML-DSA from the root to the leaves, below TLS by a certificate of another."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import ssl
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from tests.trustchain.acme.client import Client

from .conftest import SETTINGS, WAIT_S, Server, founded
from .test_given import Authority, told

pytestmark = pytest.mark.timeout(400)

Key = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
LEAVES: dict[str, type[Key]] = {
    "ML-DSA-44": mldsa.MLDSA44PrivateKey,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey,
}


@dataclass
class Readers:
    """A server of the profile pq, and what its readers believe for TLS."""

    server: Server
    authority: Authority

    def client(self, token: str | None = "") -> httpx.Client:
        return self.server.client(token, verify=self.authority.context())


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    directory = tmp_path_factory.mktemp("pq")
    authority = Authority.made()
    settings = SETTINGS[: SETTINGS.index("[[client]]")].replace("updates = true\n", "")
    files = told(authority.certify(directory / "given"))
    server = founded(directory / "data", "pq", settings=settings + files)
    server.start()
    yield Readers(server, authority)
    server.kill()


def asked(key: Any, *names: str, digest: hashes.HashAlgorithm | None = None) -> bytes:
    """A request by `cryptography`, DER; ML-DSA takes no digest."""
    general = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(general, critical=False).sign(key, digest)
    return request.public_bytes(Encoding.DER)


def chain_of(told: dict[str, Any]) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates("".join(told["chain"]).encode())


def require_signed(signed: x509.Certificate, issuer: x509.Certificate) -> None:
    key = issuer.public_key()
    assert isinstance(key, mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey)
    assert signed.issuer == issuer.subject
    key.verify(signed.signature, signed.tbs_certificate_bytes)


@pytest.mark.parametrize("kind", LEAVES)
def test_a_leaf_is_issued_proved_and_revoked(readers: Readers, kind: str, tmp_path: Path) -> None:
    server = readers.server
    key = LEAVES[kind].generate()
    name = f"{kind.lower()}.example.internal"
    with readers.client() as client:
        answer = client.post("/v1/certificates", content=asked(key, name))
        assert answer.status_code == 201, answer.text
        told = answer.json()
        leaf, issuer = chain_of(told)
        assert leaf.public_key() == key.public_key()
        assert isinstance(issuer.public_key(), mldsa.MLDSA65PublicKey)
        assert isinstance(server.root.public_key(), mldsa.MLDSA87PublicKey)
        require_signed(leaf, issuer)
        require_signed(issuer, server.root)
        bundle = tmp_path / "bundle.json"
        bundle.write_bytes(client.get(f"/v1/certificates/{told['serial']}/bundle").content)

        def status() -> ocsp.OCSPCertStatus:
            builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256())
            content = builder.build().public_bytes(Encoding.DER)
            answer = client.post("/ocsp", content=content)
            response = ocsp.load_der_ocsp_response(answer.content)
            signer = issuer.public_key()
            assert isinstance(signer, mldsa.MLDSA65PublicKey)
            signer.verify(response.signature, response.tbs_response_bytes)
            return response.certificate_status

        assert status() is ocsp.OCSPCertStatus.GOOD
        assert client.post(f"/v1/certificates/{told['serial']}/revoke").status_code == 200
        assert status() is ocsp.OCSPCertStatus.REVOKED
        listed = list_of(client, leaf)
        assert listed.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None
        assert listed.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        assert list_of(client, issuer).is_signature_valid(server.root.public_key())  # type: ignore[arg-type]

    words = ("--root", str(server.root_file), "--log", server.log.split()[-1])
    done = hm("verify", str(bundle), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    altered = json.loads(bundle.read_text())
    text = json.dumps(altered)
    body = re.sub(r"-----[A-Z ]+-----|\s", "", told["chain"][0])
    der = bytearray(base64.b64decode(body))
    der[-1] ^= 1
    assert altered["certificate"] == body, "the leaf's last byte is one of its signature"
    bundle.write_text(text.replace(body, base64.b64encode(bytes(der)).decode()))
    assert hm("verify", str(bundle), *words).returncode == 9


def list_of(client: httpx.Client, certificate: x509.Certificate) -> x509.CertificateRevocationList:
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    url = urllib.parse.urlsplit(points[0].full_name[0].value)  # type: ignore[index]
    return x509.load_der_x509_crl(client.get(url.path).content)


def hm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hypermesh.cli.main", "cert", *words],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def test_a_key_of_another_profile_is_refused(readers: Readers) -> None:
    with readers.client() as client:
        for key, digest in (
            (mldsa.MLDSA87PrivateKey.generate(), None),
            (ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()),
        ):
            content = asked(key, "other.example.internal", digest=digest)
            answer = client.post("/v1/certificates", content=content)
            assert (answer.status_code, answer.json()["code"]) == (400, "HM-TRUST-0103")


def test_names_are_served_over_tls(readers: Readers) -> None:
    answer = dns.query.tls(
        dns.message.make_query("trust.hypermesh.online", "AAAA"),
        "::1",
        WAIT_S,
        readers.server.port("dot"),
        ssl_context=readers.authority.context(),
        server_hostname="localhost",
    )
    assert [str(each) for each in answer.answer[0]] == ["::1"]


def test_acme_finalizes_a_request_of_an_ml_dsa_key(readers: Readers) -> None:
    """The account signs by ES256: JOSE has no ML-DSA (RFC 7518) that clients speak."""
    key = mldsa.MLDSA65PrivateKey.generate()
    pem = asyncio.run(obtained(readers, key, "acme.example.internal"))
    leaf, issuer = x509.load_pem_x509_certificates(pem)
    assert leaf.public_key() == key.public_key()
    require_signed(leaf, issuer)


async def obtained(readers: Readers, key: Key, name: str) -> bytes:
    """What the ACME server gives for `name`, by dns-01 in the server's own zone; PEM."""
    server = readers.server
    with readers.client() as operator:
        zone = "/v1/dns/zones/example.internal"
        assert operator.put(zone, json={"address": "::1"}).status_code == 201
        async with httpx.AsyncClient(verify=readers.authority.context(), timeout=WAIT_S) as http:
            url = server.places["acme"].removesuffix("/directory")
            client = await Client(http, url).start()
            assert (await client.register()).status_code == 201
            made = await client.order(name)
            assert made.status_code == 201, made.text
            order = made.json()
            shown = (await client.post(order["authorizations"][0])).json()
            challenge = next(each for each in shown["challenges"] if each["type"] == "dns-01")
            digest = hashes.Hash(hashes.SHA256())
            digest.update(client.key_authorization(challenge["token"]).encode())
            text = base64.urlsafe_b64encode(digest.finalize()).rstrip(b"=").decode()
            owner = f"{zone}/_acme-challenge.{name}/TXT"
            put = operator.put(owner, json={"data": [f'"{text}"'], "ttl": 0})
            assert put.status_code == 200, put.text
            await client.post(challenge["url"], {})
            await client.until(made.headers["location"], "ready")
            request = base64.urlsafe_b64encode(asked(key, name)).rstrip(b"=").decode()
            await client.post(order["finalize"], {"csr": request})
            done = await client.until(made.headers["location"], "valid", "invalid")
            assert done["status"] == "valid", done
            return (await client.post(done["certificate"])).content


def openssl_knows_ml_dsa() -> bool:
    if shutil.which("openssl") is None:
        return False
    done = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True)
    found = re.match(r"OpenSSL (\d+)\.(\d+)", done.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= (3, 5)


@pytest.mark.skipif(not openssl_knows_ml_dsa(), reason="no OpenSSL with ML-DSA (3.5) is installed")
def test_openssl_makes_a_request_and_verifies_what_comes_of_it(
    readers: Readers, tmp_path: Path
) -> None:
    def openssl(*words: str) -> None:
        done = subprocess.run(
            ["openssl", *words],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    openssl(
        *("req", "-new", "-newkey", "ml-dsa-44", "-noenc", "-keyout", "leaf.key"),
        *("-subj", "/", "-addext", "subjectAltName=DNS:ossl.example.internal", "-out", "leaf.csr"),
    )
    with readers.client() as client:
        answer = client.post("/v1/certificates", content=(tmp_path / "leaf.csr").read_bytes())
    assert answer.status_code == 201, answer.text
    (tmp_path / "chain.pem").write_text("".join(answer.json()["chain"]))
    root = str(readers.server.root_file)
    openssl("verify", "-CAfile", root, "-untrusted", "chain.pem", "chain.pem")


def test_who_believes_the_root_alone_is_told_by_tls(readers: Readers) -> None:
    """The server's own root says nothing of its TLS here."""
    other = ssl.create_default_context(
        cadata=Authority.made().certificate.public_bytes(Encoding.DER)
    )
    with readers.server.client(verify=other) as client, pytest.raises(httpx.ConnectError):
        client.get("/livez")
