"""`/v1/network` and `/v1/nodes`: this node, and the others."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.access import Permission, Principal, authorize
from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.health import HealthView
from hypermesh.wire.api.network import (
    InvitationRequest,
    InvitationView,
    NodePage,
    NodeView,
    StatusView,
)


@get("/v1/network")
@prompt
def network(here: Node) -> StatusView:
    """This node in one look."""
    return here.views.status()


@post("/v1/network/invitations", sync_to_thread=True)
def invite(here: Node, data: InvitationRequest, principal: Principal) -> InvitationView:
    """Make a token that lets one machine join."""
    if data.mine:
        # It will act for the owner, also after the token that invited it has ended.
        authorize(principal, Permission.OWNER, "invite one of the owner's own machines")
    return here.invite(mine=data.mine)


@get("/v1/network/health")
@prompt
def network_health(here: Node) -> HealthView:
    """How this node and its network are: one line, and what needs to be done."""
    return here.condition.health()


@get("/v1/nodes")
@prompt
def nodes(here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT) -> NodePage:
    """The nodes that the ledger knows, with how this one hears them and how full they are."""
    return here.topology.nodes(cursor, limit)


@get("/v1/nodes/{node:str}")
@prompt
def show_node(here: Node, node: str) -> NodeView:
    """One node by its id; `me` is this one."""
    return here.topology.node(node)


ROUTES: list[ControllerRouterHandler] = [network, invite, network_health, nodes, show_node]
