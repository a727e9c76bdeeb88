"""`/v1/accounts`: balances and transfers."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.composition import Node
from hypermesh.wire.api.account import AccountView, TransferRequest
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.ids import parse_hex


@get("/v1/accounts/me", sync_to_thread=True)
def my_account(here: Node) -> AccountView:
    """The account of this node's owner."""
    return here.views.account(here.owner)


@get("/v1/accounts/{owner:str}", sync_to_thread=True)
def account(here: Node, owner: str) -> AccountView:
    """Any account; the ledger is public to the members of its network."""
    return here.views.account(parse_hex(owner, 32, "owner id"))


@post("/v1/accounts/transfer", sync_to_thread=True)
def transfer(here: Node, data: TransferRequest) -> TransactionView:
    """Pay from this node's owner's account."""
    return here.transfer(parse_hex(data.to, 32, "owner id"), data.amount, data.memo)


ROUTES: list[ControllerRouterHandler] = [my_account, account, transfer]
