"""`/metrics`, `/events`, `/livez`, `/readyz`: how the node is."""

from __future__ import annotations

from typing import Any

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from hypermesh.node.composition import Node
from hypermesh.wire.errors import NotAvailable


@get("/metrics", media_type="text/plain; version=0.0.4; charset=utf-8", sync_to_thread=True)
def metrics(here: Node) -> bytes:
    """Prometheus text format."""
    return here.metrics.exposition()


@get("/metrics/performance", sync_to_thread=True)
def performance(here: Node) -> dict[str, Any]:
    """Latencies of recent operations, in microseconds."""
    return here.metrics.performance()


@get("/events")
async def events() -> None:
    """Server-sent events; not there yet."""
    raise NotAvailable("The event stream is not there yet")


@get("/livez")
async def livez() -> Response[str]:
    """The process answers."""
    return Response("ok", media_type="text/plain")


@get("/readyz", sync_to_thread=True)
def readyz(here: Node) -> Response[dict[str, str]]:
    """The node is of use: ledger open and followed, certificate valid. 503 with the reason else."""
    checks = here.readiness()
    failed = any(state != "ok" for state in checks.values())
    return Response(checks, status_code=503 if failed else 200)


ROUTES: list[ControllerRouterHandler] = [metrics, performance, events, livez, readyz]
