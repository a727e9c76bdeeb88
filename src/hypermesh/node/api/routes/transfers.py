"""`/v1/transfers`: files sent to other nodes."""

from __future__ import annotations

import asyncio
from typing import Annotated

from litestar import delete, get, post
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.transfer import (
    DeliveryDocument,
    SendRequest,
    TransferPage,
    TransferState,
    TransferView,
)

WAIT_MS_MAX = 30_000

Wait = Annotated[int, Parameter(ge=0, le=WAIT_MS_MAX)]
Seen = Annotated[int, Parameter(ge=0, le=2**53)]


@post("/v1/transfers", sync_to_thread=True, status_code=202)
def send_file(here: Node, data: SendRequest) -> TransferView:
    """Send a file of this machine to another node. It is kept when this answers, and tried until it
    is there."""
    return here.sending.submit(data)


@get("/v1/transfers")
@prompt
def list_transfers(
    here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT
) -> TransferPage:
    """Files sent from here, newest first."""
    return here.sending.page(cursor, limit)


@get("/v1/transfers/{transfer:str}")
async def one_transfer(
    here: Node,
    transfer: str,
    wait_ms: Wait = 0,
    seen: TransferState | None = None,
    done: Seen = 0,
) -> TransferView:
    """A transfer. Where it is still in the state `seen` with `done` bytes dealt with, this waits up
    to `wait_ms` for more."""
    known = None if seen is None else (seen.value, done)
    return await asyncio.to_thread(here.sending.get, transfer, wait_ms, known)


@get("/v1/transfers/{transfer:str}/proof")
@prompt
def transfer_proof(here: Node, transfer: str) -> DeliveryDocument:
    """The proof that a file was delivered, under the signatures of both nodes."""
    return here.sending.proof(transfer)


@delete("/v1/transfers/{transfer:str}", status_code=200, sync_to_thread=True)
def cancel_transfer(here: Node, transfer: str) -> TransferView:
    """Cancel a transfer. One that is over stays as it is."""
    return here.sending.cancel(transfer)


ROUTES: list[ControllerRouterHandler] = [
    send_file,
    list_transfers,
    one_transfer,
    transfer_proof,
    cancel_transfer,
]
