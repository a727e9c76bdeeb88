"""What this node leases from others, for its owner: describe, open, activate, use, settle.

The session keys of a lease are made here. Those of a lease that shall outlive the program that
asked for it are kept here too; they lie in one file of mode 0600 and go with the lease.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from hypermesh.assets import lease as leases
from hypermesh.assets import registry
from hypermesh.crypto.files import replace
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.ledger import identity
from hypermesh.ledger.module import State
from hypermesh.mfn.route import Outcome
from hypermesh.mfn.router import Router
from hypermesh.node.chain import Chain
from hypermesh.node.kept import read
from hypermesh.node.membership import Membership
from hypermesh.node.metrics import Metrics
from hypermesh.node.peers import Peers
from hypermesh.node.views import Views
from hypermesh.node.wallet import Wallet
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import EndpointClosed
from hypermesh.stoq.trust import Identity
from hypermesh.wire.amount import AMOUNT_MAX
from hypermesh.wire.api.asset import AssetView
from hypermesh.wire.api.job import JobSubmit, JobView
from hypermesh.wire.api.lease import AllocateAsset, LeaseView, SessionView, TrustView
from hypermesh.wire.asset import AssetKind, AssetState, Lease, LeaseState, Locator, PrivacyLevel
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import Conflict, Forbidden, HyperMeshError, NotFound, Overloaded
from hypermesh.wire.ids import AssetId, LeaseId, NodeId, hex_bytes, parse_hex
from hypermesh.wire.rpc import (
    ALPN_SESSION,
    SERVICE_JOB,
    ActivateResponse,
    Call,
    DescribeRequest,
    DescribeResponse,
    JobLimits,
    JobRequest,
    JobResult,
    LeaseRequest,
    ReceiptResponse,
)
from hypermesh.wire.rpc import AssetView as HostView
from hypermesh.wire.tx import LeaseOpen, LeaseSettle

SESSIONS_MAX = 4096
SESSIONS_BYTES_MAX = SESSIONS_MAX * 4096
"""More than `SESSIONS_MAX` of them in a file."""
CONNECT_TIMEOUT_MS = 5_000
JOBS_MAX = 32
"""Jobs of this node's owner that are waited for at a time."""
JOB_ANSWER_SPARE_MS = 20_000
JOB_LEASE_SPARE_MS = 30_000

log = logging.getLogger(__name__)


class _NotGranted(Exception):
    """A provider did not grant a lease; nothing was sent to it yet."""

    def __init__(self, reason: HyperMeshError) -> None:
        super().__init__()
        self.reason = reason


