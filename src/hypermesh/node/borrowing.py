"""What this node leases from others, for its owner: describe, open, activate, use, settle.

The session keys of a lease are made here. Those of a lease that shall outlive the program that
asked for it are kept here too; they lie in one file of mode 0600 and go with the lease.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hypermesh.assets import lease as leases
from hypermesh.assets import registry
from hypermesh.assets.adapters.adapter import NotHeld
from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.files import replace
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.ledger import identity
from hypermesh.node.chain import Chain
from hypermesh.node.kept import read
from hypermesh.node.membership import Membership
from hypermesh.node.metrics import Metrics
from hypermesh.node.peers import Peers
from hypermesh.node.readings import Readings
from hypermesh.node.views import Views
from hypermesh.node.wallet import Wallet
from hypermesh.wire.amount import AMOUNT_MAX, format_caes
from hypermesh.wire.api.asset import AssetView
from hypermesh.wire.api.lease import AllocateAsset, LeaseView, SessionView, TooDear, TrustView
from hypermesh.wire.asset import Lease, LeaseState, Locator
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import Conflict, Forbidden, NotFound
from hypermesh.wire.ids import AssetId, LeaseId, NodeId
from hypermesh.wire.rpc import (
    ActivateResponse,
    DescribeRequest,
    DescribeResponse,
    LeaseRequest,
    ReceiptResponse,
)
from hypermesh.wire.rpc import AssetView as HostView
from hypermesh.wire.tx import LeaseOpen, LeaseSettle

SESSIONS_MAX = 4096
SESSIONS_BYTES_MAX = SESSIONS_MAX * 4096
"""More than `SESSIONS_MAX` of them in a file."""
CONNECT_TIMEOUT_MS = 5_000

log = logging.getLogger(__name__)


class KeptSession(msgspec.Struct, frozen=True, array_like=True):
    """The secret keys of one lease's session."""

    lease: LeaseId
    secret: bytes


class RegionMismatch(Conflict):
    """The asset's owner says another region than the consumer requires, or none."""

    code = "HM-NODE-0036"
    title = "The asset is not in the region that was asked for"
    remedy = "See `hm asset ls --region REGION`"


