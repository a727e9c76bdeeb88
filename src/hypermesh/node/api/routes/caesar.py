"""`/v1/caesar`: the economy of the network."""

from __future__ import annotations

from litestar import get
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.caesar import CaesarView


@get("/v1/caesar")
@prompt
def caesar(here: Node) -> CaesarView:
    """Supply, fees, escrows and bonds at the last height, and whether they add up."""
    return here.economy.view()


ROUTES: list[ControllerRouterHandler] = [caesar]
