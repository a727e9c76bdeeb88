"""`/privacy`: who may discover and lease."""

from __future__ import annotations

from litestar import get, post, put
from litestar.types import ControllerRouterHandler

from hypermesh.node.composition import Node
from hypermesh.wire.api.privacy import PrivacyChange, PrivacyView
from hypermesh.wire.errors import NotAvailable


@put("/privacy/level", sync_to_thread=True)
def set_privacy(here: Node, data: PrivacyChange) -> PrivacyView:
    """Change who may discover and lease an own asset."""
    return here.lending.set_privacy(data)


@get("/privacy/settings", sync_to_thread=True)
def privacy_settings(here: Node) -> list[PrivacyView]:
    """The levels and audiences of this node's assets."""
    return here.lending.privacy()


@post("/privacy/proxy")
async def privacy_proxy() -> None:
    """A relay for a node that cannot be reached; not there yet."""
    raise NotAvailable("Relays are not there yet")


ROUTES: list[ControllerRouterHandler] = [set_privacy, privacy_settings, privacy_proxy]
