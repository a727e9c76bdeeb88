"""The routes. Each one names the part of the node that answers and adds nothing of its own.

Handlers run in worker threads (`sync_to_thread`): what they call may wait for the ledger or for
another node. Submitting a transaction waits without a thread.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.di import Provide
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from hypermesh.node.composition import Node
from hypermesh.wire.api import (
    AccountView,
    AllocateAsset,
    AssetView,
    BlockView,
    ChallengeRequest,
    ChallengeView,
    ConsensusStatus,
    InvitationRequest,
    InvitationView,
    JobSubmit,
    JobView,
    LeaseView,
    NodeView,
    Page,
    PrivacyChange,
    PrivacyView,
    RegisterAsset,
    SessionView,
    StatusView,
    TransactionBytes,
    TransactionView,
    TransferRequest,
    ValidateRequest,
    ValidateView,
)
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.errors import Forbidden, NotAvailable
from hypermesh.wire.ids import parse_hex

PAGE_DEFAULT = 50
PAGE_MAX = 500

Limit = Annotated[int, Parameter(ge=1, le=PAGE_MAX)]


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


@post("/consensus/validate", sync_to_thread=True, status_code=200)
def validate(here: Node, data: ValidateRequest) -> ValidateView:
    """Check a bundle or a transaction against the present state; nothing is submitted."""
    return here.views.validate(data)


@get("/consensus/status", sync_to_thread=True)
def consensus_status(here: Node) -> ConsensusStatus:
    """What the proofs of this network are worth, and how far the ledger is."""
    return here.views.consensus()


@post("/consensus/challenge", sync_to_thread=True, status_code=200)
def challenge(here: Node, data: ChallengeRequest) -> list[ChallengeView]:
    """How the present challenges of a node follow from the ledger."""
    return here.views.challenges(data)


@put("/privacy/level", sync_to_thread=True)
def set_privacy(here: Node, data: PrivacyChange) -> PrivacyView:
    """Change who may discover and lease an own asset."""
    return here.lending.set_privacy(data)


@get("/privacy/settings", sync_to_thread=True)
def privacy_settings(here: Node) -> list[PrivacyView]:
    """The levels and audiences of this node's assets."""
    return here.lending.privacy()


@post("/privacy/proxy")
async def privacy_proxy() -> None:
    """A relay for a node that cannot be reached; not there yet."""
    raise NotAvailable("Relays are not there yet")


@get("/metrics", media_type="text/plain; version=0.0.4; charset=utf-8", sync_to_thread=True)
def metrics(here: Node) -> bytes:
    """Prometheus text format."""
    return here.metrics.exposition()


@get("/metrics/performance", sync_to_thread=True)
def performance(here: Node) -> dict[str, Any]:
    """Latencies of recent operations, in microseconds."""
    return here.metrics.performance()


@get("/events")
async def events() -> None:
    """Server-sent events; not there yet."""
    raise NotAvailable("The event stream is not there yet")


@get("/livez")
async def livez() -> Response[str]:
    """The process answers."""
    return Response("ok", media_type="text/plain")


@get("/readyz", sync_to_thread=True)
def readyz(here: Node) -> Response[dict[str, str]]:
    """The node is of use: ledger open and followed, certificate valid. 503 with the reason else."""
    checks = here.readiness()
    failed = any(state != "ok" for state in checks.values())
    return Response(checks, status_code=503 if failed else 200)


@get("/v1/network", sync_to_thread=True)
def network(here: Node) -> StatusView:
    """This node in one look."""
    return here.views.status()


@post("/v1/network/invitations", sync_to_thread=True)
def invite(here: Node, data: InvitationRequest) -> InvitationView:
    """Make a token that lets one machine join."""
    return here.invite(mine=data.mine)


@get("/v1/nodes", sync_to_thread=True)
def nodes(here: Node) -> list[NodeView]:
    """The nodes that the ledger knows."""
    return here.views.nodes()


@get("/v1/leases", sync_to_thread=True)
def leases(here: Node) -> list[LeaseView]:
    """Leases in which this node's owner lends or borrows."""
    return here.views.leases()


@get("/v1/leases/{lease:str}/session", sync_to_thread=True)
def lease_session(here: Node, lease: str, is_owner: bool) -> SessionView:
    """The keys of a session that this node keeps; only over the owner's socket."""
    if not is_owner:
        raise Forbidden(
            "Session keys are given out over the owner's UNIX socket only",
            fix="Use the CLI or the SDK on this machine",
        )
    return here.borrowing.session(parse_hex(lease, 32, "lease id"))


@post("/v1/jobs", sync_to_thread=True)
def run_job(here: Node, data: JobSubmit) -> JobView:
    """Run a program in the pool and wait for its result: leased, isolated, metered, settled."""
    return here.borrowing.run(data)


@post("/v1/transactions")
async def submit_transaction(here: Node, data: TransactionBytes) -> TransactionView:
    """Submit a signed transaction; durable when answered."""
    return await here.submit(data.transaction)


@get("/v1/accounts/me", sync_to_thread=True)
def my_account(here: Node) -> AccountView:
    """The account of this node's owner."""
    return here.views.account(here.owner)


@get("/v1/accounts/{owner:str}", sync_to_thread=True)
def account(here: Node, owner: str) -> AccountView:
    """Any account; the ledger is public to the members of its network."""
    return here.views.account(parse_hex(owner, 32, "owner id"))


@post("/v1/accounts/transfer", sync_to_thread=True)
def transfer(here: Node, data: TransferRequest) -> TransactionView:
    """Pay from this node's owner's account."""
    return here.transfer(parse_hex(data.to, 32, "owner id"), data.amount, data.memo)


@get("/v1/blocks/{height:int}", sync_to_thread=True)
def block(here: Node, height: int) -> BlockView:
    """One block."""
    return here.views.block(height)


ROUTES: list[ControllerRouterHandler] = [
    register_asset,
    list_assets,
    show_asset,
    allocate_asset,
    release_asset,
    validate,
    consensus_status,
    challenge,
    set_privacy,
    privacy_settings,
    privacy_proxy,
    metrics,
    performance,
    events,
    livez,
    readyz,
    network,
    invite,
    nodes,
    leases,
    lease_session,
    run_job,
    submit_transaction,
    my_account,
    account,
    transfer,
    block,
]


def dependencies(node: Node) -> dict[str, Provide]:
    """What the routes ask for by name. No member of a request's body may have such a name: the
    framework would take its fault for one of ours."""

    async def here() -> Node:
        return node

    async def is_owner(scope: Any) -> bool:
        return bool(scope["state"].get("is_owner"))

    return {"here": Provide(here), "is_owner": Provide(is_owner)}
