"""Files to other nodes: `mesh.transfer`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

# Their import enters what a transfer can fail with into the catalogue of errors.
import hypermesh.stoq.errors
import hypermesh.stoq.transfer.errors  # noqa: F401
from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.transfer import (
    FINAL,
    DeliveryDocument,
    SendRequest,
    TransferPage,
    TransferView,
)

WAIT_S = 20.0
"""How long one request waits for news of a transfer."""
WAIT_SPARE_S = 10.0
CANCEL_S = 60.0

Watcher = Callable[[TransferView], None]
"""Told whenever a transfer is further."""


def submit(path: Path | str, to: str) -> Call[TransferView]:
    request = SendRequest(path=str(Path(path).absolute()), to=to)
    return Call(TransferView, "POST", "/v1/transfers", request, once=True)


def get(transfer: str) -> Call[TransferView]:
    return Call(TransferView, "GET", f"/v1/transfers/{transfer}")


def news(view: TransferView) -> Call[TransferView]:
    """What is new since `view`; waits for it."""
    query = given(wait_ms=int(WAIT_S * 1000), seen=view.state.value, done=view.done)
    path = f"/v1/transfers/{view.transfer}"
    return Call(TransferView, "GET", path, query=query, timeout_s=WAIT_S + WAIT_SPARE_S)


def page(cursor: str | None) -> Call[TransferPage]:
    return Call(TransferPage, "GET", "/v1/transfers", query=given(cursor=cursor))


def proof(transfer: str) -> Call[DeliveryDocument]:
    return Call(DeliveryDocument, "GET", f"/v1/transfers/{transfer}/proof")


def cancel(transfer: str) -> Call[TransferView]:
    return Call(TransferView, "DELETE", f"/v1/transfers/{transfer}", timeout_s=CANCEL_S)


class Sent:
    """A file that was given to the node to be sent: it goes on whether or not this object lives.

    for view in mesh.transfer.submit("results.tar", "lender").progress():
        print(view.done, view.size)
    """

    def __init__(self, rest: Rest, view: TransferView) -> None:
        self._rest = rest
        self.view = view
        """As it was when the node was last asked."""

    @property
    def id(self) -> str:
        return self.view.transfer

    def refresh(self) -> TransferView:
        """It as it is now."""
        self.view = self._rest.run(get(self.id))
        return self.view

    def progress(self) -> Iterator[TransferView]:
        """It as it is now, and again whenever it is further, until it is over."""
        yield self.refresh()
        while self.view.state not in FINAL:
            seen = self.view
            self.view = self._rest.run(news(seen))
            if self.view != seen:
                yield self.view

    def wait(self) -> TransferView:
        """It when it is over, however it ended."""
        for _ in self.progress():
            pass
        return self.view

    def result(self) -> TransferView:
        """It when it is delivered; raises what kept it from that."""
        return _well(self.wait())

    def proof(self) -> DeliveryDocument:
        """The proof of delivery, under both nodes' signatures."""
        return self._rest.run(proof(self.id))

    def cancel(self) -> TransferView:
        """End it. One that is over stays as it is."""
        self.view = self._rest.run(cancel(self.id))
        return self.view


class Transfer:
    """`mesh.transfer`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def send(self, path: Path | str, to: str, watcher: Watcher | None = None) -> TransferView:
        """Send a file of this machine to a node (its name, its id or the beginning of it, or an
        address of something that it hosts), and wait until it is there. Raises what kept it from
        that.

        mesh.transfer.send("results.tar", "lender").root
        """
        sent = self.submit(path, to)
        for view in sent.progress():
            if watcher is not None:
                watcher(view)
        return _well(sent.view)

    def submit(self, path: Path | str, to: str) -> Sent:
        """As `send`, without waiting. It is tried until it is there."""
        return Sent(self._rest, self._rest.run(submit(path, to)))

    def get(self, transfer: str) -> Sent:
        """A transfer by its id in hex."""
        return Sent(self._rest, self._rest.run(get(transfer)))

    def list(self) -> Iterator[TransferView]:
        """Files sent from this node, newest first."""
        return walk(self._rest, page)


class AsyncSent:
    """As `Sent`, for asyncio."""

    def __init__(self, rest: AsyncRest, view: TransferView) -> None:
        self._rest = rest
        self.view = view

    @property
    def id(self) -> str:
        return self.view.transfer

    async def refresh(self) -> TransferView:
        """As `Sent.refresh`."""
        self.view = await self._rest.run(get(self.id))
        return self.view

    async def progress(self) -> AsyncIterator[TransferView]:
        """As `Sent.progress`."""
        yield await self.refresh()
        while self.view.state not in FINAL:
            seen = self.view
            self.view = await self._rest.run(news(seen))
            if self.view != seen:
                yield self.view

    async def wait(self) -> TransferView:
        """As `Sent.wait`."""
        async for _ in self.progress():
            pass
        return self.view

    async def result(self) -> TransferView:
        """As `Sent.result`."""
        return _well(await self.wait())

    async def proof(self) -> DeliveryDocument:
        """As `Sent.proof`."""
        return await self._rest.run(proof(self.id))

    async def cancel(self) -> TransferView:
        """As `Sent.cancel`."""
        self.view = await self._rest.run(cancel(self.id))
        return self.view


class AsyncTransfer:
    """As `Transfer`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def send(self, path: Path | str, to: str, watcher: Watcher | None = None) -> TransferView:
        """As `Transfer.send`."""
        sent = await self.submit(path, to)
        async for view in sent.progress():
            if watcher is not None:
                watcher(view)
        return _well(sent.view)

    async def submit(self, path: Path | str, to: str) -> AsyncSent:
        """As `Transfer.submit`."""
        return AsyncSent(self._rest, await self._rest.run(submit(path, to)))

    async def get(self, transfer: str) -> AsyncSent:
        """As `Transfer.get`."""
        return AsyncSent(self._rest, await self._rest.run(get(transfer)))

    def list(self) -> AsyncIterator[TransferView]:
        """As `Transfer.list`."""
        return walk_async(self._rest, page)


def _well(view: TransferView) -> TransferView:
    failure = view.failure
    if failure is not None:
        raise failure
    return view
