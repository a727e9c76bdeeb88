"""`/v1/inbox`: files that other nodes sent here."""

from __future__ import annotations

import asyncio

from litestar import delete, get, put
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.transfer import (
    DeliveryDocument,
    ReceivedPage,
    SenderLimit,
    SenderPage,
    SenderView,
)


@get("/v1/inbox")
@prompt
def list_inbox(here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT) -> ReceivedPage:
    """Files that have come, newest first."""
    return here.inbox.page(cursor, limit)


@get("/v1/inbox/{transfer:str}/proof")
@prompt
def inbox_proof(here: Node, transfer: str) -> DeliveryDocument:
    """The proof of what came by a transfer, under the signatures of both nodes."""
    return here.inbox.proof(transfer)


@get("/v1/inbox/senders")
@prompt
def list_senders(here: Node) -> SenderPage:
    """Who else than the owner's own nodes may send files here."""
    return here.inbox.senders()


@put("/v1/inbox/senders/{owner:str}")
async def allow_sender(here: Node, owner: str, data: SenderLimit) -> SenderView:
    """Take files of the nodes of this owner."""
    return await asyncio.to_thread(here.inbox.allow, owner, data)


@delete("/v1/inbox/senders/{owner:str}", status_code=200, sync_to_thread=True)
def deny_sender(here: Node, owner: str) -> SenderView:
    """Take no more files of the nodes of this owner. Those that are here stay."""
    return here.inbox.deny(owner)


ROUTES: list[ControllerRouterHandler] = [
    list_inbox,
    inbox_proof,
    list_senders,
    allow_sender,
    deny_sender,
]
