"""Signed requests: flattened JWS with everything in the protected header (RFC 8555 section 6.2).

Pure: what was signed, by which key, for which URL. Whether the nonce is good and the account is
there is for the caller to know.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from josepy.jwk import JWK

from hypermesh.trustchain.acme import key as keys
from hypermesh.trustchain.acme.encoding import from_base64url
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind, malformed

T = TypeVar("T")

MAC = "HS256"
"""What an external account binding is authenticated with."""
ABSENT = msgspec.Raw(b"")
"""The default of a member that is JSON of its own; msgspec has no other way to say so."""


class _Flattened(msgspec.Struct, forbid_unknown_fields=True):
    protected: str
    payload: str
    signature: str


class _Header(msgspec.Struct):
    alg: str
    url: str
    nonce: str | None = None
    jwk: msgspec.Raw = ABSENT
    kid: str | None = None
    crit: Any = None
    b64: Any = None


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it came. Exactly one of `jwk`, the key as JSON, and `kid` is there."""

    algorithm: str
    url: str
    nonce: str | None
    jwk: bytes | None
    kid: str | None
    payload: bytes
    signing_input: bytes
    signature: bytes

    def verify(self, key: JWK) -> None:
        """Raises `AcmeRefusal` unless `key` signed it."""
        if not keys.verify(self.algorithm, key, self.signing_input, self.signature):
            raise malformed("The signature of the request is not by this key")

    def verify_mac(self, secret: bytes) -> None:
        """Raises `AcmeRefusal` unless it was authenticated with `secret` by HMAC-SHA-256."""
        expected = hmac.digest(secret, self.signing_input, "sha256")
        if self.algorithm != MAC or not hmac.compare_digest(expected, self.signature):
            raise malformed("The external account binding is not made with the key of its kid")


def parse(body: bytes) -> Signed:
    """The signed request in `body`, nothing of it verified. Raises `AcmeRefusal`."""
    flattened = decode(_Flattened, body, "The body is not a flattened JWS")
    protected = from_base64url(flattened.protected)
    header = decode(_Header, protected, "The protected header is not complete")
    if header.crit is not None or header.b64 is not None:
        raise malformed("Critical header parameters are not known here")
    jwk = bytes(header.jwk) or None
    if (jwk is None) == (header.kid is None):
        raise malformed("The protected header has one of jwk and kid")
    return Signed(
        header.alg,
        header.url,
        header.nonce,
        jwk,
        header.kid,
        from_base64url(flattened.payload),
        f"{flattened.protected}.{flattened.payload}".encode("ascii"),
        from_base64url(flattened.signature),
    )


def check_url(signed: Signed, url: str) -> None:
    """Raises `AcmeRefusal` where the request was signed for another URL (RFC 8555 section 6.4)."""
    if signed.url != url:
        raise AcmeRefusal(
            Kind.UNAUTHORIZED, f"The request is signed for another URL than {url}", status=401
        )


def decode(kind: type[T], data: bytes, what: str) -> T:
    """The JSON `data` as a `kind`. Raises `AcmeRefusal`: `malformed`, beginning with `what`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(f"{what}: {error}") from error
