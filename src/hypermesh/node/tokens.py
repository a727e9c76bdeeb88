"""The bearer tokens of a node: who may use its API from elsewhere, for what, and until when.

A token is `hm_` and 256 random bits; the node keeps only a digest of it (BLAKE3, context
`hypermesh/v1/api-token`). A fast digest is right for such a secret: there is nothing to guess that
a slow one would protect, and each request pays for it. Whoever reads the file learns no token.

All tokens are one file, replaced whole, so a change is durable when it is answered. A token that
has ended is forgotten after a month, so that until then its bearer learns why it fails.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

import msgspec

from hypermesh.crypto.digest import digest
from hypermesh.crypto.files import replace
from hypermesh.node.kept import read
from hypermesh.wire.api.token import Scope, TokenPage, TokenRequest, TokenView
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotFound
from hypermesh.wire.ids import Hash

PREFIX = "hm_"
SECRET_BYTES = 32
ID_BYTES = 8
TOKENS_MAX = 1000
ENDED_KEPT_MS = 30 * 24 * 60 * 60 * 1000


class TokensFull(HyperMeshError):
    """No room for another token."""

    code = "HM-NODE-0007"
    status = 409
    exit_code = 8
    title = f"This node keeps at most {TOKENS_MAX} tokens"
    remedy = "Revoke one with `hm token revoke`"


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a token. Times are milliseconds since 1970."""

    id: str
    digest: Hash
    name: str
    scopes: list[Scope]
    created_ms: int
    expires_ms: int


class Tokens:
    """The tokens in one file of mode 0600. Looked up by any thread, changed by one at a time."""

    def __init__(self, file: Path) -> None:
        """Raises `FileDamaged`."""
        self._file = file
        self._lock = threading.Lock()
        kept: list[Kept] = []
        if file.exists():
            kept = read(list[Kept], file, "Remove it: every token must then be made again")
        self._by_digest = {each.digest: each for each in kept}

    def find(self, token: str) -> Kept | None:
        """What is kept of `token`, ended or not; None for one that nobody has made."""
        # The time that a look-up by digest takes tells nothing of any token.
        return self._by_digest.get(_digest(token))

    def create(self, request: TokenRequest, now_ms: int) -> tuple[str, TokenView]:
        """Make a token: itself, for this once, and what is kept of it. Raises `TokensFull`,
        `InvalidInput`."""
        if len(set(request.scopes)) != len(request.scopes):
            raise InvalidInput("A scope is named twice")
        token = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        kept = Kept(
            id=secrets.token_hex(ID_BYTES),
            digest=_digest(token),
            name=request.name,
            scopes=sorted(request.scopes),
            created_ms=now_ms,
            expires_ms=now_ms + request.lifetime_ms,
        )
        with self._lock:
            others = [each for each in self._by_digest.values() if not _is_forgotten(each, now_ms)]
            if len(others) >= TOKENS_MAX:
                raise TokensFull
            self._replace([*others, kept])
        return token, _view(kept, now_ms)

    def page(self, cursor: str | None, limit: int, now_ms: int) -> TokenPage:
        """Tokens by ascending id, those after `cursor`."""
        kept = sorted(self._by_digest.values(), key=lambda each: each.id)
        after = [each for each in kept if cursor is None or each.id > cursor]
        items = [_view(each, now_ms) for each in after[:limit]]
        return TokenPage(items, items[-1].id if len(after) > limit else None)

    def revoke(self, token_id: str, now_ms: int) -> TokenView:
        """End a token at once and forget it; raises `NotFound`."""
        with self._lock:
            kept = list(self._by_digest.values())
            found = [each for each in kept if each.id == token_id]
            if not found:
                raise NotFound(f"There is no token {token_id[:40]!r}", fix="See `hm token ls`")
            self._replace([each for each in kept if each.id != token_id])
        return _view(found[0], now_ms)

    def _replace(self, kept: list[Kept]) -> None:
        replace(self._file, encode(kept))
        self._by_digest = {each.digest: each for each in kept}


def _digest(token: str) -> Hash:
    return digest("api-token", token.encode())


def _is_forgotten(kept: Kept, now_ms: int) -> bool:
    return kept.expires_ms + ENDED_KEPT_MS <= now_ms


def _view(kept: Kept, now_ms: int) -> TokenView:
    return TokenView(
        id=kept.id,
        name=kept.name,
        scopes=kept.scopes,
        created_ms=kept.created_ms,
        expires_ms=kept.expires_ms,
        expired=kept.expires_ms <= now_ms,
    )
