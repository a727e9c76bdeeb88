"""Tunnels of the own node: `mesh.tunnels`. Services that it offers, and local sockets that lead to
services of other nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from urllib.parse import quote

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.tunnel import (
    LIMIT_DEFAULT,
    ServiceOffer,
    ServicePage,
    ServiceView,
    TunnelOpen,
    TunnelPage,
    TunnelView,
    Who,
)

_PATH = "/v1/stoq/tunnels"


def offer(
    name: str, to: str, who: Who = Who.MINE, named: Iterable[str] = (), limit: int = LIMIT_DEFAULT
) -> Call[ServiceView]:
    body = ServiceOffer(name=name, to=to, who=who, named=list(named), limit=limit)
    return Call(ServiceView, "POST", f"{_PATH}/services", body, once=True)


def services_page(cursor: str | None) -> Call[ServicePage]:
    return Call(ServicePage, "GET", f"{_PATH}/services", query=given(cursor=cursor))


def drop(name: str) -> Call[ServiceView]:
    path = f"{_PATH}/services/{quote(name, safe='')}"
    return Call(ServiceView, "DELETE", path, once=True)


def open_(address: str, listen: str, limit: int = LIMIT_DEFAULT) -> Call[TunnelView]:
    body = TunnelOpen(address=address, listen=listen, limit=limit)
    return Call(TunnelView, "POST", _PATH, body, once=True)


def page(cursor: str | None) -> Call[TunnelPage]:
    return Call(TunnelPage, "GET", _PATH, query=given(cursor=cursor))


def close(tunnel_id: str) -> Call[TunnelView]:
    return Call(TunnelView, "DELETE", f"{_PATH}/{quote(tunnel_id, safe='')}", once=True)


class Tunnels:
    """`mesh.tunnels`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def offer(
        self,
        name: str,
        to: str,
        who: Who = Who.MINE,
        named: Iterable[str] = (),
        limit: int = LIMIT_DEFAULT,
    ) -> ServiceView:
        """Offer a local socket (`tcp:[::1]:5432`, `udp:...`, `unix:/path`) as a service; `named`
        are ids of nodes and owners.

        mesh.tunnels.offer("db", "tcp:[::1]:5432").address
        """
        return self._rest.run(offer(name, to, who, named, limit))

    def services(self) -> Iterator[ServiceView]:
        """The services that this node offers."""
        yield from walk(self._rest, services_page)

    def drop(self, name: str) -> ServiceView:
        """Withdraw a service; what is open on it ends."""
        return self._rest.run(drop(name))

    def open(self, address: str, listen: str, limit: int = LIMIT_DEFAULT) -> TunnelView:
        """Carry whoever connects at `listen` to the service at `address`. With port 0 the system
        chooses one.

        mesh.tunnels.open(service, "tcp:[::1]:15432").listen
        """
        return self._rest.run(open_(address, listen, limit))

    def list(self) -> Iterator[TunnelView]:
        """The tunnels of this node."""
        yield from walk(self._rest, page)

    def close(self, tunnel_id: str) -> TunnelView:
        """Listen there no more; what is open on it ends."""
        return self._rest.run(close(tunnel_id))


class AsyncTunnels:
    """As `Tunnels`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def offer(
        self,
        name: str,
        to: str,
        who: Who = Who.MINE,
        named: Iterable[str] = (),
        limit: int = LIMIT_DEFAULT,
    ) -> ServiceView:
        """As `Tunnels.offer`."""
        return await self._rest.run(offer(name, to, who, named, limit))

    async def services(self) -> AsyncIterator[ServiceView]:
        """As `Tunnels.services`."""
        async for service in walk_async(self._rest, services_page):
            yield service

    async def drop(self, name: str) -> ServiceView:
        """As `Tunnels.drop`."""
        return await self._rest.run(drop(name))

    async def open(self, address: str, listen: str, limit: int = LIMIT_DEFAULT) -> TunnelView:
        """As `Tunnels.open`."""
        return await self._rest.run(open_(address, listen, limit))

    async def list(self) -> AsyncIterator[TunnelView]:
        """As `Tunnels.list`."""
        async for tunnel in walk_async(self._rest, page):
            yield tunnel

    async def close(self, tunnel_id: str) -> TunnelView:
        """As `Tunnels.close`."""
        return await self._rest.run(close(tunnel_id))
