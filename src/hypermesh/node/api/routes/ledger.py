"""`/v1/transactions` and `/v1/blocks`: the ledger as it is."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.composition import Node
from hypermesh.wire.api.ledger import BlockView, TransactionBytes, TransactionView


@post("/v1/transactions")
async def submit_transaction(here: Node, data: TransactionBytes) -> TransactionView:
    """Submit a signed transaction; durable when answered."""
    return await here.submit(data.transaction)


@get("/v1/blocks/{height:int}", sync_to_thread=True)
def block(here: Node, height: int) -> BlockView:
    """One block."""
    return here.views.block(height)


ROUTES: list[ControllerRouterHandler] = [submit_transaction, block]
