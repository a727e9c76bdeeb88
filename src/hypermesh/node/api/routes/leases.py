"""`/v1/leases`: what is lent and borrowed."""

from __future__ import annotations

from litestar import get
from litestar.types import ControllerRouterHandler

from hypermesh.node.composition import Node
from hypermesh.wire.api.lease import LeaseView, SessionView
from hypermesh.wire.errors import Forbidden
from hypermesh.wire.ids import parse_hex


@get("/v1/leases", sync_to_thread=True)
def leases(here: Node) -> list[LeaseView]:
    """Leases in which this node's owner lends or borrows."""
    return here.views.leases()


@get("/v1/leases/{lease:str}/session", sync_to_thread=True)
def lease_session(here: Node, lease: str, is_owner: bool) -> SessionView:
    """The keys of a session that this node keeps; only over the owner's socket."""
    if not is_owner:
        raise Forbidden(
            "Session keys are given out over the owner's UNIX socket only",
            fix="Use the CLI or the SDK on this machine",
        )
    return here.borrowing.session(parse_hex(lease, 32, "lease id"))


ROUTES: list[ControllerRouterHandler] = [leases, lease_session]
