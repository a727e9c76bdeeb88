"""`/privacy`: who may discover and lease."""

from __future__ import annotations

from litestar import get, post, put
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.privacy import PrivacyChange, PrivacyPage, PrivacyPreview, PrivacyView
from hypermesh.wire.errors import NotAvailable


@put("/privacy/level", sync_to_thread=True)
def set_privacy(
    here: Node, data: PrivacyChange, preview: bool = False
) -> PrivacyView | PrivacyPreview:
    """Change who may discover and lease an own asset and on what terms, wherever it is hosted. With
    `preview` nothing is changed: the answer says who could see it and lease it, and why."""
    return here.owning.preview(data) if preview else here.owning.change(data)


@get("/privacy/settings")
@prompt
def privacy_settings(
    here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT
) -> PrivacyPage:
    """The terms of this owner's assets."""
    return here.owning.settings(cursor, limit)


@post("/privacy/proxy")
async def privacy_proxy() -> None:
    """A relay for a node that cannot be reached; not there yet."""
    raise NotAvailable("Relays are not there yet")


ROUTES: list[ControllerRouterHandler] = [set_privacy, privacy_settings, privacy_proxy]
