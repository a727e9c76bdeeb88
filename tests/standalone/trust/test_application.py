"""Which route answers: paths, methods and queries as clients send them."""

from __future__ import annotations

import base64

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from hypermesh.standalone.trust.application import QUERY_FIELDS_MAX
from hypermesh.standalone.trust.guard import BODY_BYTES_MAX

from .conftest import Server, requested


def code(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["code"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/livez/", 200),
        ("GET", "/v1/certificates/", 200),
        ("GET", "/", 404),
        ("GET", "/live", 404),
        ("GET", "/livez/more", 404),
        ("GET", "/v1/certificates/ff/chain/more", 404),
        ("GET", "/v1/certificates/ff/", 404),
        ("GET", "/tile/", 404),
        ("GET", "/%2e%2e/livez", 404),
        ("GET", f"/{'a' * 2000}", 404),
        ("POST", "/livez", 405),
        ("HEAD", "/livez", 405),
        ("DELETE", "/v1/certificates/ff", 405),
    ],
)
def test_paths_and_methods(server: Server, method: str, path: str, status: int) -> None:
    with server.client() as client:
        answer = client.request(method, path)
        assert answer.status_code == status, answer.text
        if status >= 400 and method != "HEAD":
            assert code(answer).startswith("HM-")
        assert client.get("/livez").status_code == 200, "the connection goes on"


def test_queries(server: Server) -> None:
    with server.client() as client:
        assert client.get("/v1/certificates?limit=1&limit=2&after=").status_code == 400
        assert client.get("/v1/certificates?name=a%2Eexample.internal").json()["items"] == []
        many = "&".join(f"f{number}=1" for number in range(QUERY_FIELDS_MAX + 1))
        assert client.get(f"/v1/certificates?{many}").status_code == 400


def test_a_body_has_a_bound(server: Server) -> None:
    with server.client() as client:
        asked = client.post("/v1/certificates", content=b"a" * (BODY_BYTES_MAX + 1))
        assert asked.status_code == 413
        assert client.post("/v1/certificates", content=b"a" * 300_000).status_code == 413
        assert client.post("/v1/certificates", content=b"").status_code == 400


def test_a_question_whose_base64_has_slashes_is_answered(server: Server) -> None:
    with server.client() as client:
        chain = client.post(
            "/v1/certificates",
            content=requested("slashes.example.internal").der,
            headers={"accept": "application/pem-certificate-chain"},
        ).text
        leaf, issuer = x509.load_pem_x509_certificates(chain.encode())
        for number in range(2000):
            built = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256())
            nonce = x509.OCSPNonce(b"\xff\xff\xff" * 4 + number.to_bytes(2, "big"))
            asked = built.add_extension(nonce, critical=False).build()
            text = base64.b64encode(asked.public_bytes(Encoding.DER)).decode()
            if "//" in text:
                break
        else:
            raise AssertionError("no question with slashes")
        answer = client.get(f"/ocsp/{text.replace('+', '%2B').replace('=', '%3D')}")
        assert answer.status_code == 200, answer.text
        status = ocsp.load_der_ocsp_response(answer.content).certificate_status
        assert status == ocsp.OCSPCertStatus.GOOD
