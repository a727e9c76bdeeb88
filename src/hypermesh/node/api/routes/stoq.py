"""`/v1/stoq`: the transport of this node."""

from __future__ import annotations

from litestar import get
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.stoq import StoqView


@get("/v1/stoq")
@prompt
def stoq(here: Node) -> StoqView:
    """This node's endpoint: where, what it requires, its bounds, connections and refusals."""
    return here.transport.view()


ROUTES: list[ControllerRouterHandler] = [stoq]
