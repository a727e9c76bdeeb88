"""The transport of the own node: `mesh.stoq`."""

from __future__ import annotations

from hypermesh.sdk.call import Call
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.stoq import StoqView


def status() -> Call[StoqView]:
    return Call(StoqView, "GET", "/v1/stoq")


class Stoq:
    """`mesh.stoq`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def status(self) -> StoqView:
        """The endpoint: where, what it requires, its bounds, connections and refusals.

        mesh.stoq.status().connections_open
        """
        return self._rest.run(status())


class AsyncStoq:
    """As `Stoq`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def status(self) -> StoqView:
        """As `Stoq.status`."""
        return await self._rest.run(status())
