"""Who may use a service that a node offers. Pure: the ids are what STOQ has proven."""

from __future__ import annotations

from collections.abc import Collection

from hypermesh.wire.api.tunnel import Who
from hypermesh.wire.errors import Forbidden
from hypermesh.wire.ids import NodeId, OwnerId


class ServiceRefused(Forbidden):
    """The service is not offered to the caller."""

    code = "HM-NODE-0021"
    title = "This service is not offered to you"
    remedy = "Ask its owner to name you: hm tunnel offer NAME --to ... --for OWNER"


def check(
    who: Who,
    named: Collection[bytes],
    owner: OwnerId,
    peer: NodeId,
    peer_owner: OwnerId | None,
) -> None:
    """Raise `ServiceRefused` where a service of `owner`, offered to `who`, is not for `peer`."""
    if peer_owner is not None and peer_owner == owner:
        return
    if who is Who.NETWORK:
        return
    if who is Who.MINE:
        raise ServiceRefused(why="It is for its owner's own nodes")
    if peer not in named and peer_owner not in named:
        raise ServiceRefused(why="It is for named nodes and owners")
