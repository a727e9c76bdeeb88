"""Remote memory: regions that an endpoint serves, and regions of a peer.

Operations are checked and served in Rust on the I/O thread of the endpoint that holds the region.
A grant binds a peer, a range, a mode, an expiry and an epoch; an operation carries the epoch of its
grant. A transfer is atomic within 128 KiB and no further; a word (8 bytes, little-endian, aligned)
always is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, final

from hypermesh import _native
from hypermesh.wire.ids import Hash

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from hypermesh.stoq.connection import Connection

TIMEOUT_MS = 60_000
"""How long one operation may take."""

RegionId = bytes
"""16 bytes."""


class Counters(NamedTuple):
    """What a region has served."""

    bytes_read: int
    bytes_written: int
    operations: int


@final
class Regions:
    """The regions of one endpoint. Nothing here reads or changes their bytes."""

    __slots__ = ("_native", "_sizes")

    def __init__(self, native: _native.StoqRegions) -> None:
        self._native = native
        self._sizes: dict[RegionId, int] = {}

    @property
    def sizes(self) -> dict[RegionId, int]:
        """Every region that is there, with its bytes."""
        return self._sizes.copy()

    def create(self, region: RegionId, size: int) -> None:
        """A region of `size` zero bytes, committed now, that nobody may use yet.

        Raises `RegionTooLarge` where the host cannot give them, `RegionExists` for a taken id.
        """
        self._native.create(region, size)
        self._sizes[region] = size

    def destroy(self, region: RegionId) -> Counters:
        """End a region: its bytes are overwritten when this returns. Raises `RegionUnknown`."""
        counters = Counters(*self._native.destroy(region))
        self._sizes.pop(region, None)
        return counters

    def grant(
        self,
        region: RegionId,
        peer: Hash,
        *,
        offset: int,
        length: int,
        can_write: bool,
        expires_unix_ms: int,
        epoch: int,
    ) -> None:
        """Let `peer` (NodeId or SessionId) use a range, in place of any grant it had.

        Raises `OutOfRange` outside the region, `Fenced` for an epoch below the region's.
        """
        self._native.grant(
            region,
            peer,
            offset=offset,
            length=length,
            can_write=can_write,
            expires_unix_ms=expires_unix_ms,
            epoch=epoch,
        )

    def revoke(self, region: RegionId, peer: Hash) -> bool:
        """Take a peer's grant away; whether it had one. No byte moves for it after this returns."""
        return self._native.revoke(region, peer)

    def fence(self, region: RegionId, epoch: int) -> None:
        """Refuse operations and grants below `epoch` from now on. It never goes back."""
        self._native.fence(region, epoch)

    def counters(self, region: RegionId) -> Counters:
        """What a region has served so far."""
        return Counters(*self._native.counters(region))


@final
class RemoteRegion:
    """A region of the peer at the other end of `connection`, in one epoch.

    Every operation blocks while other threads run, and raises `NoGrant`, `ReadOnly`,
    `GrantExpired`, `Fenced`, `OutOfRange` or `Unaligned` where the peer refuses it.
    """

    __slots__ = ("_native", "connection", "epoch", "region")

    def __init__(self, connection: Connection, region: RegionId, epoch: int) -> None:
        self.connection = connection
        self.region = region
        self.epoch = epoch
        self._native = connection.native

    def read(self, offset: int, length: int, *, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """`length` bytes at `offset`."""
        return self._native.read_region(
            length, region=self.region, epoch=self.epoch, offset=offset, timeout_ms=timeout_ms
        )

    def readinto(
        self, offset: int, buffer: WriteableBuffer, *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Fill all of `buffer` (contiguous; left alone by others meanwhile). Its length in bytes.
        Where this raises, the front of the buffer may have been filled."""
        return self._native.read_region_into(
            buffer, region=self.region, epoch=self.epoch, offset=offset, timeout_ms=timeout_ms
        )

    def write(self, offset: int, data: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Put all of `data` at `offset`; it is there when this returns. Its length in bytes.
        Where this raises, the front of the data may have been written."""
        return self._native.write_region(
            data, region=self.region, epoch=self.epoch, offset=offset, timeout_ms=timeout_ms
        )

    def compare_and_swap(
        self, offset: int, expected: int, desired: int, *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Put `desired` into the word at `offset` if it is `expected`. The word before: it has
        changed where that is `expected`. Words are 0 to 2^64 - 1."""
        return self._native.compare_and_swap(
            region=self.region,
            epoch=self.epoch,
            offset=offset,
            expected=expected,
            desired=desired,
            timeout_ms=timeout_ms,
        )

    def fetch_add(self, offset: int, delta: int, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Add `delta` (0 to 2^64 - 1) to the word at `offset`, modulo 2^64. The word before."""
        return self._native.fetch_add(
            region=self.region,
            epoch=self.epoch,
            offset=offset,
            delta=delta,
            timeout_ms=timeout_ms,
        )

    def fence(self, next_epoch: int, *, timeout_ms: int = TIMEOUT_MS) -> RemoteRegion:
        """Shut out every holder of an epoch below `next_epoch`, this object too; the region in the
        new epoch. Needs a grant to write and a higher epoch than the present one."""
        self._native.fence(
            region=self.region, epoch=self.epoch, next_epoch=next_epoch, timeout_ms=timeout_ms
        )
        return RemoteRegion(self.connection, self.region, next_epoch)
