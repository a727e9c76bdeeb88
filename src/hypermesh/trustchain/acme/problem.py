"""What an ACME client is told when something is refused (RFC 8555 section 6.7, RFC 9457)."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hypermesh.wire.errors import HyperMeshError

URN = "urn:ietf:params:acme:error:"
DETAIL_CHARACTERS_MAX = 400


class Kind(enum.StrEnum):
    """The error types, without their prefix: RFC 8555 section 6.7, RFC 9773 section 7, and
    `invalidProfile` of draft-ietf-acme-profiles."""

    ACCOUNT_DOES_NOT_EXIST = "accountDoesNotExist"
    ALREADY_REPLACED = "alreadyReplaced"
    ALREADY_REVOKED = "alreadyRevoked"
    BAD_CSR = "badCSR"
    BAD_NONCE = "badNonce"
    BAD_PUBLIC_KEY = "badPublicKey"
    BAD_REVOCATION_REASON = "badRevocationReason"
    BAD_SIGNATURE_ALGORITHM = "badSignatureAlgorithm"
    CAA = "caa"
    CONNECTION = "connection"
    DNS = "dns"
    EXTERNAL_ACCOUNT_REQUIRED = "externalAccountRequired"
    INCORRECT_RESPONSE = "incorrectResponse"
    INVALID_CONTACT = "invalidContact"
    INVALID_PROFILE = "invalidProfile"
    MALFORMED = "malformed"
    ORDER_NOT_READY = "orderNotReady"
    RATE_LIMITED = "rateLimited"
    REJECTED_IDENTIFIER = "rejectedIdentifier"
    SERVER_INTERNAL = "serverInternal"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    UNSUPPORTED_CONTACT = "unsupportedContact"
    UNSUPPORTED_IDENTIFIER = "unsupportedIdentifier"
    USER_ACTION_REQUIRED = "userActionRequired"


STATUS: Mapping[Kind, int] = {
    Kind.ALREADY_REPLACED: 409,
    Kind.CAA: 403,
    Kind.EXTERNAL_ACCOUNT_REQUIRED: 403,
    Kind.ORDER_NOT_READY: 403,
    Kind.RATE_LIMITED: 429,
    Kind.SERVER_INTERNAL: 500,
    Kind.UNAUTHORIZED: 403,
    Kind.USER_ACTION_REQUIRED: 403,
}
"""The HTTP status of each kind; 400 for the others."""


class AcmeProblem(msgspec.Struct, frozen=True, array_like=True):
    """A refusal as it is kept with an order or a challenge."""

    kind: Kind
    detail: str

    def document(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {
            "type": f"{URN}{self.kind}",
            "detail": self.detail,
            "status": STATUS.get(self.kind, 400),
        }


class AcmeRefusal(HyperMeshError):
    """An ACME request is refused; the client reads it as a problem document."""

    code = "HM-TRUST-0150"
    status = 400
    title = "The ACME request is refused"

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        status: int | None = None,
        subproblems: Sequence[Mapping[str, Any]] = (),
        members: Mapping[str, Any] | None = None,
        location: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail[:DETAIL_CHARACTERS_MAX])
        self.kind = kind
        self.status = STATUS.get(kind, 400) if status is None else status
        self.subproblems = subproblems
        self.members = members or {}
        self.location = location
        self.retry_after_s = retry_after_s

    @property
    def kept(self) -> AcmeProblem:
        """What is kept of it with an order or a challenge."""
        return AcmeProblem(self.kind, self.what)

    def document(self) -> dict[str, Any]:
        """The problem document."""
        found = {**self.kept.document(), "status": self.status, **self.members}
        if self.subproblems:
            found["subproblems"] = list(self.subproblems)
        return found


def malformed(detail: str) -> AcmeRefusal:
    """The request does not say what it should, or not as it should."""
    return AcmeRefusal(Kind.MALFORMED, detail)
