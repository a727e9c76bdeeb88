"""What the own node has learned of the hosts that run its jobs: `mesh.mfn`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.mfn import RoutePage, RouteView


def page(cursor: str | None = None) -> Call[RoutePage]:
    return Call(RoutePage, "GET", "/v1/mfn", query=given(cursor=cursor))


class Mfn:
    """`mesh.mfn`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def list(self) -> Iterator[RouteView]:
        """Every host that the router knows, by ascending id, with what it chooses by.

        {each.host_name: each.expected_us for each in mesh.mfn.list()}
        """
        return walk(self._rest, page)


class AsyncMfn:
    """As `Mfn`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    def list(self) -> AsyncIterator[RouteView]:
        """As `Mfn.list`."""
        return walk_async(self._rest, page)
