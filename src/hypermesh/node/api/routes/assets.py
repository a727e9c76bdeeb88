"""`/assets`: what the pool has, leased and released."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post, put
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.composition import Node
from hypermesh.wire.api.asset import AssetView, Page, RegisterAsset
from hypermesh.wire.api.lease import AllocateAsset, LeaseView, SessionView
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.ids import parse_hex


@post("/assets/register", sync_to_thread=True)
def register_asset(here: Node, data: RegisterAsset) -> AssetView:
    """Declare a share of this machine's hardware of one kind."""
    return here.views.asset(here.lending.register(data))


@get("/assets", sync_to_thread=True)
def list_assets(
    here: Node,
    kind: AssetKind | None = None,
    cursor: str | None = None,
    limit: Limit = PAGE_DEFAULT,
) -> Page:
    """The assets that this node may discover."""
    return here.views.assets(kind, cursor, limit)


@get("/assets/{asset:str}", sync_to_thread=True)
def show_asset(here: Node, asset: str) -> AssetView:
    """One asset; below FullPublic its host is asked, and decides."""
    return here.borrowing.inspect(parse_hex(asset, 16, "asset id"))


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


ROUTES: list[ControllerRouterHandler] = [
    register_asset,
    list_assets,
    show_asset,
    allocate_asset,
    release_asset,
]
