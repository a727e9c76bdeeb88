"""The mesh as its owner sees it from one of the own machines."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hypermesh.sdk.lease import release
from hypermesh.sdk.location import data_directory, socket_path
from hypermesh.sdk.rest import Rest
from hypermesh.wire.api.account import AccountView
from hypermesh.wire.api.asset import AssetView, Page
from hypermesh.wire.api.consensus import ConsensusStatus
from hypermesh.wire.api.job import JobSubmit, JobView
from hypermesh.wire.api.lease import LeaseView
from hypermesh.wire.api.ledger import BlockView, TransactionBytes, TransactionView
from hypermesh.wire.api.network import InvitationRequest, InvitationView, NodeView, StatusView
from hypermesh.wire.asset import AssetKind

if TYPE_CHECKING:
    from hypermesh.sdk.memory import Memory

JOB_GRACE_S = 60.0
"""How long past a job's own deadline its leasing, transfer and settlement may take."""


class Mesh:
    """A connection to the own node. Not for use from several threads at once."""

    def __init__(self, socket: Path) -> None:
        self.rest = Rest(socket)

    @cached_property
    def memory(self) -> Memory:
        """Memory of other machines."""
        # STOQ and the keys take longer to load than most commands of `hm` run.
        from hypermesh.sdk.memory import Memory

        return Memory(self.rest)

    def status(self) -> StatusView:
        return self.rest.request(StatusView, "GET", "/v1/network")

    def nodes(self) -> list[NodeView]:
        return self.rest.request(list[NodeView], "GET", "/v1/nodes")

    def assets(self, kind: AssetKind | None = None) -> list[AssetView]:
        """What this node may discover."""
        query = {"kind": kind.value} if kind else {}
        found: list[AssetView] = []
        while True:
            page = self.rest.request(Page, "GET", "/assets", query=query)
            found += page.items
            if page.next_cursor is None:
                return found
            query = {**query, "cursor": page.next_cursor}

    def asset(self, asset: str) -> AssetView:
        """One asset by its id in hex, as its host shows it to this owner; the host decides."""
        return self.rest.request(AssetView, "GET", f"/assets/{asset}")

    def account(self, owner: str = "me") -> AccountView:
        """An account by its owner's id in hex; the own one by default."""
        return self.rest.request(AccountView, "GET", f"/v1/accounts/{owner}")

    def leases(self) -> list[LeaseView]:
        return self.rest.request(list[LeaseView], "GET", "/v1/leases")

    def release(self, lease: LeaseView) -> LeaseView:
        """End a lease and settle it by its metered use; one that is settled stays as it is."""
        return release(self.rest, lease)

    def block(self, height: int) -> BlockView:
        return self.rest.request(BlockView, "GET", f"/v1/blocks/{height}")

    def consensus(self) -> ConsensusStatus:
        return self.rest.request(ConsensusStatus, "GET", "/consensus/status")

    def invite(self, *, mine: bool = False) -> InvitationView:
        body = InvitationRequest(mine=mine)
        return self.rest.request(InvitationView, "POST", "/v1/network/invitations", body)

    def submit(self, transaction: bytes) -> TransactionView:
        """Submit an encoded `SignedTransaction`; answered when durable, refused or not."""
        body = TransactionBytes(transaction=transaction.hex())
        return self.rest.request(TransactionView, "POST", "/v1/transactions", body)

    def run(self, job: JobSubmit) -> JobView:
        """Run a job in the pool and wait for it: leased, isolated, metered, settled."""
        timeout_s = job.wall_ms / 1000 + JOB_GRACE_S
        return self.rest.request(JobView, "POST", "/v1/jobs", job, timeout_s=timeout_s)

    def close(self) -> None:
        self.rest.close()

    def __enter__(self) -> Mesh:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(data: Path | str | None = None) -> Mesh:
    """Connect to the node whose data is in `data` (by default the user's own node).

    Nothing is sent before the first request, which raises `NodeNotRunning` where no node answers.
    """
    return Mesh(socket_path(data_directory(None if data is None else Path(data))))
