"""Taking more of a machine than was leased, and reading what another lease has left there."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator

from hypermesh.assets import registry
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.node.attempts.attempt import Outcome
from hypermesh.node.attempts.ground import Ground
from hypermesh.node.borrowing import Borrowing
from hypermesh.node.dialling import dial
from hypermesh.node.running import Running
from hypermesh.node.whereabouts import Whereabouts
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.region import RemoteRegion
from hypermesh.stoq.trust import Identity
from hypermesh.wire.api.job import FINAL, JobSubmit, JobView
from hypermesh.wire.api.lease import AllocateAsset, SessionView
from hypermesh.wire.asset import Asset, AssetKind, AssetState, Enforcement
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotAvailable, Unreachable
from hypermesh.wire.ids import AssetId
from hypermesh.wire.rpc import ALPN_SESSION

MILLICORES = 100
SPIN_S = 2
JOB_MS = 20_000
JOB_WAIT_S = 60.0
POLL_S = 0.05
BURST_MS = 100
"""What a quota of 100 ms periods may give beyond the share: one period of it at each end."""

REGION_BYTES = 65_536
LEASE_MS = 60_000

SPINNING = f"""\
import os, time

for _ in range(3):
    if os.fork() == 0:
        break
end = time.monotonic() + {SPIN_S}
while time.monotonic() < end:
    pass
"""


class CpuShare:
    """Four processes that spin under a lease of a tenth of a core."""

    name = "exceed-cpu"
    title = "Use more CPU than was leased"
    what = f"lease {MILLICORES} millicores and run four processes that never rest"
    rule = "the kernel's CPU quota around the job: catalog/sandbox/cgroup.py"

    def __init__(self, running: Running) -> None:
        self._running = running

    def prepare(self) -> bytes:
        return SPINNING.encode()

    def run(self, content: bytes) -> Outcome:
        submit = JobSubmit(
            engine="python", program=content.hex(), cpu_millicores=MILLICORES, wall_ms=JOB_MS
        )
        job = self._ended(self._running.submit(submit).job)
        if job.problem is not None:
            raise NotAvailable(
                "The job could not be run", why=f"{job.problem.detail}. {job.problem.cause}"
            )
        limit = job.enforced.get("cpu", Enforcement.UNENFORCED)
        allowed_ms = job.wall_ms * MILLICORES / 1000 + BURST_MS
        facts = (
            f"in {job.wall_ms:.0f} ms on {job.provider_name} it used {job.cpu_ms:.0f} ms of CPU; "
            f"{MILLICORES} millicores and one quota period allow {allowed_ms:.0f} ms"
        )
        if limit == Enforcement.UNENFORCED or job.cpu_ms > allowed_ms:
            return Outcome.through(f"{facts}; the limit is {limit}")
        return Outcome(True, str(limit), f"The kernel held it to its share ({limit})", facts)

    def _ended(self, job: str) -> JobView:
        deadline = time.monotonic() + JOB_WAIT_S
        while (view := self._running.get(job)).state not in FINAL:
            if time.monotonic() > deadline:
                self._running.cancel(job)
                raise Unreachable(f"Job {job} did not end within {JOB_WAIT_S:g} s")
            time.sleep(POLL_S)
        return view


class FreedMemory:
    """A lease's bytes after its end: through its own session, and under a new lease."""

    name = "read-freed-memory"
    title = "Read freed memory"
    what = "write to leased memory, end the lease, and read on; then lease again and look"
    rule = "a session ends with its lease, and a region's bytes with it: crates/stoq/src/memory.rs"

    def __init__(self, ground: Ground, borrowing: Borrowing, whereabouts: Whereabouts) -> None:
        self._ground = ground
        self._borrowing = borrowing
        self._whereabouts = whereabouts

    def prepare(self) -> bytes:
        return b"a secret that nobody else may read: " + secrets.token_hex(16).encode()

    def run(self, content: bytes) -> Outcome:
        if not 1 <= len(content) <= REGION_BYTES:
            raise InvalidInput(f"Between 1 and {REGION_BYTES} bytes can be written")
        asset_id, asset = self._memory()
        first = self._lease(asset_id)
        with self._session(first, asset) as (connection, region):
            region.write(0, content)
            self._borrowing.release(asset_id, bytes.fromhex(first.lease.lease))
            refusal = _read(region, len(content))
            connection.close()
        second = self._lease(asset_id)
        with self._session(second, asset) as (_, region):
            left = region.read(0, REGION_BYTES)
            self._borrowing.release(asset_id, bytes.fromhex(second.lease.lease))
        facts = (
            f"{len(content)} bytes written at {first.lease.address}, the lease ended, read again"
        )
        if refusal is None:
            return Outcome.through(f"{facts}: the old session still reads")
        if any(left):
            return Outcome.through(f"{facts}: a new lease finds bytes that are not zero")
        ended = Outcome.refusal(refusal, facts)
        reason = f"{ended.reason}; a new lease there reads {REGION_BYTES} zero bytes"
        return Outcome(True, ended.code, reason, facts)

    def _memory(self) -> tuple[AssetId, Asset]:
        """Memory to lease: on another node where there is some, for that is where it matters."""
        membership = self._ground.membership
        with self._ground.chain.ledger.state() as state:
            found = [
                (asset_id, asset)
                for asset_id, asset in registry.ASSETS.rows(state)
                if asset.kind is AssetKind.MEMORY
                and asset.state is AssetState.AVAILABLE
                and asset.owner == membership.owner
            ]
        if not found:
            raise NotAvailable("This owner has no memory asset that could be leased now")
        return min(found, key=lambda each: (each[1].host == membership.keys.id, each[0]))

    def _lease(self, asset_id: AssetId) -> SessionView:
        return self._borrowing.allocate(asset_id, AllocateAsset(REGION_BYTES, LEASE_MS))

    @contextlib.contextmanager
    def _session(
        self, session: SessionView, asset: Asset
    ) -> Iterator[tuple[Connection, RemoteRegion]]:
        """As the SDK connects: by the session's keys alone."""
        keys = QuantumKeys.from_secret_bytes(bytes.fromhex(session.secret or ""))
        policy = self._ground.membership.policy(frozenset())
        with Endpoint.bind("::", policy=policy, identity=Identity.of_keys(keys)) as endpoint:
            connection, _ = dial(endpoint, self._whereabouts.locate(asset.host), ALPN_SESSION)
            lease_id = bytes.fromhex(session.lease.lease)
            yield connection, RemoteRegion(connection, lease_id[:16], session.lease.epoch)


def _read(region: RemoteRegion, length: int) -> HyperMeshError | None:
    """Why the bytes cannot be read; None where they can."""
    try:
        region.read(0, length)
    except HyperMeshError as error:
        return error
    return None
