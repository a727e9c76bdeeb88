"""`/v1/stoq/tunnels`: services that this node offers, and sockets that lead to those of others."""

from __future__ import annotations

from litestar import delete, get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.tunnel import (
    ServiceOffer,
    ServicePage,
    ServiceView,
    TunnelOpen,
    TunnelPage,
    TunnelView,
)


@post("/v1/stoq/tunnels/services", sync_to_thread=True)
def offer_service(here: Node, data: ServiceOffer) -> ServiceView:
    """Offer a local socket as a service of this node, also after restarts."""
    return here.services.offer(data)


@get("/v1/stoq/tunnels/services")
@prompt
def list_services(
    here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT
) -> ServicePage:
    """The services that this node offers: address, target, who may use them, what they did."""
    return here.services.page(cursor, limit)


@delete("/v1/stoq/tunnels/services/{name:str}", sync_to_thread=True, status_code=200)
def drop_service(here: Node, name: str) -> ServiceView:
    """Withdraw a service. What is open on it ends."""
    return here.services.drop(name)


@post("/v1/stoq/tunnels", sync_to_thread=True)
def open_tunnel(here: Node, data: TunnelOpen) -> TunnelView:
    """Listen at a local socket and carry each connection to a service of another node, also after
    restarts."""
    return here.tunnels.open(data)


@get("/v1/stoq/tunnels")
@prompt
def list_tunnels(here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT) -> TunnelPage:
    """The tunnels of this node: where they listen, where they lead, what they did."""
    return here.tunnels.page(cursor, limit)


@delete("/v1/stoq/tunnels/{tunnel:str}", sync_to_thread=True, status_code=200)
def close_tunnel(here: Node, tunnel: str) -> TunnelView:
    """Listen there no more. What is open on it ends."""
    return here.tunnels.close(tunnel)


ROUTES: list[ControllerRouterHandler] = [
    offer_service,
    list_services,
    drop_service,
    open_tunnel,
    list_tunnels,
    close_tunnel,
]
