"""The routes, one module a noun. Each route names the part of the node that answers and adds
nothing of its own.

Writes run in worker threads (`sync_to_thread`): what they call may wait for the ledger or for
another node. Submitting a transaction waits without a thread. Reads are `prompt`.
"""

from __future__ import annotations

import inspect
from typing import Any

from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.access import Principal
from hypermesh.node.api.routes import (
    accounts,
    assets,
    attempts,
    attestations,
    caesar,
    catalog,
    certificates,
    consensus,
    ct,
    dns,
    inbox,
    jobs,
    leases,
    ledger,
    memory,
    mfn,
    network,
    observing,
    parcels,
    planned,
    privacy,
    stoq,
    tokens,
    transfers,
    trust,
    tunnels,
)
from hypermesh.node.composition import Node

ROUTES: list[ControllerRouterHandler] = [
    *assets.ROUTES,
    *attempts.ROUTES,
    *attestations.ROUTES,
    *consensus.ROUTES,
    *privacy.ROUTES,
    *observing.ROUTES,
    *network.ROUTES,
    *leases.ROUTES,
    *jobs.ROUTES,
    *ledger.ROUTES,
    *memory.ROUTES,
    *accounts.ROUTES,
    *tokens.ROUTES,
    *tunnels.ROUTES,
    *certificates.ROUTES,
    *ct.ROUTES,
    *trust.ROUTES,
    *stoq.ROUTES,
    *dns.ROUTES,
    *transfers.ROUTES,
    *inbox.ROUTES,
    *parcels.ROUTES,
    *catalog.ROUTES,
    *caesar.ROUTES,
    *mfn.ROUTES,
    *planned.ROUTES,
]

for _route in ROUTES:
    if isinstance(_route, HTTPRouteHandler):
        # Litestar would read some of them from the wrapper that runs a function in a thread.
        _route.description = _route.description or inspect.getdoc(_route.fn)


def dependencies(node: Node) -> dict[str, Provide]:
    """What the routes ask for by name. No member of a request's body may have such a name: the
    framework would take its fault for one of ours."""

    async def here() -> Node:
        return node

    async def is_owner(scope: Any) -> bool:
        return bool(scope["state"].get("is_owner"))

    async def principal(scope: Any) -> Principal:
        found: Principal = scope["state"]["principal"]
        return found

    return {
        "here": Provide(here),
        "is_owner": Provide(is_owner),
        "principal": Provide(principal),
    }
