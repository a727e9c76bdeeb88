"""What this node lends: its assets on the ledger, offers, leases served, meters read.

The decisions are `assets.provider`'s and the adapters'; this is the shell that carries them out.
Adapters keep plain books, so one lock lets one thread at a time in; nobody holds it while waiting
for the ledger to move on, and nobody waits for it while reading a state. The ledger is the truth:
what a restarted node holds is what the ledger says it has leased, as far as the kind outlives a
process, and whose an asset is and on what terms is what the ledger has committed to.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypermesh.assets import address, lease, provider, registry, title
from hypermesh.assets.adapters.adapter import AssetAdapter, NoCapacity, NotHeld
from hypermesh.assets.adapters.container import ContainerAssetAdapter
from hypermesh.assets.adapters.cpu import CpuAssetAdapter
from hypermesh.assets.adapters.gpu import GpuAssetAdapter
from hypermesh.assets.adapters.memory import MemoryAssetAdapter, Regions
from hypermesh.assets.adapters.network import NetworkAssetAdapter
from hypermesh.assets.adapters.storage import StorageAssetAdapter
from hypermesh.assets.discovery import discover
from hypermesh.assets.hosting import Hosted, HostedAssets
from hypermesh.assets.inventory import Share
from hypermesh.assets.privacy import Caller, Decision, may_change
from hypermesh.caesar.economics import staking
from hypermesh.catalog.engines.ladder import Ladder
from hypermesh.catalog.outcome import outcome
from hypermesh.consensus.attestation import bundle_of
from hypermesh.crypto.signature import sign
from hypermesh.ledger.feed import Commit
from hypermesh.ledger.module import State
from hypermesh.node.chain import Chain
from hypermesh.node.executing import Executing
from hypermesh.node.membership import Membership
from hypermesh.node.metrics import Metrics
from hypermesh.node.readings import Readings
from hypermesh.node.service import WORKERS, Peer
from hypermesh.node.waits import Waits
from hypermesh.node.wallet import Wallet
from hypermesh.wire.api.asset import PriceView, RegisterAsset
from hypermesh.wire.asset import (
    Asset,
    AssetKind,
    AssetTerms,
    Audience,
    ConsumerIdentity,
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
    ALPN_PARTNER,
    ActivateResponse,
    AssetView,
    DescribeRequest,
    DescribeResponse,
    JobCancelRequest,
    JobCancelResponse,
    JobOutputRequest,
    JobOutputResponse,
    JobRequest,
    JobResult,
    LeaseRequest,
    ReceiptResponse,
    SetTermsRequest,
    SetTermsResponse,
    TermsRequest,
    TermsResponse,
)
from hypermesh.wire.tx import LeaseActivate, LeaseClaim

HOUR_MS = 60 * 60 * 1000
DURATION_MS_MAX = 24 * HOUR_MS
CONCURRENT_MAX = 64
ACTIVATING_TIMEOUT_S = 10.0
WAITS_MAX = WORKERS // 2
WAITS_OF_ONE_MAX = WAITS_MAX // 2
"""Calls that wait for a block, of all callers and of one."""
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

CHANGES = frozenset({"asset.terms", "asset.privacy", "asset.transferred", "asset.sold"})
"""Events after which the record of a hosted asset may have to follow the ledger."""

LEASABLE = (AssetKind.CPU, AssetKind.MEMORY)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """A hosted asset with the adapter that serves it."""

    record: Hosted
    adapter: AssetAdapter


@dataclass(frozen=True, slots=True)
class _Books:
    """What an adapter has left, and whether it serves a lease."""

    free: int
    in_use: bool


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
        readings: Readings,
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._wallet = wallet
        self._regions = regions
        self._executing = Executing(ladder)
        self._metrics = metrics
        self._locator = locator
        self._data = data
        self._hosted = HostedAssets(data / "hosted")
        self._served: dict[AssetId, Served] = {}
        self._receipts: dict[LeaseId, ReceiptResponse] = {}
        self._readings = readings
        self._activating: set[LeaseId] = set()
        self._waits = Waits(WAITS_MAX, WAITS_OF_ONE_MAX)
        self._lock = threading.RLock()
        self._activated = threading.Condition(self._lock)
        self._trusted = frozenset({membership.genesis_id})

    # What is declared

    def declare(self, part: Share, level: PrivacyLevel) -> None:
        """Register the share of this machine that its owner declares, and serve what is leasable.

        What a former start declared is kept as it was; kinds that are new are added.
        """
        for record in self._hosted:
            self._serve(record)
            self._follow(record.asset)
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

    def free(self, asset_id: AssetId) -> int | None:
        """Units that may be lent now; None for an asset that is not hosted here."""
        with self._lock:
            served = self._served.get(asset_id)
            if served is None:
                return None
            record, adapter = served.record, served.adapter
            return provider.lendable(record.descriptor.capacity, record.sharing.share, adapter.free)

    def record(self, asset_id: AssetId) -> Hosted | None:
        """What this node knows of an asset that it hosts."""
        return self._hosted.get(asset_id)

    # Calls of other nodes

    def describe(self, peer: Peer, request: DescribeRequest) -> DescribeResponse:
        """`asset.describe`: the view and an offer, for a caller that the terms let in."""
        books = self._books(request.asset)
        with self._chain.ledger.state() as state:
            caller = self._caller(state, peer)
            asset, committed = _row(state, request.asset)
            view = self._view(state, request.asset, caller, books)
            offer = provider.offer(
                self._membership.genesis_id,
                request.asset,
                asset,
                self._of(request.asset).record,
                caller,
                self._trusted,
                free=books.free,
                now_ms=self._chain.now_ms(),
                committed=committed,
            )
            attestation = self._attestation_in(state)
        signature = sign(self._membership.keys, "offer", self._membership.genesis_id, encode(offer))
        return DescribeResponse(view, offer, signature, attestation)

    def inspect(self, peer: Peer, request: DescribeRequest) -> AssetView:
        """`asset.inspect`: the view alone, also of what cannot be leased now."""
        books = self._books(request.asset)
        with self._chain.ledger.state() as state:
            return self._view(state, request.asset, self._caller(state, peer), books)

    def terms(self, peer: Peer, request: TermsRequest) -> TermsResponse:
        """`asset.terms`: all that its owner has set, for its owner."""
        self._require_owner(peer, request.asset, request.height)
        record = self._follow(request.asset)
        with self._lock:
            free = self._of(request.asset).adapter.free
        return TermsResponse(record.sharing, record.descriptor.capacity, free)

    def set_terms(self, peer: Peer, request: SetTermsRequest) -> SetTermsResponse:
        """`asset.set_terms`: write down what its owner is about to put on the ledger. Durable when
        answered; it holds from the block that commits to it."""
        self._require_owner(peer, request.asset, request.height)
        with self._lock:
            record = provider.proposed(self._follow(request.asset), request.sharing)
            self._keep(record)
        return SetTermsResponse(record.descriptor, record.salt, self._attestation())

    def activate(self, peer: Peer, request: LeaseRequest) -> ActivateResponse:
        """`lease.activate`: set the amount aside, say so on the ledger, let the session in."""
        if not self._is_known(request.lease):
            self._waits.seen(self._chain.feed, request.height, peer.id)
        row = self._leased(request.lease)
        self._require_consumer(peer, row)
        with self._alone(request.lease):
            row = self._leased(request.lease)
            if row.state is LeaseState.RESERVED:
                row = self._activate(request.lease, row)
            else:
                with self._lock:
                    self._of(row.asset).adapter.meter(request.lease, self._chain.now_ms())
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

        def allow(together: int) -> None:
            with self._lock:
                allowed = adapter.allowance(request.lease, request.epoch, self._chain.now_ms())
            if together > allowed:
                others = together - request.limits.cpu_millicores
                raise Conflict(
                    f"The job asks for {request.limits.cpu_millicores} millicores",
                    why=f"the lease has {allowed}, and its other jobs have {others} of them",
                )
            self._require_memory(request.limits.memory_bytes)

        def spend(result: JobResult) -> None:
            with self._lock:
                adapter.spend(request.lease, result.cpu_us, outcome(request, result))

        result = self._executing.run(peer.id, request, allow, spend)
        self._metrics.jobs.labels(result.reason).inc()
        return result

    def _require_memory(self, asked: int) -> None:
        """A job leases CPU, and its memory comes out of what this machine lends of that: the limits
        of all jobs never add up to more than what is free. A machine that lends none has no such
        bound."""
        with self._lock:
            shares = [each for each in self._served.values() if _is_memory(each)]
            free = sum(each.adapter.free for each in shares)
        together = self._executing.memory_bytes
        if shares and together > free:
            raise Conflict(
                f"The job asks for {asked} bytes of memory",
                why=f"{free} are free, and the other jobs here have {together - asked} of them",
                fix="Ask for less with --memory, or wait for others to end",
            )

    def job_output(self, peer: Peer, request: JobOutputRequest) -> JobOutputResponse:
        """`job.output`: what a running job of the session that asks has said."""
        return self._executing.output(peer.id, request)

    def cancel_job(self, peer: Peer, request: JobCancelRequest) -> JobCancelResponse:
        """`job.cancel`: end a running job of the session that asks."""
        return self._executing.cancel(peer.id, request)

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

    def observe(self, commit: Commit) -> bool:
        """React to a block: claim what ended unsettled, free what expired, take up the terms and
        the owner that it gave to an asset. Whether all of it was done; the rest is `catch_up`'s."""
        is_done = True
        for event in commit.events:
            if event.name in CHANGES and event.subject in self._served:
                try:
                    self._follow(event.subject)
                except (HyperMeshError, OSError) as error:
                    log.warning("asset %s: %s", event.subject.hex(), error)
                    is_done = False
            if event.name not in ("lease.ended", "lease.expired"):
                continue
            row = decode(Lease, event.data)
            if row.host != self._membership.keys.id:
                continue
            is_done = self._wind_up(event.subject, row) and is_done
        return is_done

    def catch_up(self) -> bool:
        """As `observe`, of all blocks so far, by the state that they led to: for blocks that were
        missed, and for what could not be done at the time."""
        for asset_id in list(self._served):
            self._follow(asset_id)
        is_done = True
        for lease_id, row in self._own_leases():
            if row.state not in lease.LIVE:
                is_done = self._wind_up(lease_id, row) and is_done
        return is_done

    def _wind_up(self, lease_id: LeaseId, row: Lease) -> bool:
        """Claim, or free, a lease that is over; whether that was done."""
        try:
            if row.state is LeaseState.ENDED:
                self._claim(lease_id, row)
            else:
                self._release(lease_id, row)
        except (HyperMeshError, OSError) as error:
            log.warning("lease %s: %s", lease_id.hex()[:16], error)
            return False
        return True

    def _claim(self, lease_id: LeaseId, row: Lease) -> None:
        try:
            final = self._final_receipt(lease_id, row)
        except NotHeld:
            return
        self._wallet.submit(LeaseClaim(final.receipt, final.signature), self._attestation())

    def _release(self, lease_id: LeaseId, row: Lease) -> None:
        with self._executing.ended(lease_id), self._lock, contextlib.suppress(NotFound):
            self._of(row.asset).adapter.release(lease_id, self._chain.now_ms())

    def _final_receipt(self, lease_id: LeaseId, row: Lease) -> ReceiptResponse:
        with self._executing.ended(lease_id), self._lock:
            known = self._receipts.get(lease_id)
            if known is not None:
                return known
            reading = self._of(row.asset).adapter.release(lease_id, self._chain.now_ms())
            receipt: Receipt = reading.receipt(self._membership.genesis_id, lease_id, row.epoch)
            signature = sign(
                self._membership.keys, "receipt", self._membership.genesis_id, encode(receipt)
            )
            final = ReceiptResponse(receipt, signature, reading)
            self._readings.put(lease_id, reading)
            self._receipts[lease_id] = final
            while len(self._receipts) > RECEIPTS_KEPT:
                del self._receipts[next(iter(self._receipts))]
            return final

    @contextlib.contextmanager
    def _alone(self, lease_id: LeaseId) -> Iterator[None]:
        """One thread at a time for a lease: a consumer that hears nothing asks again."""
        with self._activated:
            if not self._activated.wait_for(
                lambda: lease_id not in self._activating, ACTIVATING_TIMEOUT_S
            ):
                raise Conflict("This lease is being activated")
            self._activating.add(lease_id)
        try:
            yield
        finally:
            with self._activated:
                self._activating.discard(lease_id)
                self._activated.notify_all()

    def _activate(self, lease_id: LeaseId, row: Lease) -> Lease:
        with self._lock:
            adapter = self._of(row.asset).adapter
            lendable = self.free(row.asset) or 0
            if row.amount > lendable:
                raise NoCapacity(why=f"{lendable} are free of what its owner lends")
            adapter.reserve(lease_id, row)
        try:
            self._wallet.submit(LeaseActivate(lease_id), self._attestation())
            row = self._leased(lease_id)
            with self._lock:
                adapter.activate(lease_id, row)
        except BaseException:
            # It may have expired meanwhile, and then nothing is held any more.
            with self._lock, contextlib.suppress(NotHeld):
                adapter.release(lease_id, self._chain.now_ms())
            raise
        return row

    # The parts

    def _caller(self, state: State, peer: Peer) -> Caller:
        """Who calls, with what the ledger says of its node. One of another network is known by that
        network and its own id alone: its owner has no account here."""
        if peer.alpn == ALPN_PARTNER:
            networks = () if peer.network is None else (peer.network,)
            return Caller(peer.id, None, frozenset(networks))
        return Caller(
            peer.id,
            peer.owner,
            self._trusted,
            attested=bundle_of(state, peer.id) is not None,
            bonded=staking.bonded(state, peer.id),
        )

    def _books(self, asset_id: AssetId) -> _Books:
        """To be read before a state is: whoever follows the ledger reads a state with the lock
        held, and there are few places to read one from."""
        with self._lock:
            adapter = self._of(asset_id).adapter
            return _Books(adapter.free, adapter.in_use)

    def _view(self, state: State, asset_id: AssetId, caller: Caller, books: _Books) -> AssetView:
        """Raises where the terms keep `caller` out."""
        served = self._of(asset_id)
        asset, committed = _row(state, asset_id)
        return provider.view(
            asset_id,
            asset,
            served.record,
            caller,
            self._trusted,
            free=books.free,
            in_use=books.in_use,
            committed=committed,
            title=title.open_offer(state, asset_id, self._chain.now_ms()),
        )

    def _require_owner(self, peer: Peer, asset_id: AssetId, height: int) -> None:
        """By the ledger: a host serves whoever owns the asset now, and whoever has just bought it
        may have seen that a block earlier than this copy."""
        if not self._decision(peer, asset_id).allowed:
            self._waits.seen(self._chain.feed, height, peer.id)
            self._decision(peer, asset_id).require()

    def _decision(self, peer: Peer, asset_id: AssetId) -> Decision:
        record = self._of(asset_id).record
        with self._chain.ledger.state() as state:
            asset, _ = _row(state, asset_id)
            caller = self._caller(state, peer)
        terms = provider.terms_of(asset.owner, asset.level, record.sharing, self._trusted)
        return may_change(terms, caller)

    def _follow(self, asset_id: AssetId) -> Hosted:
        """The record of an asset as the ledger has it now, durable."""
        with self._lock:
            record = self._of(asset_id).record
            with self._chain.ledger.state() as state:
                asset = registry.ASSETS.get(state, asset_id)
                committed = registry.TERMS.get(state, asset_id)
            if asset is None:
                return record
            settled = provider.settled(record, asset, committed)
            if settled != record:
                self._keep(settled)
            return settled

    def _keep(self, record: Hosted) -> None:
        """With the lock held."""
        self._hosted.put(record)
        self._served[record.asset] = Served(record, self._served[record.asset].adapter)

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
            identity=ConsumerIdentity.VERIFIED,
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

    def _is_known(self, lease_id: LeaseId) -> bool:
        with self._chain.ledger.state() as state:
            return lease.LEASES.get(state, lease_id) is not None

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


def _row(state: State, asset_id: AssetId) -> tuple[Asset, AssetTerms | None]:
    """What the ledger holds of an asset. Raises `UnknownAsset`."""
    return registry.existing(state, asset_id), registry.TERMS.get(state, asset_id)


def _is_memory(served: Served) -> bool:
    return served.record.descriptor.kind is AssetKind.MEMORY
