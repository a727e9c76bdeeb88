"""What all adapters share: the protocol, the holds of one asset, and a meter's reading.

An adapter serves one asset of one node, through the same steps for every kind:

    reserve   when lease.open is seen: sets the amount aside, or refuses
    activate  when lease.activate is on the ledger: lets the session in, until the lease's end
    meter     any time: what was used so far
    release   ended, settled or expired: shuts the session out first, reads the meter last

A hold lives as long as its process. The ledger's lease outlives it; what a restarted provider can
still serve of it is the kind's to say (`outlives_process`). All times are block time.
Adapters keep plain books: the caller lets one thread at a time in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hypermesh.assets.inventory import Inventory, Share
from hypermesh.crypto.digest import digest_of
from hypermesh.wire.asset import AssetKind, Descriptor, Lease, Receipt
from hypermesh.wire.errors import Conflict, HyperMeshError, NotAvailable, NotFound
from hypermesh.wire.ids import GenesisId, LeaseId
from hypermesh.wire.reading import JobOutcome, MeterReading

HOLDS_MAX = 1024
"""Leases that one asset serves at once; also the most that the registry allows."""


class NoCapacity(HyperMeshError):
    """The asset has less left than is asked for."""

    code = "HM-ASSET-0002"
    status = 409
    exit_code = 8
    title = "The asset has not enough left"
    remedy = "Ask for less, or wait for a lease to end"


class HeldAlready(Conflict):
    """The amount of this lease is set aside already."""

    code = "HM-ASSET-0003"
    title = "This lease is held already"


class NotHeld(NotFound):
    """Nothing is set aside for this lease here."""

    code = "HM-ASSET-0004"
    title = "Nothing is set aside for this lease"


class Reading(MeterReading, frozen=True, array_like=True):
    """What a meter says of one lease."""

    def receipt(self, genesis: GenesisId, lease_id: LeaseId, epoch: int) -> Receipt:
        """The receipt to be signed; its evidence is the digest (name `meter`) of this reading."""
        return Receipt(
            genesis=genesis,
            lease=lease_id,
            epoch=epoch,
            held_ms=self.held_ms,
            cpu_us=self.cpu_us,
            bytes_read=self.bytes_read,
            bytes_written=self.bytes_written,
            evidence=digest_of("meter", self),
        )


class AssetAdapter(Protocol):
    """How the node sets one asset aside. Durable: nothing; the ledger holds what must last."""

    kind: AssetKind
    outlives_process: bool
    """Whether a lease can be served on after the provider's process was restarted."""

    @classmethod
    def discover(cls, inventory: Inventory, part: Share) -> list[Descriptor]:
        """What `part` of this machine is, as assets of this kind. None is a normal answer."""
        ...

    @property
    def descriptor(self) -> Descriptor:
        """The asset it serves."""
        ...

    @property
    def free(self) -> int:
        """Units that are not set aside."""
        ...

    @property
    def in_use(self) -> bool:
        """Whether a lease is served now: the node's own view of a state between Allocated and
        Available, which the ledger does not know."""
        ...

    def reserve(self, lease_id: LeaseId, lease: Lease) -> None:
        """Set the lease's amount aside. Raises `NoCapacity`, `HeldAlready`, or `NotAvailable` for a
        kind that cannot be leased yet."""
        ...

    def activate(self, lease_id: LeaseId, lease: Lease) -> None:
        """Let the lease's session in until `lease.ends_ms`. Raises `NotHeld`."""
        ...

    def meter(self, lease_id: LeaseId, now_ms: int) -> Reading:
        """What was used until `now_ms`. Raises `NotHeld`."""
        ...

    def release(self, lease_id: LeaseId, now_ms: int) -> Reading:
        """Shut the session out, free the amount, return the last reading. Raises `NotHeld`."""
        ...


@dataclass(slots=True)
class Hold:
    """What is set aside for one lease. `lease` is the ledger's row as last seen."""

    lease: Lease
    active: bool = False
    cpu_us: int = 0
    jobs: list[JobOutcome] = field(default_factory=list)

    def held_ms(self, now_ms: int) -> int:
        """How long it was held: from activation to `now_ms`, at most the lease's length."""
        if not self.active:
            return 0
        return min(max(0, now_ms - self.lease.starts_ms), self.lease.duration_ms)


class Holds:
    """The books of one asset: what is set aside for whom, never more than there is."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._reserved = 0
        self._holds: dict[LeaseId, Hold] = {}

    @property
    def free(self) -> int:
        return self._capacity - self._reserved

    @property
    def in_use(self) -> bool:
        return any(hold.active for hold in self._holds.values())

    def add(self, lease_id: LeaseId, lease: Lease) -> None:
        """Raises `HeldAlready` and `NoCapacity`."""
        if lease_id in self._holds:
            raise HeldAlready(f"Lease {lease_id.hex()} is held already")
        if lease.amount > self.free:
            raise NoCapacity(why=f"{self.free} of {self._capacity} are free, not {lease.amount}")
        if len(self._holds) >= HOLDS_MAX:
            raise NoCapacity(why=f"{HOLDS_MAX} leases are served at once, and no more")
        self._holds[lease_id] = Hold(lease)
        self._reserved += lease.amount

    def activate(self, lease_id: LeaseId, lease: Lease) -> None:
        hold = self.get(lease_id)
        hold.lease, hold.active = lease, True

    def get(self, lease_id: LeaseId) -> Hold:
        """Raises `NotHeld`."""
        hold = self._holds.get(lease_id)
        if hold is None:
            raise NotHeld(f"Nothing is set aside for lease {lease_id.hex()}")
        return hold

    def remove(self, lease_id: LeaseId) -> Hold:
        """Raises `NotHeld`."""
        hold = self.get(lease_id)
        del self._holds[lease_id]
        self._reserved -= hold.lease.amount
        return hold


class DiscoveryOnly:
    """A kind that is found and registered but cannot be leased yet."""

    kind: AssetKind
    outlives_process = False

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor

    @property
    def descriptor(self) -> Descriptor:
        return self._descriptor

    @property
    def free(self) -> int:
        """0: nothing of it can be leased."""
        return 0

    @property
    def in_use(self) -> bool:
        return False

    def reserve(self, lease_id: LeaseId, lease: Lease) -> None:
        raise self._unavailable(lease_id, f"{lease.amount} units")

    def activate(self, lease_id: LeaseId, lease: Lease) -> None:
        raise self._unavailable(lease_id, f"{lease.amount} units")

    def meter(self, lease_id: LeaseId, now_ms: int) -> Reading:
        raise self._unavailable(lease_id, f"at {now_ms} ms")

    def release(self, lease_id: LeaseId, now_ms: int) -> Reading:
        raise self._unavailable(lease_id, f"at {now_ms} ms")

    def _unavailable(self, lease_id: LeaseId, asked: str) -> NotAvailable:
        return NotAvailable(
            f"An asset of kind {self.kind} cannot be leased yet",
            why=f"it is discovered and registered, and nothing serves it "
            f"(lease {lease_id.hex()}, {asked})",
        )


def of_kind(kind: AssetKind, found: Sequence[Descriptor]) -> list[Descriptor]:
    """Those of `found` that are of `kind`."""
    return [descriptor for descriptor in found if descriptor.kind is kind]
