"""`/v1/mfn`: what the router has learned."""

from __future__ import annotations

from litestar import get
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.mfn import RoutePage


@get("/v1/mfn")
@prompt
def routes(here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT) -> RoutePage:
    """What this node has learned of the hosts that run its jobs, since it was started."""
    return here.placing.routes(cursor, limit)


ROUTES: list[ControllerRouterHandler] = [routes]
