"""`/assets`: what the pool has, leased and released."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post, put
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
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
from hypermesh.wire.api.lease import AllocateAsset, LeaseView, SessionView
from hypermesh.wire.api.ledger import HistoryPage
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.ids import parse_hex


@post("/assets/register", sync_to_thread=True)
def register_asset(here: Node, data: RegisterAsset) -> AssetView:
    """Declare a share of this machine's hardware of one kind."""
    return here.views.asset(here.lending.register(data))


@get("/assets")
@prompt
def list_assets(
    here: Node,
    kind: AssetKind | None = None,
    cursor: str | None = None,
    limit: Limit = PAGE_DEFAULT,
    region: str | None = None,
    owned: bool = False,
) -> Page:
    """The assets that this node may discover, or only those of a kind, of a region as their owners
    say it, or of this owner."""
    return here.pool.page(kind, cursor, limit, region=region, owned=owned)


@get("/assets/{asset:str}")
@prompt
def show_asset(here: Node, asset: str) -> AssetView:
    """One asset; below FullPublic its host is asked, and decides."""
    return here.borrowing.inspect(parse_hex(asset, 16, "asset id"))


@get("/assets/{asset:str}/history")
@prompt
def asset_history(
    here: Node, asset: str, cursor: str | None = None, limit: Limit = PAGE_DEFAULT
) -> HistoryPage:
    """What was done to an asset, oldest first, each with its proof; to be verified offline."""
    return here.evidence.history(parse_hex(asset, 16, "asset id"), cursor, limit)


@put("/assets/{asset:str}/allocate", sync_to_thread=True, status_code=201)
def allocate_asset(here: Node, is_owner: bool, asset: str, data: AllocateAsset) -> SessionView:
    """Lease units of an asset: escrow, offer, activation, capability. The keys of the session are
    in the answer over the owner's UNIX socket alone; elsewhere ask with `keep`."""
    session = here.borrowing.allocate(parse_hex(asset, 16, "asset id"), data)
    return session if is_owner else msgspec.structs.replace(session, secret=None)


@delete("/assets/{asset:str}/release", sync_to_thread=True, status_code=200)
def release_asset(here: Node, asset: str, lease: str) -> LeaseView:
    """End a lease and settle it by its metered use."""
    return here.borrowing.release(
        parse_hex(asset, 16, "asset id"), parse_hex(lease, 32, "lease id")
    )


@put("/assets/{asset:str}/state", sync_to_thread=True)
def set_asset_state(here: Node, asset: str, data: SetAssetState) -> ChangedAsset:
    """Take an own asset out of service, or back; leases that run go on."""
    return here.owning.set_state(parse_hex(asset, 16, "asset id"), data.state)


@post("/assets/{asset:str}/transfer", sync_to_thread=True, status_code=200)
def transfer_asset(here: Node, asset: str, data: TransferAsset) -> ChangedAsset:
    """Give an own asset to another owner. It becomes Private to its new owner; leases that run go
    on and pay this owner."""
    return here.owning.transfer(parse_hex(asset, 16, "asset id"), bytes.fromhex(data.to))


@post("/assets/{asset:str}/offer", sync_to_thread=True)
def offer_asset(here: Node, asset: str, data: OfferAsset) -> ChangedAsset:
    """Offer an own asset for sale, to anybody or to one owner."""
    return here.owning.offer(parse_hex(asset, 16, "asset id"), data)


@delete("/assets/{asset:str}/offer", sync_to_thread=True, status_code=200)
def withdraw_asset(here: Node, asset: str) -> ChangedAsset:
    """Take the offer to sell an own asset back."""
    return here.owning.withdraw(parse_hex(asset, 16, "asset id"))


@post("/assets/{asset:str}/accept", sync_to_thread=True, status_code=200)
def accept_asset(here: Node, asset: str, data: AcceptAsset) -> ChangedAsset:
    """Buy an asset that is offered: pay and own it, both or neither."""
    return here.owning.accept(parse_hex(asset, 16, "asset id"), data.price)


ROUTES: list[ControllerRouterHandler] = [
    register_asset,
    list_assets,
    show_asset,
    asset_history,
    allocate_asset,
    release_asset,
    set_asset_state,
    transfer_asset,
    offer_asset,
    withdraw_asset,
    accept_asset,
]