class Sessions:
    """The session keys that this node keeps, in one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        kept: list[KeptSession] = []
        if file.exists():
            fix = "Remove it: leases whose keys were in it end by themselves"
            kept = read(list[KeptSession], file, fix, size_max=SESSIONS_BYTES_MAX)
        self._kept = {each.lease: each for each in kept}

    def get(self, lease: LeaseId) -> QuantumKeys | None:
        kept = self._kept.get(lease)
        return None if kept is None else QuantumKeys.from_secret_bytes(kept.secret)

    def put(self, lease: LeaseId, keys: QuantumKeys) -> None:
        with self._lock:
            self._kept[lease] = KeptSession(lease, keys.secret_bytes())
            while len(self._kept) > SESSIONS_MAX:
                del self._kept[next(iter(self._kept))]
            self._write()

    def drop(self, lease: LeaseId) -> None:
        with self._lock:
            if self._kept.pop(lease, None) is not None:
                self._write()

    def _write(self) -> None:
        replace(self._file, encode(list(self._kept.values())))


class Borrowing:
    """The consumer's side of this node."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        wallet: Wallet,
        peers: Peers,
        views: Views,
        metrics: Metrics,
        sessions: Sessions,
        readings: Readings,
        locate: Callable[[NodeId], Locator],
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._wallet = wallet
        self._peers = peers
        self._views = views
        self._metrics = metrics
        self._sessions = sessions
        self._readings = readings
        self._locate = locate

    def inspect(self, asset_id: AssetId) -> AssetView:
        """One asset; what the chain does not hold is asked of its host, which decides."""
        known = self._views.asset(asset_id)
        if known.capacity is not None and known.free is not None:
            return known
        shown = self._peers.call(
            bytes.fromhex(known.host), "asset.inspect", DescribeRequest(asset_id), HostView
        )
        self._require_shown(asset_id, shown)
        return self._views.shown(known, shown)

    def allocate(self, asset_id: AssetId, request: AllocateAsset) -> SessionView:
        """Open and activate a lease; the session's keys are made here, and kept where asked."""
        keys = QuantumKeys.generate()
        with self._metrics.timed("lease"):
            lease_id = self.open(
                asset_id,
                request.amount,
                request.duration_ms,
                keys.id,
                region=request.region,
                cost_max=request.cost_max,
            )
            if request.keep:
                self._sessions.put(lease_id, keys)
            self.activate(lease_id)
        return self._session(lease_id, keys.secret_bytes().hex())

    def session(self, lease_id: LeaseId) -> SessionView:
        """The kept session of an active lease."""
        keys = self._sessions.get(lease_id)
        if keys is None:
            raise NotFound(f"This node keeps no session of lease {lease_id.hex()}")
        return self._session(lease_id, keys.secret_bytes().hex())

    def release(self, asset_id: AssetId, lease_id: LeaseId) -> LeaseView:
        """Ask the host for its final reading, accept it on the ledger, and forget the session."""
        row = self.row(lease_id)
        if row.asset != asset_id:
            raise NotFound(f"Lease {lease_id.hex()} is not of asset {asset_id.hex()}")
        if row.consumer != self._membership.owner:
            raise Forbidden("The lease is another owner's")
        if row.state is LeaseState.ACTIVE or row.state is LeaseState.ENDED:
            with self._metrics.timed("settle"):
                request = LeaseRequest(lease_id, self._chain.feed.height)
                try:
                    final = self._peers.call(row.host, "lease.receipt", request, ReceiptResponse)
                except NotHeld as error:
                    raise self._lost(row, error) from error
                if final.receipt.held_ms > row.duration_ms:
                    raise Conflict("The host's receipt says more than the lease's length")
                self._keep(lease_id, final)
                self._wallet.submit(
                    LeaseSettle(final.receipt, final.signature), self._attestation(row.host)
                )
        self._sessions.drop(lease_id)
        return self._views.lease(lease_id)

    def _lost(self, row: Lease, error: NotHeld) -> NotHeld:
        """The same error, with what becomes of the escrow: it is the ledger's to give back."""
        due_ms = row.deadline_ms
        if row.state is LeaseState.ACTIVE:
            due_ms += self._membership.genesis.leases.claim_ms
        due = datetime.fromtimestamp(due_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return NotHeld(
            error.what,
            why="its provider has started anew since, and what it held for the lease is lost",
            fix=f"Nothing need be done: all of its escrow, {format_caes(row.escrow)} CAES, comes "
            f"back by itself at {due}",
        )

    def _keep(self, lease_id: LeaseId, final: ReceiptResponse) -> None:
        """What the host's meter read. Raises `Conflict` where its receipt is of something else."""
        if final.reading is None:
            return
        if digest_of("meter", final.reading) != final.receipt.evidence:
            raise Conflict("The host's receipt is of another reading than the host shows")
        self._readings.put(lease_id, final.reading)

    # The steps of a lease

    def open(
        self,
        asset_id: AssetId,
        amount: int,
        duration_ms: int,
        session: bytes,
        *,
        region: str | None = None,
        cost_max: int | None = None,
    ) -> LeaseId:
        """Reserve `amount` of an asset on the host's terms, for the bearer of `session`; only in
        `region`, and for no more than `cost_max` nCAES in all, where these are asked for. Raises
        `RegionMismatch` or `TooDear`."""
        host = bytes.fromhex(self._views.asset(asset_id).host)
        offered = self._peers.call(
            host, "asset.describe", DescribeRequest(asset_id), DescribeResponse
        )
        offer = offered.offer
        self._require_shown(asset_id, offered.view)
        if (offer.asset, offer.provider) != (asset_id, host):
            raise registry.ShownFalsely("The host offers another asset than the one asked for")
        if region is not None and offered.view.region != region:
            raise RegionMismatch(why=f"its owner says {offered.view.region or 'nothing'!r}")
        if amount > offer.amount_max:
            raise leases.NoRoom(why=f"{offer.amount_max} units are free, not {amount}")
        if duration_ms > offer.duration_ms_max:
            raise leases.BeyondOffer(
                why=f"{duration_ms} ms, and {offer.duration_ms_max} are offered"
            )
        fee = self._membership.genesis.economy.lease_fee
        escrow = leases.escrow_needed(offer, amount, duration_ms, fee)
        if cost_max is not None and escrow > cost_max:
            raise TooDear(
                why=f"it costs up to {format_caes(escrow)} CAES, fee included, and "
                f"{format_caes(cost_max)} was the most"
            )
        if escrow > AMOUNT_MAX:
            raise leases.EscrowTooSmall(
                why=f"the lease costs {escrow} nCAES, more than an amount can be"
            )
        body = LeaseOpen(
            offer=offer,
            offer_signature=offered.offer_signature,
            amount=amount,
            duration_ms=duration_ms,
            escrow=escrow,
            session=session,
        )
        return self._wallet.submit(body, offered.attestation).result.tx

    def _require_shown(self, asset_id: AssetId, view: HostView) -> None:
        with self._chain.ledger.state() as state:
            registry.require_shown(asset_id, registry.existing(state, asset_id), view)

    def activate(self, lease_id: LeaseId) -> ActivateResponse:
        """Have the host set a reservation aside and let its session in."""
        row = self.row(lease_id)
        request = LeaseRequest(lease_id, self._chain.feed.height)
        activated = self._peers.call(row.host, "lease.activate", request, ActivateResponse)
        if activated.capability.lease != lease_id:
            raise Conflict("The host activated another lease than the one asked for")
        self._await_active(lease_id)
        return activated

    def _await_active(self, lease_id: LeaseId) -> None:
        """The host's activation is on the ledger before it answers; our copy may lag a block."""
        while self.row(lease_id).state is LeaseState.RESERVED:
            height = self._chain.feed.height
            if self.row(lease_id).state is not LeaseState.RESERVED:
                return
            if not self._chain.feed.wait(height + 1, CONNECT_TIMEOUT_MS / 1000):
                raise Conflict("The host says the lease is active; the ledger here does not yet")

    def _session(self, lease_id: LeaseId, secret: str) -> SessionView:
        view = self._views.lease(lease_id)
        locator = self._locate(bytes.fromhex(view.provider))
        genesis = self._membership.genesis
        with self._chain.ledger.state() as state:
            issuing = identity.issuer(state)
            believed = identity.issuers(state, self._chain.now_ms())
        return SessionView(
            lease=msgspec.structs.replace(view, host=locator.hosts[0], port=locator.port),
            secret=secret,
            trust=TrustView(
                genesis=self._membership.genesis_id.hex(),
                root=genesis.root_certificate.hex(),
                issuing=issuing.hex(),
                replaced=[each.hex() for each in believed.certificates if each != issuing],
                replaced_until_ms=believed.until_ms,
            ),
        )

    def row(self, lease_id: LeaseId) -> Lease:
        """The lease on the ledger."""
        with self._chain.ledger.state() as state:
            return leases.existing(state, lease_id)

    def _attestation(self, host: NodeId) -> bytes:
        return self._views.attestation(host)
