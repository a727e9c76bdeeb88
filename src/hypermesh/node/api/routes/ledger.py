"""`/v1/transactions` and `/v1/blocks`: the ledger as it is."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.ledger import (
    BlockPage,
    BlockView,
    TransactionBytes,
    TransactionDetail,
    TransactionView,
)


@post("/v1/transactions")
async def submit_transaction(here: Node, data: TransactionBytes) -> TransactionView:
    """Submit a signed transaction; durable when answered."""
    return await here.submit(data.transaction)


@get("/v1/transactions/{transaction:str}")
@prompt
def one_transaction(here: Node, transaction: str) -> TransactionDetail:
    """One transaction, decoded, by its id or the first 8 or more digits of it."""
    return here.explorer.transaction(transaction)


@get("/v1/blocks")
@prompt
def blocks(here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT) -> BlockPage:
    """Blocks with their operations decoded, newest first."""
    return here.explorer.blocks(cursor, limit)


@get("/v1/blocks/{height:int}")
@prompt
def block(here: Node, height: int) -> BlockView:
    """One block."""
    return here.explorer.block(height)


ROUTES: list[ControllerRouterHandler] = [submit_transaction, one_transaction, blocks, block]
