"""`/metrics`, `/events`, `/livez`, `/readyz`: how the node is."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, get
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.eventstream import MEDIA_TYPE, EventStream
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.node.events import Place, kinds_of


@get("/metrics", media_type="text/plain; version=0.0.4; charset=utf-8")
@prompt
def metrics(here: Node) -> bytes:
    """Prometheus text format."""
    return here.metrics.exposition()


@get("/metrics/performance")
@prompt
def performance(here: Node) -> dict[str, Any]:
    """Latencies of recent operations, in microseconds."""
    return here.metrics.performance()


@get("/events", media_type=MEDIA_TYPE)
async def events(
    here: Node,
    since: str | None = None,
    kinds: str | None = None,
    last_event_id: Annotated[str | None, Parameter(header="Last-Event-ID")] = None,
) -> EventStream:
    """Server-sent events: what happens on the ledger, on this node, and (`live`) how it is three
    times a second. `since` or the header `Last-Event-ID` is the id of the last event that the
    client has, and the stream goes on after it; `kinds` is a list, separated by commas."""
    resumed = last_event_id or since
    place = None if resumed is None else Place.parse(resumed)
    return EventStream(here.events.open(kinds_of(kinds), place))


@get("/livez")
async def livez() -> Response[str]:
    """The process answers."""
    return Response("ok", media_type="text/plain")


@get("/readyz")
@prompt
def readyz(here: Node) -> Response[dict[str, str]]:
    """The node is of use: ledger open and followed, certificate valid. 503 with the reason else."""
    checks = here.readiness()
    failed = any(state != "ok" for state in checks.values())
    return Response(checks, status_code=503 if failed else 200)


ROUTES: list[ControllerRouterHandler] = [metrics, performance, events, livez, readyz]
