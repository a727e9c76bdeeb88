"""`/metrics`, `/events`, `/livez`, `/readyz`: how the node is."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.openapi import ResponseSpec
from litestar.params import HeaderParameter
from litestar.types import ControllerRouterHandler

from hypermesh.http.problem import RETRY_AFTER_S
from hypermesh.node.api.access import Permission, Principal, authorize, may
from hypermesh.node.api.eventstream import MEDIA_TYPE, EventStream
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.node.events import Place, kinds_of
from hypermesh.wire.api.event import (
    AccountEvent,
    AssetEvent,
    BlockEvent,
    EventKind,
    JobEvent,
    LeaseStateEvent,
    LiveEvent,
    NameEvent,
    NodeEvent,
    PhaseEvent,
    ResetEvent,
)

EVENTS_SPOKEN: Final = ResponseSpec(
    BlockEvent
    | AssetEvent
    | LeaseStateEvent
    | NodeEvent
    | AccountEvent
    | NameEvent
    | PhaseEvent
    | JobEvent
    | LiveEvent
    | ResetEvent,
    description="Server-sent events; the `data` of each is one of these, by its `event`",
    media_type=MEDIA_TYPE,
    generate_examples=False,
)


@get("/metrics", media_type="text/plain; version=0.0.4; charset=utf-8")
@prompt
def metrics(here: Node) -> bytes:
    """Prometheus text format."""
    return here.exposition()


@get("/metrics/performance")
@prompt
def performance(here: Node) -> dict[str, Any]:
    """Latencies of recent operations, in microseconds."""
    return here.metrics.performance()


@get("/events", media_type=MEDIA_TYPE, responses={200: EVENTS_SPOKEN})
async def events(
    here: Node,
    principal: Principal,
    since: str | None = None,
    kinds: str | None = None,
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
) -> EventStream:
    """Server-sent events: what happens on the ledger, on this node, and (`live`) how it is three
    times a second. `since` or the header `Last-Event-ID` is the id of the last event that the
    client has, and the stream goes on after it; `kinds` is a list, separated by commas."""
    resumed = last_event_id or since
    place = None if resumed is None else Place.parse(resumed)
    return EventStream(here.events.open(heard(principal, kinds), place))


def heard(principal: Principal, kinds: str | None) -> frozenset[EventKind]:
    """The kinds of events that `principal` is told of: those named, or all. Those of jobs are told
    to whom jobs are shown; raises where they are asked for by another."""
    wanted = kinds_of(kinds)
    if EventKind.JOB not in wanted or may(principal, Permission.JOBS):
        return wanted
    if kinds is not None:
        authorize(principal, Permission.JOBS, "follow the events of jobs")
    return wanted - {EventKind.JOB}


@get("/livez", media_type="text/plain")
async def livez() -> str:
    """The process answers."""
    return "ok"


@get("/readyz")
@prompt
def readyz(here: Node) -> Response[dict[str, str]]:
    """The node is of use: ledger open and followed, certificate valid, every part at work. 503
    with the reason else."""
    checks = here.readiness()
    failed = any(state != "ok" for state in checks.values())
    if not failed:
        return Response(checks)
    return Response(checks, status_code=503, headers={"retry-after": str(RETRY_AFTER_S)})


ROUTES: list[ControllerRouterHandler] = [metrics, performance, events, livez, readyz]
