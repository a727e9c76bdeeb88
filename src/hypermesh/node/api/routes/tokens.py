"""`/v1/network/tokens`: who may use this node's API from elsewhere."""

from __future__ import annotations

import time

from litestar import delete, get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.token import TokenCreated, TokenPage, TokenRequest, TokenView


@post("/v1/network/tokens", sync_to_thread=True)
def create_token(here: Node, data: TokenRequest) -> TokenCreated:
    """Make a bearer token with the scopes named. It is shown in this answer and never again."""
    token, view = here.tokens.create(data, _now_ms())
    return TokenCreated(token, view, here.remote)


@get("/v1/network/tokens")
@prompt
def list_tokens(here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT) -> TokenPage:
    """The tokens of this node, without their secrets."""
    return here.tokens.page(cursor, limit, _now_ms())


@delete("/v1/network/tokens/{token:str}", sync_to_thread=True, status_code=200)
def revoke_token(here: Node, token: str) -> TokenView:
    """End a token at once, by its id."""
    return here.tokens.revoke(token, _now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


ROUTES: list[ControllerRouterHandler] = [create_token, list_tokens, revoke_token]
