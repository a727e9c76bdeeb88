"""The transport of the own node: `mesh.stoq`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.stoq import StoqLink, StoqLinkPage, StoqView


def status() -> Call[StoqView]:
    return Call(StoqView, "GET", "/v1/stoq")


def page(cursor: str | None = None) -> Call[StoqLinkPage]:
    return Call(StoqLinkPage, "GET", "/v1/stoq/connections", query=given(cursor=cursor))


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
