"""`/v1/stoq`: the transport of this node."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.stoq import StoqLinkPage, StoqMove, StoqMoved, StoqView


@get("/v1/stoq")
@prompt
def stoq(here: Node) -> StoqView:
    """This node's endpoint: where, what it requires, its bounds, connections and refusals."""
    return here.transport.view()


@get("/v1/stoq/connections")
@prompt
def stoq_connections(
    here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT
) -> StoqLinkPage:
    """The live connections of this node, each with its kind of path and what it waits for."""
    return here.transport.connections(cursor, limit)


@post("/v1/stoq/move", sync_to_thread=True, status_code=200)
def stoq_move(here: Node, data: StoqMove) -> StoqMoved:
    """Go to another port. Connected nodes are told before, and come back to it; connections that
    others opened end, and regions are opened again."""
    return here.moving.move(data.port)


ROUTES: list[ControllerRouterHandler] = [stoq, stoq_connections, stoq_move]
