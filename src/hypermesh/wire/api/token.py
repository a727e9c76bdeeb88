"""Bearer tokens for the API, as the API shows them."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body

LIFETIME_DEFAULT_MS = 30 * 24 * 60 * 60 * 1000
LIFETIME_MAX_MS = 366 * 24 * 60 * 60 * 1000

Name = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$")]
TokenId = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]


class Scope(enum.StrEnum):
    """What a token lets its bearer do. None contains another."""

    READ = "read"
    """What the ledger and this node say of themselves."""
    LEASE = "lease"
    """Open and end leases, at the owner's cost."""
    JOBS = "jobs"
    """Run jobs at the owner's cost, end them, and read what they print."""
    MANAGE = "manage"
    """The rest: assets, privacy, payments, invitations, transactions."""


class TokenRequest(Body, frozen=True):
    """`POST /v1/network/tokens`. `lifetime_ms` runs from now; 30 days by default."""

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=len(Scope))]
    lifetime_ms: Annotated[int, Meta(ge=1000, le=LIFETIME_MAX_MS)] = LIFETIME_DEFAULT_MS


class TokenView(msgspec.Struct, frozen=True):
    """A token as its owner sees it: all but the token itself, which is not kept."""

    id: TokenId
    name: Name
    scopes: list[Scope]
    created_ms: int
    expires_ms: int
    expired: bool


class RemoteView(msgspec.Struct, frozen=True):
    """How to reach the API from elsewhere: the port at `url` (null where there is none), with a
    certificate for `server_name` below the network's `root_certificate` (PEM)."""

    url: str | None
    server_name: str
    root_certificate: str


class TokenCreated(msgspec.Struct, frozen=True):
    """A new token. `token` is said here and never again."""

    token: str
    view: TokenView
    remote: RemoteView


class TokenPage(msgspec.Struct, frozen=True):
    """Tokens by ascending id."""

    items: list[TokenView]
    next_cursor: TokenId | None
