"""Nodes and owners as people name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.network import NodeView

ID_DIGITS = 64
"""Of a whole id: 32 bytes in hex."""


def meant_node(known: Sequence[NodeView], text: str) -> NodeView:
    """The node of that name, or whose id begins so."""
    from hypermesh.wire.errors import InvalidInput, NotFound

    named = [each for each in known if each.name == text]
    found = named or [each for each in known if text and each.node.startswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(f"No node is called {text[:80]!r} or begins so", fix="See `hm node ls`")
    raise InvalidInput(
        f"{len(found)} nodes are meant by {text[:80]!r}",
        why=", ".join(f"{each.name} {each.node[:16]}" for each in found[:5]),
        fix="Give the node's id, as far as it takes",
    )


def meant_owner(here: Mesh, text: str) -> str:
    """The owner whose id begins so, or who has the node that is meant."""
    known = list(here.network.nodes())
    owners = {each.owner for each in known if text and each.owner.startswith(text)}
    if len(text) == ID_DIGITS and not owners and set(text) <= set("0123456789abcdef"):
        return text
    return owners.pop() if len(owners) == 1 else meant_node(known, text).owner
