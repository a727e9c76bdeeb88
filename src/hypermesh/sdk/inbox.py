"""Files from other nodes: `mesh.inbox`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.transfer import (
    SENDER_BYTES_DEFAULT,
    DeliveryDocument,
    ReceivedPage,
    ReceivedView,
    SenderLimit,
    SenderPage,
    SenderView,
)


def page(cursor: str | None) -> Call[ReceivedPage]:
    return Call(ReceivedPage, "GET", "/v1/inbox", query=given(cursor=cursor))


def proof(transfer: str) -> Call[DeliveryDocument]:
    return Call(DeliveryDocument, "GET", f"/v1/inbox/{transfer}/proof")


def senders() -> Call[SenderPage]:
    return Call(SenderPage, "GET", "/v1/inbox/senders")


def allow(owner: str, bytes_max: int) -> Call[SenderView]:
    return Call(SenderView, "PUT", f"/v1/inbox/senders/{owner}", SenderLimit(bytes_max=bytes_max))


def deny(owner: str) -> Call[SenderView]:
    return Call(SenderView, "DELETE", f"/v1/inbox/senders/{owner}", once=True)


class Inbox:
    """`mesh.inbox`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def list(self) -> Iterator[ReceivedView]:
        """Files that have come, newest first."""
        return walk(self._rest, page)

    def proof(self, transfer: str) -> DeliveryDocument:
        """The proof of what came by a transfer, under both nodes' signatures."""
        return self._rest.run(proof(transfer))

    def senders(self) -> Iterator[SenderView]:
        """Who else than the own nodes may send files here."""
        return walk(self._rest, lambda _: senders())

    def allow(self, owner: str, bytes_max: int = SENDER_BYTES_DEFAULT) -> SenderView:
        """Take files of an owner's nodes, as long as all that is here of them has at most
        `bytes_max` bytes."""
        return self._rest.run(allow(owner, bytes_max))

    def deny(self, owner: str) -> SenderView:
        """Take no more files of an owner's nodes. Those that are here stay."""
        return self._rest.run(deny(owner))


class AsyncInbox:
    """As `Inbox`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    def list(self) -> AsyncIterator[ReceivedView]:
        """As `Inbox.list`."""
        return walk_async(self._rest, page)

    async def proof(self, transfer: str) -> DeliveryDocument:
        """As `Inbox.proof`."""
        return await self._rest.run(proof(transfer))

    def senders(self) -> AsyncIterator[SenderView]:
        """As `Inbox.senders`."""
        return walk_async(self._rest, lambda _: senders())

    async def allow(self, owner: str, bytes_max: int = SENDER_BYTES_DEFAULT) -> SenderView:
        """As `Inbox.allow`."""
        return await self._rest.run(allow(owner, bytes_max))

    async def deny(self, owner: str) -> SenderView:
        """As `Inbox.deny`."""
        return await self._rest.run(deny(owner))