class KeptSession(msgspec.Struct, frozen=True, array_like=True):
    """The secret keys of one lease's session."""

    lease: LeaseId
    secret: bytes


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
        locate: Callable[[NodeId], Locator],
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._wallet = wallet
        self._peers = peers
        self._views = views
        self._metrics = metrics
        self._sessions = sessions
        self._locate = locate
        self._router = Router()
        self._routing = threading.Lock()
        self._jobs = threading.BoundedSemaphore(JOBS_MAX)
        self._calling: set[Endpoint] = set()
        self._is_closed = False

    def inspect(self, asset_id: AssetId) -> AssetView:
        """One asset; what the chain does not hold is asked of its host, which decides."""
        known = self._views.asset(asset_id)
        if known.capacity is not None and known.free is not None:
            return known
        shown = self._peers.call(
            bytes.fromhex(known.host), "asset.inspect", DescribeRequest(asset_id), HostView
        )
        return self._views.shown(known, shown)

    def allocate(self, asset_id: AssetId, request: AllocateAsset) -> SessionView:
        """Open and activate a lease; the session's keys are made here, and kept where asked."""
        keys = QuantumKeys.generate()
        with self._metrics.timed("lease"):
            lease_id = self._open(asset_id, request.amount, request.duration_ms, keys.id)
            if request.keep:
                self._sessions.put(lease_id, keys)
            self._activate(lease_id)
        return self._session(lease_id, keys.secret_bytes().hex())

    def session(self, lease_id: LeaseId) -> SessionView:
        """The kept session of an active lease."""
        keys = self._sessions.get(lease_id)
        if keys is None:
            raise NotFound(f"This node keeps no session of lease {lease_id.hex()}")
        return self._session(lease_id, keys.secret_bytes().hex())

    def release(self, asset_id: AssetId, lease_id: LeaseId) -> LeaseView:
        """Ask the host for its final reading, accept it on the ledger, and forget the session."""
        row = self._row(lease_id)
        if row.asset != asset_id:
            raise NotFound(f"Lease {lease_id.hex()} is not of asset {asset_id.hex()}")
        if row.consumer != self._membership.owner:
            raise Forbidden("The lease is another owner's")
        if row.state is LeaseState.ACTIVE or row.state is LeaseState.ENDED:
            with self._metrics.timed("settle"):
                request = LeaseRequest(lease_id, self._chain.feed.height)
                final = self._peers.call(row.host, "lease.receipt", request, ReceiptResponse)
                if final.receipt.held_ms > row.duration_ms:
                    raise Conflict("The host's receipt says more than the lease's length")
                self._wallet.submit(
                    LeaseSettle(final.receipt, final.signature), self._attestation(row.host)
                )
        self._sessions.drop(lease_id)
        return self._views.lease(lease_id)

    def run(self, job: JobSubmit) -> JobView:
        """Lease CPU from the provider that the router chooses, run, settle.

        A provider that does not grant the lease is passed over for the next; a program that was
        sent is never sent a second time.
        """
        if not self._jobs.acquire(blocking=False):
            raise Overloaded(f"{JOBS_MAX} jobs are waited for already")
        try:
            return self._run(job)
        finally:
            self._jobs.release()

    def _run(self, job: JobSubmit) -> JobView:
        timings: dict[str, float] = {}
        started = time.perf_counter()

        def lap(name: str) -> None:
            timings[name] = round((time.perf_counter() - started) * 1000 - sum(timings.values()), 2)

        program = hex_bytes(job.program, "program"), hex_bytes(job.stdin, "input")
        candidates = self._candidates(job)
        lap("choose")
        while True:
            with self._routing:
                host = self._router.choose(sorted(candidates), _now_us(), secrets.randbits(32))
            asset_id = candidates.pop(host)
            keys = QuantumKeys.generate()
            outcome, began_us = Outcome.FAILED, _now_us()
            try:
                activated = self._lease_cpu(asset_id, job, keys.id)
                lap("lease")
                result = self._execute(job, *program, activated, keys, host)
                lap("run")
                outcome = Outcome.COMPLETED
                break
            except _NotGranted as passed:
                if not candidates:
                    raise passed.reason from None
                log.info("%s did not grant a lease: %s", host.hex()[:16], passed.reason)
            finally:
                with self._routing:
                    now_us = _now_us()
                    self._router.observe(host, outcome, now_us - began_us, now_us)
        lease_id = activated.capability.lease
        settled = self.release(asset_id, lease_id)
        lap("settle")
        return JobView(
            lease=lease_id.hex(),
            provider=host.hex(),
            engine=result.engine,
            exit_code=result.exit_code,
            reason=result.reason,
            stdout=result.stdout.decode("utf-8", "replace"),
            stderr=result.stderr.decode("utf-8", "replace"),
            wall_ms=result.wall_us / 1000,
            cpu_ms=result.cpu_us / 1000,
            memory_peak_bytes=result.memory_peak_bytes,
            isolation=result.isolation,
            enforced={"cpu": result.enforced_cpu, "memory": result.enforced_memory},
            paid=settled.paid or 0,
            fee=settled.fee or 0,
            timings_ms=timings,
        )

    # The steps of a lease

    def _open(self, asset_id: AssetId, amount: int, duration_ms: int, session: bytes) -> LeaseId:
        host = bytes.fromhex(self._views.asset(asset_id).host)
        offered = self._peers.call(
            host, "asset.describe", DescribeRequest(asset_id), DescribeResponse
        )
        offer = offered.offer
        if amount > offer.amount_max:
            raise leases.NoRoom(why=f"{offer.amount_max} units are free, not {amount}")
        if duration_ms > offer.duration_ms_max:
            raise leases.BeyondOffer(
                why=f"{duration_ms} ms, and {offer.duration_ms_max} are offered"
            )
        fee = self._membership.genesis.economy.lease_fee
        escrow = leases.escrow_needed(offer, amount, duration_ms, fee)
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

    def _activate(self, lease_id: LeaseId) -> ActivateResponse:
        row = self._row(lease_id)
        request = LeaseRequest(lease_id, self._chain.feed.height)
        activated = self._peers.call(row.host, "lease.activate", request, ActivateResponse)
        if activated.capability.lease != lease_id:
            raise Conflict("The host activated another lease than the one asked for")
        self._await_active(lease_id)
        return activated

    def _await_active(self, lease_id: LeaseId) -> None:
        """The host's activation is on the ledger before it answers; our copy may lag a block."""
        while self._row(lease_id).state is LeaseState.RESERVED:
            height = self._chain.feed.height
            if self._row(lease_id).state is not LeaseState.RESERVED:
                return
            if not self._chain.feed.wait(height + 1, CONNECT_TIMEOUT_MS / 1000):
                raise Conflict("The host says the lease is active; the ledger here does not yet")

    def _lease_cpu(self, asset_id: AssetId, job: JobSubmit, session: bytes) -> ActivateResponse:
        try:
            duration_ms = job.wall_ms + JOB_LEASE_SPARE_MS
            return self._activate(self._open(asset_id, job.cpu_millicores, duration_ms, session))
        except HyperMeshError as error:
            raise _NotGranted(error) from error

    def _execute(
        self,
        job: JobSubmit,
        program: bytes,
        stdin: bytes,
        activated: ActivateResponse,
        keys: QuantumKeys,
        host: NodeId,
    ) -> JobResult:
        """Send the program and wait; a lease that comes to nothing is settled at once."""
        capability = activated.capability
        request = JobRequest(
            lease=capability.lease,
            epoch=capability.epoch,
            engine=job.engine,
            program=program,
            arguments=job.arguments,
            stdin=stdin,
            limits=JobLimits(job.cpu_millicores, job.memory_bytes, job.wall_ms, job.output_bytes),
        )
        try:
            with self._endpoint(keys) as endpoint:
                connection = endpoint.connect(
                    activated.locator.host,
                    activated.locator.port,
                    peer=host,
                    alpn=ALPN_SESSION,
                    timeout_ms=CONNECT_TIMEOUT_MS,
                )
                answer = connection.request(
                    SERVICE_JOB,
                    encode(Call("job.run", encode(request))),
                    timeout_ms=job.wall_ms + JOB_ANSWER_SPARE_MS,
                )
            return decode(JobResult, answer)
        except HyperMeshError:
            with contextlib.suppress(HyperMeshError):
                self.release(self._row(capability.lease).asset, capability.lease)
            raise

    @contextlib.contextmanager
    def _endpoint(self, keys: QuantumKeys) -> Iterator[Endpoint]:
        """An endpoint for one session, which `close` cuts off."""
        policy = self._membership.policy(frozenset())
        with Endpoint.bind("::", policy=policy, identity=Identity.of_keys(keys)) as endpoint:
            with self._routing:
                if self._is_closed:
                    raise EndpointClosed("This node goes down")
                self._calling.add(endpoint)
            try:
                yield endpoint
            finally:
                with self._routing:
                    self._calling.discard(endpoint)

    def close(self) -> None:
        """Give up the jobs that are waited for: their leases are settled, their callers told."""
        with self._routing:
            self._is_closed = True
            calling = list(self._calling)
        for endpoint in calling:
            endpoint.close()

    def _candidates(self, job: JobSubmit) -> dict[NodeId, AssetId]:
        """Where the job may run: the asset asked for; else what others share with this owner; and
        where nobody has room, this machine."""
        with self._chain.ledger.state() as state:
            if job.asset is not None:
                asset_id = parse_hex(job.asset, 16, "asset id")
                return {registry.existing(state, asset_id).host: asset_id}
            fitting = dict(self._fitting(state, job.cpu_millicores))
        if not fitting:
            raise NotFound(
                f"No provider has {job.cpu_millicores} millicores free",
                why="of those that share CPU with this owner",
                fix="See `hm asset ls --kind cpu`, or ask for less",
            )
        own = self._membership.keys.id
        if len(fitting) > 1:
            fitting.pop(own, None)
        return fitting

    def _fitting(self, state: State, millicores: int) -> list[tuple[NodeId, AssetId]]:
        """CPU assets in service that this owner may lease, with room as far as the chain, or this
        node as the host, knows."""
        found = []
        for asset_id, asset in registry.ASSETS.rows(state):
            private = asset.level is PrivacyLevel.PRIVATE
            host = identity.node(state, asset.host)
            usable = (
                asset.kind is AssetKind.CPU
                and asset.state is AssetState.AVAILABLE
                and (not private or asset.owner == self._membership.owner)
                and host is not None
                and not host.revoked
            )
            free = self._views.asset(asset_id).free if usable else 0
            if usable and (free is None or free >= millicores):
                found.append((asset.host, asset_id))
        return found

    def _session(self, lease_id: LeaseId, secret: str) -> SessionView:
        view = self._views.lease(lease_id)
        locator = self._locate(bytes.fromhex(view.provider))
        genesis = self._membership.genesis
        return SessionView(
            lease=msgspec.structs.replace(view, host=locator.host, port=locator.port),
            secret=secret,
            trust=TrustView(
                genesis=self._membership.genesis_id.hex(),
                root=genesis.root_certificate.hex(),
                issuing=genesis.issuing_certificate.hex(),
            ),
        )

    def _row(self, lease_id: LeaseId) -> Lease:
        with self._chain.ledger.state() as state:
            return leases.existing(state, lease_id)

    def _attestation(self, host: NodeId) -> bytes:
        return self._views.attestation(host)


def _now_us() -> int:
    return time.monotonic_ns() // 1000
