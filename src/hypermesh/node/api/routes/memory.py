"""`/v1/memory`: remote memory as it is used, and what its users measure."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.memory import (
    MeasurementReport,
    MeasurementTaken,
    MemoryPage,
    MemorySeries,
)
from hypermesh.wire.ids import parse_hex


@get("/v1/memory")
@prompt
def memory(here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT) -> MemoryPage:
    """Running leases of memory that this owner borrows or this node hosts, with live figures."""
    return here.memory.page(cursor, limit)


@get("/v1/memory/{lease:str}")
@prompt
def memory_series(here: Node, lease: str) -> MemorySeries:
    """One lease of memory, with what was measured on it in the last minutes."""
    return here.memory.series(parse_hex(lease, 32, "lease id"))


@post("/v1/leases/{lease:str}/measurements", sync_to_thread=True, status_code=200)
def measure(here: Node, lease: str, data: MeasurementReport) -> MeasurementTaken:
    """Report what a program of this owner measured on a lease, at most twice a second."""
    return here.memory.report(parse_hex(lease, 32, "lease id"), data)


ROUTES: list[ControllerRouterHandler] = [memory, memory_series, measure]
