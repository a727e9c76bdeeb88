"""Paths of the design whose part does not exist yet: told apart from paths that nobody knows."""

from __future__ import annotations

from litestar import get
from litestar.types import ControllerRouterHandler

from hypermesh.wire.errors import NotAvailable

PLANNED = {
    "proxy": "Relays are",
    "senate": "Governance is",
    "ngauge": "Rewards for engagement are",
}


def planned(name: str, what: str) -> ControllerRouterHandler:
    """The route that says so."""

    async def answer() -> None:
        raise NotAvailable(f"{what} not there yet")

    return get(
        f"/v1/{name}",
        name=name,
        operation_id=name,
        summary="Not there yet",
        description=f"{what} not there yet.",
        status_code=NotAvailable.status,
    )(answer)


ROUTES: list[ControllerRouterHandler] = [planned(name, what) for name, what in PLANNED.items()]
