"""Memory: a lease is a region of bytes that the transport serves to the lease's session.

The bytes are allocated when the lease is reserved, so what is promised is there, and freed when it
is released. The grant names the session, the lease's epoch and its end; reads, writes and
compare-and-swap are served and checked in Rust, without this process's interpreter.
"""

from __future__ import annotations

from typing import Protocol

from hypermesh.assets.adapters.adapter import Holds, Reading, of_kind
from hypermesh.assets.inventory import Inventory, Share, descriptors
from hypermesh.wire.asset import AssetKind, Descriptor, Lease
from hypermesh.wire.ids import LeaseId

REGION_ID_BYTES = 16


class Regions(Protocol):
    """The regions of a STOQ endpoint, as far as lending them goes."""

    def create(self, region_id: bytes, size: int, /) -> object:
        """A region of `size` zero bytes that nobody may use yet."""
        ...

    def destroy(self, region_id: bytes, /) -> tuple[int, int, int]:
        """Shut every peer out, overwrite and free the bytes; the last counters. No byte moves after
        this has returned."""
        ...

    def grant(
        self,
        region_id: bytes,
        peer_id: bytes,
        /,
        *,
        offset: int,
        length: int,
        can_write: bool,
        expires_unix_ms: int,
        epoch: int,
    ) -> object:
        """Let a peer read, and write where it may, under `epoch` and until then."""
        ...

    def counters(self, region_id: bytes, /) -> tuple[int, int, int]:
        """Bytes read, bytes written, operations."""
        ...


def region_id(lease_id: LeaseId) -> bytes:
    """The region of a lease: the first 16 bytes of its id."""
    return lease_id[:REGION_ID_BYTES]


class MemoryAssetAdapter:
    """The memory that a node lends. The bytes of a lease do not outlive the process."""

    kind = AssetKind.MEMORY
    outlives_process = False

    def __init__(self, descriptor: Descriptor, regions: Regions) -> None:
        self._descriptor = descriptor
        self._regions = regions
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
        """Allocate the bytes. Besides the protocol's errors, those of the transport where the host
        itself has no memory left."""
        self._holds.add(lease_id, lease)
        try:
            self._regions.create(region_id(lease_id), lease.amount)
        except BaseException:
            self._holds.remove(lease_id)
            raise

    def activate(self, lease_id: LeaseId, lease: Lease) -> None:
        self._holds.get(lease_id)
        self._regions.grant(
            region_id(lease_id),
            lease.session,
            offset=0,
            length=lease.amount,
            can_write=True,
            expires_unix_ms=lease.ends_ms,
            epoch=lease.epoch,
        )
        self._holds.activate(lease_id, lease)

    def meter(self, lease_id: LeaseId, now_ms: int) -> Reading:
        hold = self._holds.get(lease_id)
        read, written, operations = self._regions.counters(region_id(lease_id))
        return Reading(hold.held_ms(now_ms), 0, read, written, operations)

    def release(self, lease_id: LeaseId, now_ms: int) -> Reading:
        """The region is destroyed rather than fenced: its epoch is the consumer's to raise as well,
        so a fence could be refused, and an end cannot."""
        hold = self._holds.get(lease_id)
        read, written, operations = self._regions.destroy(region_id(lease_id))
        self._holds.remove(lease_id)
        return Reading(hold.held_ms(now_ms), 0, read, written, operations)
