"""Bearer tokens for the own node's API: `mesh.tokens`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.token import (
    LIFETIME_DEFAULT_MS,
    Scope,
    TokenCreated,
    TokenPage,
    TokenRequest,
    TokenView,
)


def create(
    name: str, scopes: Iterable[Scope], lifetime_ms: int = LIFETIME_DEFAULT_MS
) -> Call[TokenCreated]:
    # Not `once`: the node keeps no answer with a token in it, so asking again cannot repeat it.
    body = TokenRequest(name=name, scopes=list(scopes), lifetime_ms=lifetime_ms)
    return Call(TokenCreated, "POST", "/v1/network/tokens", body)


def page(cursor: str | None) -> Call[TokenPage]:
    return Call(TokenPage, "GET", "/v1/network/tokens", query=given(cursor=cursor))


def revoke(token_id: str) -> Call[TokenView]:
    return Call(TokenView, "DELETE", f"/v1/network/tokens/{token_id}", once=True)


class Tokens:
    """`mesh.tokens`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def create(
        self, name: str, scopes: Iterable[Scope], lifetime_ms: int = LIFETIME_DEFAULT_MS
    ) -> TokenCreated:
        """Make a token; what it is stands in this answer alone.

        mesh.tokens.create("laptop", [Scope.READ]).token
        """
        return self._rest.run(create(name, scopes, lifetime_ms))

    def list(self) -> Iterator[TokenView]:
        """The tokens of this node, without their secrets."""
        yield from walk(self._rest, page)

    def revoke(self, token_id: str) -> TokenView:
        """End a token at once."""
        return self._rest.run(revoke(token_id))


class AsyncTokens:
    """As `Tokens`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def create(
        self, name: str, scopes: Iterable[Scope], lifetime_ms: int = LIFETIME_DEFAULT_MS
    ) -> TokenCreated:
        """As `Tokens.create`."""
        return await self._rest.run(create(name, scopes, lifetime_ms))

    async def list(self) -> AsyncIterator[TokenView]:
        """As `Tokens.list`."""
        async for token in walk_async(self._rest, page):
            yield token

    async def revoke(self, token_id: str) -> TokenView:
        """As `Tokens.revoke`."""
        return await self._rest.run(revoke(token_id))
