"""The keys of ACME accounts: JWK (RFC 7517, 7518, 8037) and the signatures made with them.

`josepy` holds RSA and ECDSA; Ed25519, which it has not, is added here.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from josepy import errors
from josepy.jwa import ES256, ES384, RS256, JWASignature
from josepy.jwk import JWK, JWKEC, JWKRSA

from hypermesh.trustchain.acme.encoding import base64url, from_base64url
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind

RSA_BITS = range(2048, 4096 + 1)
RSA_EXPONENT_MAX = 1 << 32
KEY_BYTES_MAX = 2048
"""Of a JWK as JSON."""
KEYS_KEPT = 1024


class OctetKeyPair(JWK):
    """An Ed25519 public key (RFC 8037 section 2)."""

    typ = "OKP"
    __slots__ = ("key",)
    cryptography_key_types = (Ed25519PublicKey,)
    required = ("crv", JWK.type_field_name, "x")
    key: Ed25519PublicKey

    def fields_to_partial_json(self) -> dict[str, Any]:
        return {"crv": "Ed25519", "x": base64url(self.key.public_bytes_raw())}

    @classmethod
    def fields_from_json(cls, jobj: Mapping[str, Any]) -> OctetKeyPair:
        if jobj["crv"] != "Ed25519":
            raise errors.DeserializationError("the only curve taken is Ed25519")
        return cls(key=Ed25519PublicKey.from_public_bytes(from_base64url(jobj["x"])))

    def public_key(self) -> OctetKeyPair:
        return self


class _EdDSA(JWASignature):
    kty = OctetKeyPair

    def sign(self, key: Any, msg: bytes) -> bytes:
        signature: bytes = key.sign(msg)
        return signature

    def verify(self, key: Any, msg: bytes, sig: bytes) -> bool:
        try:
            key.verify(sig, msg)
        except InvalidSignature:
            return False
        return True


ALGORITHMS: Mapping[str, JWASignature] = {
    each.name: each for each in (ES256, ES384, RS256, _EdDSA("EdDSA"))
}
"""What a request may be signed with (RFC 8555 section 6.2)."""


def parse(document: bytes) -> JWK:
    """The public key that the JSON `document` describes. Raises `AcmeRefusal`: `badPublicKey`."""
    if len(document) > KEY_BYTES_MAX:
        raise _bad("it is too long")
    return _parsed(document)


@functools.lru_cache(KEYS_KEPT)
def _parsed(document: bytes) -> JWK:
    try:
        members = msgspec.json.decode(document, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise _bad(str(error)) from error
    if members.keys() & {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}:
        raise _bad("it holds a private or a secret key")
    try:
        if members.get("kty") == OctetKeyPair.typ:
            return OctetKeyPair.fields_from_json(members)
        key = cast(JWK, JWK.from_json(members))
    except (errors.Error, ValueError, KeyError, TypeError, UnsupportedAlgorithm) as error:
        raise _bad(f"it is not complete or not known here ({type(error).__name__})") from error
    _check_strength(key)
    return key


def canonical(key: JWK) -> bytes:
    """The key as JSON, the same for the same key."""
    return msgspec.json.encode({**key.fields_to_partial_json(), "kty": key.typ}, order="sorted")


def thumbprint(key: JWK) -> bytes:
    """SHA-256 over the key's members (RFC 7638), 32 bytes."""
    # Of the kinds taken here, every public member is a required one.
    return hashlib.sha256(canonical(key)).digest()


def thumbprint_of(public_key: object) -> bytes | None:
    """The thumbprint of a key of `cryptography`; None where an account cannot have such a key."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return thumbprint(JWKRSA(key=public_key))
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        if not isinstance(public_key.curve, ec.SECP256R1 | ec.SECP384R1):
            return None
        return thumbprint(JWKEC(key=public_key))
    if isinstance(public_key, Ed25519PublicKey):
        return thumbprint(OctetKeyPair(key=public_key))
    return None


def verify(algorithm: str, key: JWK, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` is by `key`. Raises `AcmeRefusal`:
    `badSignatureAlgorithm`."""
    scheme = ALGORITHMS.get(algorithm)
    if scheme is None or not isinstance(key, scheme.kty) or not _fits(scheme, key):
        raise AcmeRefusal(
            Kind.BAD_SIGNATURE_ALGORITHM,
            f"{algorithm[:40]!r} is not taken with this key",
            members={"algorithms": list(ALGORITHMS)},
        )
    try:
        return scheme.verify(key.key, message, signature)
    except ValueError:
        return False


def _fits(scheme: JWASignature, key: JWK) -> bool:
    """An ECDSA algorithm goes with one curve (RFC 7518 section 3.4)."""
    if not isinstance(key, JWKEC):
        return True
    return bool(key.key.curve.key_size == {"ES256": 256, "ES384": 384}[scheme.name])


def _check_strength(key: JWK) -> None:
    if isinstance(key, JWKRSA):
        numbers = key.key.public_numbers()
        if numbers.n.bit_length() not in RSA_BITS or numbers.e > RSA_EXPONENT_MAX:
            raise _bad(f"RSA keys have {RSA_BITS[0]} to {RSA_BITS[-1]} bits here")
    elif not isinstance(key, JWKEC) or key.key.curve.key_size not in (256, 384):
        raise _bad("keys are RSA, P-256, P-384 or Ed25519 here")


def _bad(why: str) -> AcmeRefusal:
    return AcmeRefusal(
        Kind.BAD_PUBLIC_KEY,
        f"The account key is not taken: {why}",
        members={"algorithms": list(ALGORITHMS)},
    )
