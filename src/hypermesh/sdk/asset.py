"""What the pool has, and what its owner does with it: `mesh.assets`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.asset import (
    AcceptAsset,
    AssetView,
    ChangedAsset,
    OfferAsset,
    Page,
    RegisterAsset,
    SetAssetState,
    TransferAsset,
)
from hypermesh.wire.api.attestation import AttestationEvidence
from hypermesh.wire.api.ledger import HistoryPage
from hypermesh.wire.asset import AssetKind, AssetState


def page(
    kind: AssetKind | None = None,
    cursor: str | None = None,
    *,
    region: str | None = None,
    owned: bool = False,
) -> Call[Page]:
    query = given(
        kind=kind.value if kind else None,
        cursor=cursor,
        region=region,
        owned="true" if owned else None,
    )
    return Call(Page, "GET", "/assets", query=query)


def get(asset: str) -> Call[AssetView]:
    return Call(AssetView, "GET", f"/assets/{asset}")


def history(asset: str, cursor: str | None = None) -> Call[HistoryPage]:
    return Call(HistoryPage, "GET", f"/assets/{asset}/history", query=given(cursor=cursor))


def register(declaration: RegisterAsset) -> Call[AssetView]:
    return Call(AssetView, "POST", "/assets/register", declaration, once=True)


def set_state(asset: str, state: AssetState) -> Call[ChangedAsset]:
    return Call(ChangedAsset, "PUT", f"/assets/{asset}/state", SetAssetState(state), once=True)


def transfer(asset: str, to: str) -> Call[ChangedAsset]:
    return Call(ChangedAsset, "POST", f"/assets/{asset}/transfer", TransferAsset(to), once=True)


def offer(
    asset: str, price: int, to: str | None = None, expires_ms: int | None = None
) -> Call[ChangedAsset]:
    body = OfferAsset(price, to, expires_ms)
    return Call(ChangedAsset, "POST", f"/assets/{asset}/offer", body, once=True)


def withdraw(asset: str) -> Call[ChangedAsset]:
    return Call(ChangedAsset, "DELETE", f"/assets/{asset}/offer", once=True)


def accept(asset: str, price: int) -> Call[ChangedAsset]:
    return Call(ChangedAsset, "POST", f"/assets/{asset}/accept", AcceptAsset(price), once=True)


def attestation(node: str) -> Call[AttestationEvidence]:
    return Call(AttestationEvidence, "GET", f"/v1/nodes/{node}/attestation")


class Assets:
    """`mesh.assets`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def list(
        self, kind: AssetKind | None = None, *, region: str | None = None, owned: bool = False
    ) -> Iterator[AssetView]:
        """What this node may discover: of one kind, of a region as owners say it, of this owner.

        free = sum(each.free or 0 for each in mesh.assets.list(AssetKind.MEMORY))
        """
        return walk(self._rest, lambda cursor: page(kind, cursor, region=region, owned=owned))

    def get(self, asset: str) -> AssetView:
        """One asset by its id in hex, as its host shows it to this owner; the host decides."""
        return self._rest.run(get(asset))

    def history(self, asset: str) -> Iterator[HistoryPage]:
        """What was done to an asset, oldest first, with proofs, a page at a time: the entries of
        all pages under the row of the last are checked by `hm asset history ID --verify`."""
        cursor: str | None = None
        while True:
            found = self._rest.run(history(asset, cursor))
            yield found
            cursor = found.next_cursor
            if cursor is None:
                return

    def register(self, declaration: RegisterAsset) -> AssetView:
        """Declare a share of this machine's hardware of one kind."""
        return self._rest.run(register(declaration))

    def set_state(self, asset: str, state: AssetState) -> ChangedAsset:
        """Take an own asset out of service, or back; leases that run go on."""
        return self._rest.run(set_state(asset, state))

    def transfer(self, asset: str, to: str) -> ChangedAsset:
        """Give an own asset to another owner, by the owner's id in hex."""
        return self._rest.run(transfer(asset, to))

    def offer(
        self, asset: str, price: int, to: str | None = None, expires_ms: int | None = None
    ) -> ChangedAsset:
        """Offer an own asset for `price` nCAES, to anybody or to one owner, until `expires_ms`
        of block time (a day from now)."""
        return self._rest.run(offer(asset, price, to, expires_ms))

    def withdraw(self, asset: str) -> ChangedAsset:
        """Take the offer to sell an own asset back."""
        return self._rest.run(withdraw(asset))

    def accept(self, asset: str, price: int) -> ChangedAsset:
        """Buy an asset that is offered at `price` nCAES: pay and own it, both or neither."""
        return self._rest.run(accept(asset, price))

    def attestation(self, node: str) -> AttestationEvidence:
        """The evidence behind the four proofs of an asset's host."""
        return self._rest.run(attestation(node))


class AsyncAssets:
    """As `Assets`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    def list(
        self, kind: AssetKind | None = None, *, region: str | None = None, owned: bool = False
    ) -> AsyncIterator[AssetView]:
        """As `Assets.list`."""
        return walk_async(self._rest, lambda cursor: page(kind, cursor, region=region, owned=owned))

    async def get(self, asset: str) -> AssetView:
        """As `Assets.get`."""
        return await self._rest.run(get(asset))

    async def history(self, asset: str) -> AsyncIterator[HistoryPage]:
        """As `Assets.history`."""
        cursor: str | None = None
        while True:
            found = await self._rest.run(history(asset, cursor))
            yield found
            cursor = found.next_cursor
            if cursor is None:
                return

    async def register(self, declaration: RegisterAsset) -> AssetView:
        """As `Assets.register`."""
        return await self._rest.run(register(declaration))

    async def set_state(self, asset: str, state: AssetState) -> ChangedAsset:
        """As `Assets.set_state`."""
        return await self._rest.run(set_state(asset, state))

    async def transfer(self, asset: str, to: str) -> ChangedAsset:
        """As `Assets.transfer`."""
        return await self._rest.run(transfer(asset, to))

    async def offer(
        self, asset: str, price: int, to: str | None = None, expires_ms: int | None = None
    ) -> ChangedAsset:
        """As `Assets.offer`."""
        return await self._rest.run(offer(asset, price, to, expires_ms))

    async def withdraw(self, asset: str) -> ChangedAsset:
        """As `Assets.withdraw`."""
        return await self._rest.run(withdraw(asset))

    async def accept(self, asset: str, price: int) -> ChangedAsset:
        """As `Assets.accept`."""
        return await self._rest.run(accept(asset, price))

    async def attestation(self, node: str) -> AttestationEvidence:
        """As `Assets.attestation`."""
        return await self._rest.run(attestation(node))
