"""`/v1/stoq`: the transport of this node."""

from __future__ import annotations

from litestar import get
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.stoq import StoqLinkPage, StoqView


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


ROUTES: list[ControllerRouterHandler] = [stoq, stoq_connections]
