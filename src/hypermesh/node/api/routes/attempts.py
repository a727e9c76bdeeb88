"""`/v1/attempts`: attacks on the own network, to see them refused."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.attempt import AttemptOrder, AttemptPage, AttemptResult
from hypermesh.wire.ids import hex_bytes


@get("/v1/attempts")
@prompt
def attempts(here: Node) -> AttemptPage:
    """Every attempt with the bytes that it would send now."""
    return AttemptPage(here.cheating.all(), None)


@post("/v1/attempts/{name:str}", sync_to_thread=True, status_code=200)
def attempt(here: Node, name: str, data: AttemptOrder) -> AttemptResult:
    """Carry one out against the own network."""
    content = None if data.content is None else hex_bytes(data.content, "content")
    return here.cheating.run(name, content)


ROUTES: list[ControllerRouterHandler] = [attempts, attempt]
