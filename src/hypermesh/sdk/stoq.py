"""The transport of the own node: `mesh.stoq`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.stoq import StoqLink, StoqLinkPage, StoqMove, StoqMoved, StoqView


def status() -> Call[StoqView]:
    return Call(StoqView, "GET", "/v1/stoq")


def page(cursor: str | None = None) -> Call[StoqLinkPage]:
    return Call(StoqLinkPage, "GET", "/v1/stoq/connections", query=given(cursor=cursor))


def move(port: int = 0) -> Call[StoqMoved]:
    return Call(StoqMoved, "POST", "/v1/stoq/move", StoqMove(port), once=True)


class Stoq:
    """`mesh.stoq`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def status(self) -> StoqView:
        """The endpoint: where, what it requires, its bounds, connections and refusals.

        mesh.stoq.status().connections_open
        """
        return self._rest.run(status())

    def connections(self) -> Iterator[StoqLink]:
        """The live connections, oldest first, each with its kind of path and what it waits for.

        {each.name: each.path.waits_for for each in mesh.stoq.connections() if each.path}
        """
        return walk(self._rest, page)

    def move(self, port: int = 0) -> StoqMoved:
        """Go to another UDP port; 0 asks the system for one. Connected nodes are told before and
        come back; what they had open on connections of theirs ends."""
        return self._rest.run(move(port))


class AsyncStoq:
    """As `Stoq`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def status(self) -> StoqView:
        """As `Stoq.status`."""
        return await self._rest.run(status())

    def connections(self) -> AsyncIterator[StoqLink]:
        """As `Stoq.connections`."""
        return walk_async(self._rest, page)

    async def move(self, port: int = 0) -> StoqMoved:
        """As `Stoq.move`."""
        return await self._rest.run(move(port))
