"""Remote memory: regions that an endpoint serves, and regions of a peer.

Operations are checked and served in Rust on the I/O thread of the endpoint that holds the region.
A grant binds a peer, a range, a mode, an expiry and an epoch; an operation carries the epoch of its
grant. A transfer is atomic within 128 KiB and no further; a word (8 bytes, little-endian, aligned)
always is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, final

from hypermesh import _native
from hypermesh.stoq import completion
from hypermesh.wire.ids import Hash

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """A region of the peer at the other end of `connection`, in one epoch. Thread-safe.

    Every operation blocks while other threads run; `*_async` are the same for an event loop. It
    raises `NoGrant`, `ReadOnly`, `GrantExpired`, `Fenced`, `OutOfRange` or `Unaligned` where the
    peer refuses it.

    Buffers are contiguous and go down without a copy where they have more than 8 KiB. They are in
    use until the call returns, so leave them alone meanwhile; then they are free again. A cancelled
    task's buffer may be in use for a moment longer.
    """

    __slots__ = ("_native", "connection", "epoch", "region")

    def __init__(self, connection: Connection, region: RegionId, epoch: int) -> None:
        self.connection = connection
        self.region = region
        self.epoch = epoch
        self._native = connection.native.region(region, epoch)

    def read(self, offset: int, length: int, *, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """`length` bytes at `offset`."""
        return self._native.read(offset, length, timeout_ms)

    async def read_async(self, offset: int, length: int, *, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """Like `read`."""
        data: bytes = await completion.of_running_loop().call(
            lambda calls: self._native.start_read(calls, offset, length, timeout_ms)
        )
        return data

    def readinto(
        self, offset: int, buffer: WriteableBuffer, *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Fill all of `buffer`. Its length in bytes. Where this raises, the front of the buffer may
        have been filled."""
        return self._native.read_into(offset, buffer, timeout_ms)

    async def readinto_async(
        self, offset: int, buffer: WriteableBuffer, *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Like `readinto`."""
        return await completion.of_running_loop().count(
            lambda calls: self._native.start_read_into(calls, offset, buffer, timeout_ms)
        )

    def write(self, offset: int, data: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Put all of `data` at `offset`; it is there when this returns. Its length in bytes.
        Where this raises, the front of the data may have been written."""
        return self._native.write(offset, data, timeout_ms)

    async def write_async(
        self, offset: int, data: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Like `write`."""
        return await completion.of_running_loop().count(
            lambda calls: self._native.start_write(calls, offset, data, timeout_ms)
        )

    def gather(self, ranges: Sequence[tuple[int, int]], *, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """The bytes of all `ranges` (offset, length), one behind the other, in one operation for
        every 1,024 of them."""
        return self._native.gather(ranges, timeout_ms)

    async def gather_async(
        self, ranges: Sequence[tuple[int, int]], *, timeout_ms: int = TIMEOUT_MS
    ) -> bytes:
        """Like `gather`."""
        data: bytes = await completion.of_running_loop().call(
            lambda calls: self._native.start_gather(calls, ranges, timeout_ms)
        )
        return data

    def gather_into(
        self,
        ranges: Sequence[tuple[int, int]],
        buffer: WriteableBuffer,
        *,
        timeout_ms: int = TIMEOUT_MS,
    ) -> int:
        """Fill the front of `buffer` with the bytes of all `ranges`. How many bytes. Raises
        `OutOfRange` where it is too short."""
        return self._native.gather_into(ranges, buffer, timeout_ms)

    async def gather_into_async(
        self,
        ranges: Sequence[tuple[int, int]],
        buffer: WriteableBuffer,
        *,
        timeout_ms: int = TIMEOUT_MS,
    ) -> int:
        """Like `gather_into`."""
        return await completion.of_running_loop().count(
            lambda calls: self._native.start_gather_into(calls, ranges, buffer, timeout_ms)
        )

    def scatter(
        self, parts: Sequence[tuple[int, ReadableBuffer]], *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Put each buffer at its offset, in one operation for every 1,024 of them; all are there
        when this returns. How many bytes. Where this raises, some may have been written."""
        return self._native.scatter(parts, timeout_ms)

    async def scatter_async(
        self, parts: Sequence[tuple[int, ReadableBuffer]], *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Like `scatter`."""
        return await completion.of_running_loop().count(
            lambda calls: self._native.start_scatter(calls, parts, timeout_ms)
        )

    def compare_and_swap(
        self, offset: int, expected: int, desired: int, *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Put `desired` into the word at `offset` if it is `expected`. The word before: it has
        changed where that is `expected`. Words are 0 to 2^64 - 1."""
        return self._native.compare_and_swap(offset, expected, desired, timeout_ms)

    async def compare_and_swap_async(
        self, offset: int, expected: int, desired: int, *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Like `compare_and_swap`. A cancelled one may have happened."""
        return await completion.of_running_loop().count(
            lambda calls: self._native.start_compare_and_swap(
                calls, offset, expected, desired, timeout_ms
            )
        )

    def fetch_add(self, offset: int, delta: int, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Add `delta` (0 to 2^64 - 1) to the word at `offset`, modulo 2^64. The word before."""
        return self._native.fetch_add(offset, delta, timeout_ms)

    async def fetch_add_async(
        self, offset: int, delta: int, *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Like `fetch_add`. A cancelled one may have happened."""
        return await completion.of_running_loop().count(
            lambda calls: self._native.start_fetch_add(calls, offset, delta, timeout_ms)
        )

    def fence(self, next_epoch: int, *, timeout_ms: int = TIMEOUT_MS) -> RemoteRegion:
        """Shut out every holder of an epoch below `next_epoch`, this object too; the region in the
        new epoch. Needs a grant to write and a higher epoch than the present one."""
        self._native.fence(next_epoch, timeout_ms)
        return RemoteRegion(self.connection, self.region, next_epoch)
