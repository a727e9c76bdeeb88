"""`/v1/catalog`: what this node can run."""

from __future__ import annotations

from litestar import get
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.catalog import CatalogView


@get("/v1/catalog")
@prompt
def catalog(here: Node) -> CatalogView:
    """The engines of this node, how each isolates, and what keeps the limits of jobs."""
    return here.offering.view()


ROUTES: list[ControllerRouterHandler] = [catalog]
