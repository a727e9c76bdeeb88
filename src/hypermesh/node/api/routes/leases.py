"""`/v1/leases`: what is lent and borrowed."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.lease import LeaseDetail, LeasePage, SessionView
from hypermesh.wire.api.receipt import ReceiptDocument
from hypermesh.wire.errors import Forbidden
from hypermesh.wire.ids import parse_hex


@get("/v1/leases")
@prompt
def leases(
    here: Node,
    of: Annotated[str | None, Parameter(query="state", max_length=16)] = None,
    cursor: str | None = None,
    limit: Limit = PAGE_DEFAULT,
) -> LeasePage:
    """Leases in which this node's owner lends or borrows, newest first; of one state, or those
    that are `running` or `over`."""
    return here.leases.page(of, cursor, limit)


@get("/v1/leases/{lease:str}")
@prompt
def lease(here: Node, lease: str) -> LeaseDetail:
    """One lease and its life so far, by its id or the first 8 or more digits of it."""
    return here.leases.detail(lease)


@get("/v1/leases/{lease:str}/receipt")
@prompt
def receipt(here: Node, lease: str) -> ReceiptDocument:
    """The receipt of a lease that was settled or claimed, with all that shows it: to be verified
    offline by `hm verify`."""
    return here.evidence.receipt(lease)


@get("/v1/leases/{lease:str}/session")
@prompt
def lease_session(here: Node, lease: str, is_owner: bool) -> SessionView:
    """The keys of a session that this node keeps; only over the owner's socket."""
    if not is_owner:
        raise Forbidden(
            "Session keys are given out over the owner's UNIX socket only",
            fix="Use the CLI or the SDK on this machine",
        )
    return here.borrowing.session(parse_hex(lease, 32, "lease id"))


ROUTES: list[ControllerRouterHandler] = [leases, lease, receipt, lease_session]
