"""Messages to nodes that need not be up now: `mesh.parcels`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.parcel import (
    LIFETIME_MS_DEFAULT,
    Box,
    ParcelDetail,
    ParcelPage,
    ParcelSend,
    ParcelView,
)

SEND_S = 60.0
"""Whoever knows the sealing key may have to be asked, and some may be away."""


def send(
    to: str, body: bytes, service: int | None = None, lifetime_ms: int = LIFETIME_MS_DEFAULT
) -> Call[ParcelView]:
    order = ParcelSend(to=to, body=body, service=service, lifetime_ms=lifetime_ms)
    return Call(ParcelView, "POST", "/v1/stoq/parcels", order, timeout_s=SEND_S, once=True)


def page(box: Box, service: int | None = None, cursor: str | None = None) -> Call[ParcelPage]:
    query = given(box=box.value, service=service, cursor=cursor)
    return Call(ParcelPage, "GET", "/v1/stoq/parcels", query=query)


def get(parcel: str) -> Call[ParcelDetail]:
    return Call(ParcelDetail, "GET", f"/v1/stoq/parcels/{parcel}")


def remove(parcel: str) -> Call[ParcelView]:
    return Call(ParcelView, "DELETE", f"/v1/stoq/parcels/{parcel}", once=True)


class Parcels:
    """`mesh.parcels`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def send(
        self,
        to: str,
        body: bytes,
        service: int | None = None,
        lifetime_ms: int = LIFETIME_MS_DEFAULT,
    ) -> ParcelView:
        """Send `body` to the node `to`, its id in hex or an address. It is durable at this node
        when this returns; `get` says how far it has come.

        mesh.parcels.send(node.node, b"hello", service=9)
        """
        return self._rest.run(send(to, body, service, lifetime_ms))

    def list(self, box: Box = Box.RECEIVED, service: int | None = None) -> Iterator[ParcelView]:
        """Parcels of one box, newest first; `service` chooses among the received ones."""
        return walk(self._rest, lambda cursor: page(box, service, cursor))

    def get(self, parcel: str) -> ParcelDetail:
        """One parcel by its id in hex, with its body where it was received."""
        return self._rest.run(get(parcel))

    def remove(self, parcel: str) -> ParcelView:
        """Take a received message, or a sent one whose end is known, off the list."""
        return self._rest.run(remove(parcel))


class AsyncParcels:
    """As `Parcels`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def send(
        self,
        to: str,
        body: bytes,
        service: int | None = None,
        lifetime_ms: int = LIFETIME_MS_DEFAULT,
    ) -> ParcelView:
        """As `Parcels.send`."""
        return await self._rest.run(send(to, body, service, lifetime_ms))

    def list(
        self, box: Box = Box.RECEIVED, service: int | None = None
    ) -> AsyncIterator[ParcelView]:
        """As `Parcels.list`."""
        return walk_async(self._rest, lambda cursor: page(box, service, cursor))

    async def get(self, parcel: str) -> ParcelDetail:
        """As `Parcels.get`."""
        return await self._rest.run(get(parcel))

    async def remove(self, parcel: str) -> ParcelView:
        """As `Parcels.remove`."""
        return await self._rest.run(remove(parcel))
