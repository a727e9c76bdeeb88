"""The ledger as it is: `mesh.ledger`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.ledger import (
    BlockPage,
    BlockSummary,
    BlockView,
    TransactionBytes,
    TransactionDetail,
    TransactionView,
)


def blocks(cursor: str | None = None) -> Call[BlockPage]:
    return Call(BlockPage, "GET", "/v1/blocks", query=given(cursor=cursor))


def transaction(tx: str) -> Call[TransactionDetail]:
    return Call(TransactionDetail, "GET", f"/v1/transactions/{tx}")


def block(height: int) -> Call[BlockView]:
    return Call(BlockView, "GET", f"/v1/blocks/{height}")


def submit(transaction: bytes) -> Call[TransactionView]:
    body = TransactionBytes(transaction=transaction.hex())
    return Call(TransactionView, "POST", "/v1/transactions", body)


class Ledger:
    """`mesh.ledger`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def block(self, height: int) -> BlockView:
        """The block at `height`, the first is 1."""
        return self._rest.run(block(height))

    def blocks(self) -> Iterator[BlockSummary]:
        """Blocks with their operations in words, newest first.

        newest = next(mesh.ledger.blocks()).operations
        """
        return walk(self._rest, blocks)

    def transaction(self, tx: str) -> TransactionDetail:
        """A transaction by its id in hex, or by the first 8 or more digits of it."""
        return self._rest.run(transaction(tx))

    def submit(self, transaction: bytes) -> TransactionView:
        """Submit an encoded `SignedTransaction`; answered when durable, refused or not. Its nonce
        lets it happen once only, so it is never sent twice on its own."""
        return self._rest.run(submit(transaction))


class AsyncLedger:
    """As `Ledger`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def block(self, height: int) -> BlockView:
        """As `Ledger.block`."""
        return await self._rest.run(block(height))

    def blocks(self) -> AsyncIterator[BlockSummary]:
        """As `Ledger.blocks`."""
        return walk_async(self._rest, blocks)

    async def transaction(self, tx: str) -> TransactionDetail:
        """As `Ledger.transaction`."""
        return await self._rest.run(transaction(tx))

    async def submit(self, transaction: bytes) -> TransactionView:
        """As `Ledger.submit`."""
        return await self._rest.run(submit(transaction))
