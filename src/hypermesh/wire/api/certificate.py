"""Certificates as the API shows them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex32
from hypermesh.wire.api.ct import LogEntry


class CertificateView(msgspec.Struct, frozen=True):
    """One certificate of a node.

    `known_by` says where this node has it from: `authority`, it issued it; `self`, it is its own;
    `ledger`, the ledger has its digest and end alone, so that `serial`, `subject` and
    `not_before_ms` are null. `current`: the ledger knows the node by this one. `revoked`: its node
    has no rights any more, by the ledger.
    """

    sha256: Hex32
    node: Hex32
    name: str
    owner: Hex32
    serial: str | None
    subject: str | None
    not_before_ms: int | None
    not_after_ms: int
    current: bool
    revoked: bool
    known_by: Literal["authority", "self", "ledger"]


class CertificatePage(msgspec.Struct, frozen=True):
    """A page of certificates, newest first; `next_cursor` is null at the end."""

    items: list[CertificateView]
    next_cursor: str | None


class CertificateDetail(msgspec.Struct, frozen=True):
    """One certificate. `chain` is the leaf, the issuing and the root certificate in PEM, null where
    this node does not have the leaf; `revocation` is the reason that the ledger gives, null where
    the node is not revoked. `logged` is where it is in a transparency log, null where this node has
    no evidence of that; its bundle does."""

    certificate: CertificateView
    chain: list[str] | None
    revocation: str | None
    logged: LogEntry | None = None


class AuthorityView(msgspec.Struct, frozen=True):
    """Who certifies the nodes of the network: the root of genesis and the present issuing CA, each
    by the SHA-256 of its certificate and with its end. `replaced` counts the issuing CAs before;
    `believed_until_ms` is until when the last of them is still believed, null where none is.
    `here`: this node holds the authority's keys."""

    root_sha256: Hex32
    root_not_after_ms: int
    issuing_sha256: Hex32
    issuing_not_after_ms: int
    replaced: int
    believed_until_ms: int | None
    here: bool


class IssuerView(msgspec.Struct, frozen=True):
    """The issuing CA that took the place of the one before, by the SHA-256 of its certificate; in
    block `height`, by the transaction `tx`. Certificates of the one before are believed until
    `believed_until_ms`; null where that is over."""

    sha256: Hex32
    height: int
    tx: Hex32
    believed_until_ms: int | None


class IssuerRequest(Body, frozen=True):
    """`POST /v1/certificates/issuer`: why, for everybody to read, and how long certificates of the
    one before shall be believed, in milliseconds (at most a day)."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    grace_ms: Annotated[int, Meta(ge=0, le=24 * 60 * 60 * 1000)] = 10 * 60 * 1000


class RevocationRequest(Body, frozen=True):
    """`POST /v1/certificates/{node}/revoke`: why, for everybody to read."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]
