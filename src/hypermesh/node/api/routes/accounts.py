"""`/v1/accounts`: balances and transfers."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.account import AccountView, EntryPage, TransferRequest
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.ids import parse_hex


@get("/v1/accounts/me")
@prompt
def my_account(here: Node) -> AccountView:
    """The account of this node's owner."""
    return here.explorer.account(here.owner)


@get("/v1/accounts/{owner:str}")
@prompt
def account(here: Node, owner: str) -> AccountView:
    """Any account; the ledger is public to the members of its network."""
    return here.explorer.account(parse_hex(owner, 32, "owner id"))


@get("/v1/accounts/{owner:str}/entries")
@prompt
def entries(
    here: Node, owner: str, cursor: str | None = None, limit: Limit = PAGE_DEFAULT
) -> EntryPage:
    """Why an account has what it has: every movement, newest first. `me` is this node's owner."""
    whose = here.owner if owner == "me" else parse_hex(owner, 32, "owner id")
    return here.explorer.entries(whose, cursor, limit)


@post("/v1/accounts/transfer", sync_to_thread=True)
def transfer(here: Node, data: TransferRequest) -> TransactionView:
    """Pay from this node's owner's account."""
    return here.transfer(parse_hex(data.to, 32, "owner id"), data.amount, data.memo)


ROUTES: list[ControllerRouterHandler] = [my_account, account, entries, transfer]
