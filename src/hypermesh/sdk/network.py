"""This node and the others: `mesh.network`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.health import HealthView
from hypermesh.wire.api.network import (
    InvitationRequest,
    InvitationView,
    NodePage,
    NodeView,
    StatusView,
)


def status() -> Call[StatusView]:
    return Call(StatusView, "GET", "/v1/network")


def readiness() -> Call[dict[str, str]]:
    return Call(dict[str, str], "GET", "/readyz")


def invite(*, mine: bool = False) -> Call[InvitationView]:
    body = InvitationRequest(mine=mine)
    return Call(InvitationView, "POST", "/v1/network/invitations", body, once=True)


def nodes(cursor: str | None = None) -> Call[NodePage]:
    return Call(NodePage, "GET", "/v1/nodes", query=given(cursor=cursor))


def node(named: str) -> Call[NodeView]:
    return Call(NodeView, "GET", f"/v1/nodes/{named}")


def health() -> Call[HealthView]:
    return Call(HealthView, "GET", "/v1/network/health")


class Network:
    """`mesh.network`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def status(self) -> StatusView:
        """This node in one look.

        mesh.network.status().height
        """
        return self._rest.run(status())

    def readiness(self) -> dict[str, str]:
        """What the node checks before it calls itself ready: "ok" for each, or what is wrong. A
        node that is not ready answers with `AnswerInvalid`."""
        return self._rest.run(readiness())

    def invite(self, *, mine: bool = False) -> InvitationView:
        """A token that lets one machine join; with `mine` it joins under this node's owner."""
        return self._rest.run(invite(mine=mine))

    def nodes(self) -> Iterator[NodeView]:
        """The nodes that the ledger knows, with how this one hears them and how full they are."""
        return walk(self._rest, nodes)

    def node(self, named: str = "me") -> NodeView:
        """One node by its id in hex; this one by default."""
        return self._rest.run(node(named))

    def health(self) -> HealthView:
        """How this node and its network are: one line, and what needs to be done."""
        return self._rest.run(health())


class AsyncNetwork:
    """As `Network`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def status(self) -> StatusView:
        """As `Network.status`."""
        return await self._rest.run(status())

    async def readiness(self) -> dict[str, str]:
        """As `Network.readiness`."""
        return await self._rest.run(readiness())

    async def invite(self, *, mine: bool = False) -> InvitationView:
        """As `Network.invite`."""
        return await self._rest.run(invite(mine=mine))

    def nodes(self) -> AsyncIterator[NodeView]:
        """As `Network.nodes`."""
        return walk_async(self._rest, nodes)

    async def node(self, named: str = "me") -> NodeView:
        """As `Network.node`."""
        return await self._rest.run(node(named))

    async def health(self) -> HealthView:
        """As `Network.health`."""
        return await self._rest.run(health())
