"""The layer between the routing and a route: lets pass whom `access` lets pass."""

from __future__ import annotations

from litestar.types import ASGIApp, Receive, Scope, Send

from hypermesh.node.api.access import authorize
from hypermesh.node.api.permissions import permission


class Authority:
    """An ASGI layer of every route; the guard of the listener has put the principal into the
    scope."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]  # type: ignore[typeddict-item]
        action = permission(method, scope["path_template"])
        authorize(scope["state"]["principal"], action, f"{method} {scope['path']}")
        await self._app(scope, receive, send)
