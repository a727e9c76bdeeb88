"""Receipts of leases: `mesh.receipts`. They are verified offline, by `hm verify`."""

from __future__ import annotations

from hypermesh.sdk.call import Call
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.receipt import ReceiptDocument


def get(lease: str) -> Call[ReceiptDocument]:
    return Call(ReceiptDocument, "GET", f"/v1/leases/{lease}/receipt")


class Receipts:
    """`mesh.receipts`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def get(self, lease: str) -> ReceiptDocument:
        """The receipt of a lease that was settled or claimed: what was agreed, measured and paid,
        with all that shows it to anybody.

        receipt = mesh.receipts.get(lease.lease)
        Path("receipt.json").write_bytes(msgspec.json.encode(receipt))
        """
        return self._rest.run(get(lease))


class AsyncReceipts:
    """As `Receipts`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def get(self, lease: str) -> ReceiptDocument:
        """As `Receipts.get`."""
        return await self._rest.run(get(lease))
