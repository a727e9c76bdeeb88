"""What the own node can run: `mesh.catalog`."""

from __future__ import annotations

from hypermesh.sdk.call import Call
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.catalog import CatalogView


def get() -> Call[CatalogView]:
    return Call(CatalogView, "GET", "/v1/catalog")


class Catalog:
    """`mesh.catalog`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def get(self) -> CatalogView:
        """Its engines, how each isolates, and what keeps the limits of jobs.

        [each.name for each in mesh.catalog.get().engines if each.available]
        """
        return self._rest.run(get())


class AsyncCatalog:
    """As `Catalog`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def get(self) -> CatalogView:
        """As `Catalog.get`."""
        return await self._rest.run(get())
