"""The names of the mesh: `mesh.dns`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.dns import (
    DnsLabel,
    DnsLabelChange,
    DnsLabelPage,
    DnsName,
    DnsNamePage,
    DnsPhaseChange,
    DnsResolved,
    DnsView,
)
from hypermesh.wire.api.ledger import TransactionView


def status() -> Call[DnsView]:
    return Call(DnsView, "GET", "/v1/dns")


def page(cursor: str | None = None) -> Call[DnsNamePage]:
    return Call(DnsNamePage, "GET", "/v1/dns/names", query=given(cursor=cursor))


def resolve(name: str, kind: str = "AAAA") -> Call[DnsResolved]:
    return Call(DnsResolved, "GET", "/v1/dns/resolve", query=given(name=name, type=kind))


def switch(phase: int) -> Call[DnsView]:
    return Call(DnsView, "PUT", "/v1/dns/phase", DnsPhaseChange(phase))


def labels_page(cursor: str | None = None) -> Call[DnsLabelPage]:
    return Call(DnsLabelPage, "GET", "/v1/dns/labels", query=given(cursor=cursor))


def name(label: str, *, node: str | None = None, asset: str | None = None) -> Call[TransactionView]:
    body = DnsLabelChange(node, asset)
    return Call(TransactionView, "PUT", f"/v1/dns/labels/{label}", body, once=True)


def drop(label: str) -> Call[TransactionView]:
    return Call(TransactionView, "DELETE", f"/v1/dns/labels/{label}", once=True)


class Dns:
    """`mesh.dns`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def status(self) -> DnsView:
        """The name server of the own node: where, in which phase, its zones and their height.

        mesh.dns.status().phase
        """
        return self._rest.run(status())

    def list(self) -> Iterator[DnsName]:
        """The names of the network's zone, each behind the one above it, with what is at them.

        [each.name for each in mesh.dns.list()]
        """
        return walk(self._rest, page)

    def resolve(self, name: str, kind: str = "AAAA") -> DnsResolved:
        """What a name has of a type (`AAAA`, `TXT`, `SVCB`, ...), and which source said so.

        mesh.dns.resolve("trust.hypermesh.online").data
        """
        return self._rest.run(resolve(name, kind))

    def switch(self, phase: int) -> DnsView:
        """Have names of the mesh answered by 0 traditional DNS, 1 both, 2 the ledger first, 3 the
        ledger only; kept over restarts."""
        return self._rest.run(switch(phase))

    def labels(self) -> Iterator[DnsLabel]:
        """What owners call their nodes and assets, by the ledger."""
        return walk(self._rest, labels_page)

    def name(
        self, label: str, *, node: str | None = None, asset: str | None = None
    ) -> TransactionView:
        """Call the own node or asset with that id `label` in the zone of the network; on the ledger
        when this returns."""
        return self._rest.run(name(label, node=node, asset=asset))

    def drop(self, label: str) -> TransactionView:
        """Give a label up."""
        return self._rest.run(drop(label))


class AsyncDns:
    """As `Dns`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def status(self) -> DnsView:
        """As `Dns.status`."""
        return await self._rest.run(status())

    def list(self) -> AsyncIterator[DnsName]:
        """As `Dns.list`."""
        return walk_async(self._rest, page)

    async def resolve(self, name: str, kind: str = "AAAA") -> DnsResolved:
        """As `Dns.resolve`."""
        return await self._rest.run(resolve(name, kind))

    async def switch(self, phase: int) -> DnsView:
        """As `Dns.switch`."""
        return await self._rest.run(switch(phase))

    def labels(self) -> AsyncIterator[DnsLabel]:
        """As `Dns.labels`."""
        return walk_async(self._rest, labels_page)

    async def name(
        self, label: str, *, node: str | None = None, asset: str | None = None
    ) -> TransactionView:
        """As `Dns.name`."""
        return await self._rest.run(name(label, node=node, asset=asset))

    async def drop(self, label: str) -> TransactionView:
        """As `Dns.drop`."""
        return await self._rest.run(drop(label))
