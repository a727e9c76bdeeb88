"""`/v1/network` and `/v1/nodes`: this node, and the others."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.composition import Node
from hypermesh.wire.api.network import InvitationRequest, InvitationView, NodeView, StatusView


@get("/v1/network", sync_to_thread=True)
def network(here: Node) -> StatusView:
    """This node in one look."""
    return here.views.status()


@post("/v1/network/invitations", sync_to_thread=True)
def invite(here: Node, data: InvitationRequest) -> InvitationView:
    """Make a token that lets one machine join."""
    return here.invite(mine=data.mine)


@get("/v1/nodes", sync_to_thread=True)
def nodes(here: Node) -> list[NodeView]:
    """The nodes that the ledger knows."""
    return here.views.nodes()


ROUTES: list[ControllerRouterHandler] = [network, invite, nodes]
