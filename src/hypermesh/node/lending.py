"""What this node lends: its assets on the ledger, offers, leases served, meters read.

The decisions are `assets.provider`'s and the adapters'; this is the shell that carries them out.
All of it runs under one lock, for adapters keep plain books. The ledger is the truth: what a
restarted node holds is what the ledger says it has leased, as far as the kind outlives a process.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypermesh.assets import address, lease, provider, registry
from hypermesh.assets.adapters.adapter import AssetAdapter, NotHeld
from hypermesh.assets.adapters.container import ContainerAssetAdapter
from hypermesh.assets.adapters.cpu import CpuAssetAdapter
from hypermesh.assets.adapters.gpu import GpuAssetAdapter
from hypermesh.assets.adapters.memory import MemoryAssetAdapter, Regions
from hypermesh.assets.adapters.network import NetworkAssetAdapter
from hypermesh.assets.adapters.storage import StorageAssetAdapter
from hypermesh.assets.discovery import discover
from hypermesh.assets.hosting import Hosted, HostedAssets
from hypermesh.assets.inventory import Share
from hypermesh.assets.privacy import Caller, Identity
from hypermesh.catalog.engines.ladder import Ladder
from hypermesh.consensus.attestation import bundle_of
from hypermesh.crypto.signature import sign
from hypermesh.ledger.feed import Commit
from hypermesh.ledger.module import State
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.node.metrics import Metrics
from hypermesh.node.service import Peer
from hypermesh.node.wallet import Wallet
from hypermesh.wire.api.asset import PriceView, RegisterAsset
from hypermesh.wire.api.privacy import PrivacyChange, PrivacyView
from hypermesh.wire.asset import (
    AssetKind,
    Audience,
    Descriptor,
    Lease,
    LeaseState,
    Locator,
    Price,
    PrivacyLevel,
    Receipt,
)
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import Conflict, Forbidden, HyperMeshError, NotAvailable, NotFound
from hypermesh.wire.ids import AssetId, LeaseId
from hypermesh.wire.rpc import (
    ActivateResponse,
    AssetView,
    DescribeRequest,
    DescribeResponse,
    JobRequest,
    JobResult,
    LeaseRequest,
    ReceiptResponse,
)
from hypermesh.wire.tx import LeaseActivate, LeaseClaim

HOUR_MS = 60 * 60 * 1000
DURATION_MS_MAX = 24 * HOUR_MS
CONCURRENT_MAX = 64
SEEN_TIMEOUT_S = 10.0
RECEIPTS_KEPT = 1024

PRICES: dict[AssetKind, Price] = {
    AssetKind.CPU: Price(300_000, 1000, HOUR_MS),
    AssetKind.MEMORY: Price(40_000, 1 << 30, HOUR_MS),
    AssetKind.STORAGE: Price(100, 1 << 30, HOUR_MS),
    AssetKind.NETWORK: Price(0, 1, HOUR_MS),
    AssetKind.GPU: Price(3_000_000, 1, HOUR_MS),
}
"""What an owner asks who names no price: a core-hour is 300,000 nCAES, a GiB-hour of memory
40,000."""

LEASABLE = (AssetKind.CPU, AssetKind.MEMORY)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """A hosted asset with the adapter that serves it."""

    record: Hosted
    adapter: AssetAdapter


class Lending:
    """The provider's side of this node."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        wallet: Wallet,
        regions: Regions,
        ladder: Ladder,
        metrics: Metrics,
        locator: Callable[[], Locator],
        data: Path,
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._wallet = wallet
        self._regions = regions
        self._ladder = ladder
        self._metrics = metrics
        self._locator = locator
        self._data = data
        self._hosted = HostedAssets(data / "hosted")
        self._served: dict[AssetId, Served] = {}
        self._receipts: dict[LeaseId, ReceiptResponse] = {}
        self._lock = threading.RLock()
        self._trusted = frozenset({membership.genesis_id})

    # What is declared

    def declare(self, part: Share, level: PrivacyLevel) -> None:
        """Register the share of this machine that its owner declares, and serve what is leasable.

        What a former start declared is kept as it was; kinds that are new are added.
        """
        for record in self._hosted:
            self._serve(record)
        declared = {served.record.descriptor.kind for served in self._served.values()}
        for descriptor in self._discovered(part):
            if descriptor.kind not in declared and descriptor.capacity > 0:
                self._register(descriptor, level, PRICES[descriptor.kind], CONCURRENT_MAX)
        for served in list(self._served.values()):
            self._ensure_registered(served.record)

    def register(self, request: RegisterAsset) -> AssetId:
        """Declare one more share, of one kind."""
        part = Share(request.share_basis_points)
        for descriptor in self._discovered(part):
            if descriptor.kind is request.kind and descriptor.capacity > 0:
                self._require_room(request.kind, request.share_basis_points)
                record = self._register(
                    descriptor,
                    request.level,
                    _price(request.price) or PRICES[request.kind],
                    request.concurrent_max,
                )
                self._ensure_registered(record)
                return record.asset
        raise NotFound(f"This machine has no {request.kind.value} to declare")

    def set_privacy(self, change: PrivacyChange) -> PrivacyView:
        """Bring an asset to another level or audience, here and on the ledger."""
        asset_id = bytes.fromhex(change.asset)
        with self._lock:
            served = self._of(asset_id)
            record = provider.reshared(
                served.record,
                level=change.level,
                audience=Audience(
                    [bytes.fromhex(node) for node in change.nodes],
                    [bytes.fromhex(network) for network in change.networks],
                ),
                price=served.record.price,
                identity=served.record.identity,
                audience_salt=secrets.token_bytes(address.SALT_BYTES),
            )
            self._hosted.put(record)
            self._served[asset_id] = Served(record, served.adapter)
        self._wallet.submit(provider.privacy_change(record), self._attestation())
        return _privacy_view(record)

    def privacy(self) -> list[PrivacyView]:
        """Level and audience of every hosted asset."""
        return [_privacy_view(record) for record in self._hosted]

    def free(self, asset_id: AssetId) -> int | None:
        """Units that are not set aside; None for an asset that is not hosted here."""
        with self._lock:
            served = self._served.get(asset_id)
            return None if served is None else served.adapter.free

    def record(self, asset_id: AssetId) -> Hosted | None:
        """What this node knows of an asset that it hosts."""
        return self._hosted.get(asset_id)

    # Calls of other nodes

    def describe(self, peer: Peer, request: DescribeRequest) -> DescribeResponse:
        """`asset.describe`: the view and an offer, for a caller that the level lets in."""
        caller = Caller(peer.id, peer.owner, self._trusted)
        with self._lock, self._chain.ledger.state() as state:
            view = self._view(state, request.asset, caller)
            served = self._of(request.asset)
            offer = provider.offer(
                self._membership.genesis_id,
                request.asset,
                registry.existing(state, request.asset),
                served.record,
                caller,
                self._trusted,
                free=served.adapter.free,
                now_ms=self._chain.now_ms(),
            )
            attestation = self._attestation_in(state)
        signature = sign(self._membership.keys, "offer", self._membership.genesis_id, encode(offer))
        return DescribeResponse(view, offer, signature, attestation)

    def inspect(self, peer: Peer, request: DescribeRequest) -> AssetView:
        """`asset.inspect`: the view alone, also of what cannot be leased now."""
        caller = Caller(peer.id, peer.owner, self._trusted)
        with self._lock, self._chain.ledger.state() as state:
            return self._view(state, request.asset, caller)

    def activate(self, peer: Peer, request: LeaseRequest) -> ActivateResponse:
        """`lease.activate`: set the amount aside, say so on the ledger, let the session in."""
        self._chain.feed.wait(request.height, SEEN_TIMEOUT_S)
        row = self._leased(request.lease)
        self._require_consumer(peer, row)
        with self._lock:
            adapter = self._of(row.asset).adapter
            if row.state is LeaseState.RESERVED:
                adapter.reserve(request.lease, row)
                try:
                    self._wallet.submit(LeaseActivate(request.lease), self._attestation())
                except BaseException:
                    adapter.release(request.lease, self._chain.now_ms())
                    raise
                row = self._leased(request.lease)
                adapter.activate(request.lease, row)
            else:
                adapter.meter(request.lease, self._chain.now_ms())
        return ActivateResponse(lease.capability(request.lease, row), self._locator())

    def receipt(self, peer: Peer, request: LeaseRequest) -> ReceiptResponse:
        """`lease.receipt`: shut the session out and give the last reading, signed."""
        row = self._leased(request.lease)
        self._require_consumer(peer, row)
        return self._final_receipt(request.lease, row)

    def run_job(self, peer: Peer, request: JobRequest) -> JobResult:
        """`job.run`: run a program within the lease of the session that asks."""
        row = self._leased(request.lease)
        if peer.id != row.session:
            raise Forbidden("This session does not bear the lease that it names")
        with self._lock:
            adapter = self._of(row.asset).adapter
            if not isinstance(adapter, CpuAssetAdapter):
                raise Conflict("The lease is not one of CPU")
            allowed = adapter.allowance(request.lease, request.epoch, self._chain.now_ms())
        if request.limits.cpu_millicores > allowed:
            raise Conflict(
                f"The job asks for {request.limits.cpu_millicores} millicores",
                why=f"the lease has {allowed}",
            )
        result = self._ladder.run(request)
        self._metrics.jobs.labels(result.reason).inc()
        with self._lock:
            adapter.spend(request.lease, result.cpu_us)
        return result

    # What the ledger says happened

    def resume(self) -> None:
        """Take up the leases that the ledger says are served here, where the kind outlives a
        process; the bytes of a lost region do not come back, and its lease is not claimed."""
        for lease_id, row in self._own_leases():
            served = self._served.get(row.asset)
            if served is None or not served.adapter.outlives_process:
                continue
            if row.state is LeaseState.ACTIVE:
                served.adapter.reserve(lease_id, row)
                served.adapter.activate(lease_id, row)

    def observe(self, commit: Commit) -> None:
        """React to a block: claim what ended unsettled, free what expired."""
        for event in commit.events:
            if event.name not in ("lease.ended", "lease.expired"):
                continue
            row = decode(Lease, event.data)
            if row.host != self._membership.keys.id:
                continue
            try:
                if event.name == "lease.ended":
                    self._claim(event.subject, row)
                else:
                    self._release(event.subject, row)
            except HyperMeshError as error:
                log.warning("lease %s: %s", event.subject.hex()[:16], error)

    def _claim(self, lease_id: LeaseId, row: Lease) -> None:
        try:
            final = self._final_receipt(lease_id, row)
        except NotHeld:
            return
        self._wallet.submit(LeaseClaim(final.receipt, final.signature), self._attestation())

    def _release(self, lease_id: LeaseId, row: Lease) -> None:
        with self._lock:
            try:
                self._of(row.asset).adapter.release(lease_id, self._chain.now_ms())
            except NotHeld:
                return

    def _final_receipt(self, lease_id: LeaseId, row: Lease) -> ReceiptResponse:
        with self._lock:
            known = self._receipts.get(lease_id)
            if known is not None:
                return known
            reading = self._of(row.asset).adapter.release(lease_id, self._chain.now_ms())
            receipt: Receipt = reading.receipt(self._membership.genesis_id, lease_id, row.epoch)
            signature = sign(
                self._membership.keys, "receipt", self._membership.genesis_id, encode(receipt)
            )
            final = ReceiptResponse(receipt, signature)
            self._receipts[lease_id] = final
            while len(self._receipts) > RECEIPTS_KEPT:
                del self._receipts[next(iter(self._receipts))]
            return final

    # The parts

    def _view(self, state: State, asset_id: AssetId, caller: Caller) -> AssetView:
        """Raises where the level keeps `caller` out."""
        served = self._of(asset_id)
        return provider.view(
            asset_id,
            registry.existing(state, asset_id),
            served.record,
            caller,
            self._trusted,
            free=served.adapter.free,
            in_use=served.adapter.in_use,
        )

    def _discovered(self, part: Share) -> list[Descriptor]:
        inventory = discover(self._data)
        found: list[Descriptor] = []
        for adapter in (
            CpuAssetAdapter,
            MemoryAssetAdapter,
            StorageAssetAdapter,
            NetworkAssetAdapter,
            GpuAssetAdapter,
            ContainerAssetAdapter,
        ):
            found += adapter.discover(inventory, part)
        return found

    def _register(
        self, descriptor: Descriptor, level: PrivacyLevel, price: Price, concurrent_max: int
    ) -> Hosted:
        """The record is durable before the ledger hears of the asset."""
        networks = [self._membership.genesis_id]
        record = provider.hosted(
            self._wallet_owner(),
            descriptor,
            price,
            level=level,
            concurrent_max=concurrent_max,
            duration_ms_max=DURATION_MS_MAX,
            randomness=secrets.token_bytes(3 * address.SALT_BYTES),
            audience=Audience([], networks),
            identity=Identity.VERIFIED,
        )
        self._hosted.put(record)
        self._serve(record)
        return record

    def _ensure_registered(self, record: Hosted) -> None:
        with self._chain.ledger.state() as state:
            if registry.ASSETS.get(state, record.asset) is not None:
                return
        self._wallet.submit(provider.registration(record), self._attestation())

    def _serve(self, record: Hosted) -> None:
        with self._lock:
            self._served[record.asset] = Served(record, self._adapter(record.descriptor))

    def _adapter(self, descriptor: Descriptor) -> AssetAdapter:
        match descriptor.kind:
            case AssetKind.CPU:
                return CpuAssetAdapter(descriptor)
            case AssetKind.MEMORY:
                return MemoryAssetAdapter(descriptor, self._regions)
            case AssetKind.STORAGE:
                return StorageAssetAdapter(descriptor)
            case AssetKind.GPU:
                return GpuAssetAdapter(descriptor)
            case AssetKind.NETWORK:
                return NetworkAssetAdapter(descriptor)
            case AssetKind.CONTAINER:
                return ContainerAssetAdapter(descriptor)
            case _:
                raise NotAvailable(f"Assets of kind {descriptor.kind} cannot be served yet")

    def _require_room(self, kind: AssetKind, basis_points: int) -> None:
        """Shares of one kind never add up to more than the machine."""
        taken = sum(
            int(dict(record.descriptor.detail).get("share", "0"))
            for record in self._hosted
            if record.descriptor.kind is kind
        )
        if kind in LEASABLE and taken + basis_points > 10_000:
            raise Conflict(
                f"{taken / 100:g} % of this machine's {kind.value} is declared already",
                why=f"{basis_points / 100:g} % more would be above all of it",
            )

    def _of(self, asset_id: AssetId) -> Served:
        served = self._served.get(asset_id)
        if served is None:
            raise NotFound(f"This node does not host asset {asset_id.hex()}")
        return served

    def _leased(self, lease_id: LeaseId) -> Lease:
        with self._chain.ledger.state() as state:
            row = lease.existing(state, lease_id)
        if row.host != self._membership.keys.id:
            raise NotFound(f"Lease {lease_id.hex()} is of an asset on another node")
        return row

    def _own_leases(self) -> list[tuple[LeaseId, Lease]]:
        with self._chain.ledger.state() as state:
            rows = lease.LEASES.rows(state)
            return [(key, row) for key, row in rows if row.host == self._membership.keys.id]

    def _require_consumer(self, peer: Peer, row: Lease) -> None:
        if peer.owner != row.consumer:
            raise Forbidden("The lease is another owner's")

    def _wallet_owner(self) -> bytes:
        return self._membership.owner

    def _attestation(self) -> bytes:
        with self._chain.ledger.state() as state:
            return self._attestation_in(state)

    def _attestation_in(self, state: State) -> bytes:
        attestation = bundle_of(state, self._membership.keys.id)
        if attestation is None:
            raise Conflict(
                "This node has no attestation in force",
                why="its four proofs for this epoch are not on the ledger yet",
                fix="Try again in a moment",
            )
        return attestation


def _price(view: PriceView | None) -> Price | None:
    return None if view is None else Price(view.amount, view.per_units, view.per_ms)


def _privacy_view(record: Hosted) -> PrivacyView:
    return PrivacyView(
        asset=record.asset.hex(),
        kind=record.descriptor.kind,
        level=record.level,
        nodes=[node.hex() for node in record.audience.nodes],
        networks=[network.hex() for network in record.audience.networks],
    )
