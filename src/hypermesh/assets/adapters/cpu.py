"""CPU: a lease is a number of millicores for jobs. Running them is the catalog's; this keeps the
books: how much each lease may use at once, and how much CPU time its jobs took."""

from __future__ import annotations

from hypermesh.assets.adapters.adapter import Holds, NotHeld, Reading, of_kind
from hypermesh.assets.inventory import Inventory, Share, descriptors
from hypermesh.wire.asset import AssetKind, Descriptor, Lease
from hypermesh.wire.ids import LeaseId
from hypermesh.wire.reading import JOBS_READ_MAX, JobOutcome


class CpuAssetAdapter:
    """The processors that a node lends. A restarted provider can take a lease up again, with the
    CPU time of before lost to its meter; price follows the time held, not this."""

    kind = AssetKind.CPU
    outlives_process = True

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor
        self._holds = Holds(descriptor.capacity)

    @classmethod
    def discover(cls, inventory: Inventory, part: Share) -> list[Descriptor]:
        return of_kind(cls.kind, descriptors(inventory, part))

    @property
    def descriptor(self) -> Descriptor:
        return self._descriptor

    @property
    def free(self) -> int:
        return self._holds.free

    @property
    def in_use(self) -> bool:
        return self._holds.in_use

    def reserve(self, lease_id: LeaseId, lease: Lease) -> None:
        self._holds.add(lease_id, lease)

    def activate(self, lease_id: LeaseId, lease: Lease) -> None:
        self._holds.activate(lease_id, lease)

    def allowance(self, lease_id: LeaseId, epoch: int, now_ms: int) -> int:
        """Millicores that a job of this lease may use now. Raises `NotHeld` for a lease that is not
        served: unknown, not active yet, ended, or of another epoch."""
        hold = self._holds.get(lease_id)
        if not hold.active or epoch != hold.lease.epoch or now_ms >= hold.lease.ends_ms:
            raise NotHeld(
                f"Lease {lease_id.hex()} is not served now",
                why=f"asked for epoch {epoch} at {now_ms} ms; "
                + (
                    f"it is epoch {hold.lease.epoch} until {hold.lease.ends_ms} ms"
                    if hold.active
                    else "it is reserved and not active yet"
                ),
            )
        return hold.lease.amount

    def spend(self, lease_id: LeaseId, cpu_us: int, outcome: JobOutcome | None = None) -> None:
        """Add a job to the lease's meter: its CPU time in microseconds, and what became of it.
        Raises `NotHeld`."""
        hold = self._holds.get(lease_id)
        hold.cpu_us += cpu_us
        if outcome is not None and len(hold.jobs) < JOBS_READ_MAX:
            hold.jobs.append(outcome)

    def meter(self, lease_id: LeaseId, now_ms: int) -> Reading:
        hold = self._holds.get(lease_id)
        return Reading(hold.held_ms(now_ms), hold.cpu_us, jobs=list(hold.jobs))

    def release(self, lease_id: LeaseId, now_ms: int) -> Reading:
        """The caller has stopped the lease's jobs and spent their CPU time before."""
        reading = self.meter(lease_id, now_ms)
        self._holds.remove(lease_id)
        return reading
