"""A small ACME client: every member of a request can be made wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

DEADLINE_S = 60.0


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any) -> dict[str, str]:
    """The public half, as RFC 7517 writes it."""
    public = key.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        numbers, size = public.public_numbers(), (public.curve.key_size + 7) // 8
        crv = {32: "P-256", 48: "P-384", 66: "P-521"}[size]
        x, y = (b64(each.to_bytes(size, "big")) for each in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": crv, "x": x, "y": y}
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        n = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        return {"kty": "RSA", "n": b64(n), "e": b64(numbers.e.to_bytes(3, "big"))}
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}


def thumbprint(key: Any) -> bytes:
    text = json.dumps(jwk(key), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def algorithm(key: Any) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: "ES256", 384: "ES384", 521: "ES512"}[key.curve.key_size]
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "EdDSA"


def signature(key: Any, message: bytes) -> bytes:
    if isinstance(key, bytes):
        return hmac.digest(key, message, "sha256")
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        digest = hashes.SHA256() if size == 32 else hashes.SHA384()
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(message)


def jws(key: Any, header: dict[str, Any], payload: Any) -> dict[str, str]:
    """A flattened JWS. `payload` is JSON; None is the empty one of a POST-as-GET."""
    protected = b64(json.dumps(header).encode())
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    body = "" if payload is None else b64(text)
    signed = signature(key, f"{protected}.{body}".encode())
    return {"protected": protected, "payload": body, "signature": b64(signed)}


def csr(names: Sequence[str], key: Any = None, common_name: str | None = None) -> bytes:
    """A request for DNS `names`, DER."""
    subject = (
        [] if common_name is None else [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        general = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(general, critical=False)
    request = builder.sign(key or p256(), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


class Client:
    """One account at the server whose directory is at `url`."""

    def __init__(self, http: httpx.AsyncClient, url: str, key: Any = None) -> None:
        self.http = http
        self.key = key or p256()
        self.kid: str | None = None
        self.nonce: str | None = None
        self._url = url
        self.directory: dict[str, Any] = {}

    async def start(self) -> Client:
        self.directory = (await self.http.get(f"{self._url}/directory")).json()
        return self

    async def fresh(self) -> str:
        return (await self.http.head(self.directory["newNonce"])).headers["replay-nonce"]

    async def header(self, url: str) -> dict[str, Any]:
        nonce, self.nonce = self.nonce or await self.fresh(), None
        who = {"jwk": jwk(self.key)} if self.kid is None else {"kid": self.kid}
        return {"alg": algorithm(self.key), "url": url, "nonce": nonce, **who}

    async def send(
        self, url: str, body: Any, media: str = "application/jose+json"
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.http.post(url, content=content, headers={"content-type": media})
        self.nonce = answer.headers.get("replay-nonce")
        return answer

    async def post(self, where: str, payload: Any = None, /, **members: Any) -> httpx.Response:
        """A signed request; `members` of the header are as given, and gone where None."""
        header = await self.header(where)
        header |= members
        header = {name: value for name, value in header.items() if value is not None}
        return await self.send(where, jws(self.key, header, payload))

    async def register(self, **members: Any) -> httpx.Response:
        url = self.directory["newAccount"]
        answer = await self.post(url, {"termsOfServiceAgreed": True, **members})
        if answer.status_code in (200, 201):
            self.kid = answer.headers["location"]
        return answer

    def bound(self, kid: str, secret: str, url: str | None = None) -> dict[str, str]:
        """An external account binding."""
        where = url or self.directory["newAccount"]
        header = {"alg": "HS256", "kid": kid, "url": where}
        return jws(unb64(secret), header, jwk(self.key))

    async def order(self, *names: str, **members: Any) -> httpx.Response:
        identifiers = [{"type": "dns", "value": each} for each in names]
        return await self.post(self.directory["newOrder"], {"identifiers": identifiers, **members})

    async def until(self, url: str, *states: str) -> dict[str, Any]:
        """The resource, once its status is one of `states`."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                answer = await self.post(url)
                assert answer.status_code == 200, answer.text
                if answer.json()["status"] in states:
                    return answer.json()
                await asyncio.sleep(0.01)

    def key_authorization(self, token: str) -> str:
        return f"{token}.{b64(thumbprint(self.key))}"
