"""`/v1/stoq/parcels`: messages to nodes that need not be up now."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, post
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.parcel import Box, ParcelDetail, ParcelPage, ParcelSend, ParcelView

Service = Annotated[int | None, Parameter(ge=0, le=0xFFFF)]


@post("/v1/stoq/parcels", sync_to_thread=True)
def send_parcel(here: Node, data: ParcelSend) -> ParcelView:
    """Send a message. It is durable when this answers, sealed for its destination, and goes by
    itself, over other nodes where they carry it, until it is delivered or expires."""
    return here.parcels.send(data)


@get("/v1/stoq/parcels")
@prompt
def parcels(
    here: Node,
    box: Box = Box.SENT,
    service: Service = None,
    cursor: str | None = None,
    limit: Limit = PAGE_DEFAULT,
) -> ParcelPage:
    """Parcels of one box, newest first; `service` chooses among the received ones."""
    return here.parcels.page(box, service, cursor, limit)


@get("/v1/stoq/parcels/{parcel:str}")
@prompt
def one_parcel(here: Node, parcel: str) -> ParcelDetail:
    """A parcel, with the message in it where it was received here."""
    return here.parcels.get(parcel)


@delete("/v1/stoq/parcels/{parcel:str}", sync_to_thread=True, status_code=200)
def remove_parcel(here: Node, parcel: str) -> ParcelView:
    """Take a received message, or a sent one whose end is known, off the list."""
    return here.parcels.remove(parcel)


ROUTES: list[ControllerRouterHandler] = [send_parcel, parcels, one_parcel, remove_parcel]
