"""Leased memory: a region of bytes in another machine, with an address.

Control goes through the own node; the bytes go straight to the provider over STOQ. A write has
reached the provider's memory when it returns; nothing is kept back here, so there is nothing to
flush. A transfer is atomic within 128 KiB and no further; an aligned word of 8 bytes always is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.sdk import lease as leases
from hypermesh.sdk.measuring import Measuring
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.sdk.retry import ConnectionBroke
from hypermesh.sdk.threads import Threads
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.region import RemoteRegion
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.api.lease import LeaseView, SessionView, TrustView
from hypermesh.wire.errors import Forbidden, HyperMeshError, NotFound, Unreachable
from hypermesh.wire.rpc import ALPN_SESSION

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from hypermesh.sdk.array import AsyncRemoteArray, RemoteArray
    from hypermesh.wire.api.memory import Operation

CONNECT_TIMEOUT_MS = 10_000
WORD_BYTES = 8
PIECE_BYTES = 16 << 20
"""The most that one operation moves; longer reads and writes are made of several."""
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) after each piece, in the thread that moves it."""


class ProviderLost(Unreachable):
    """The provider of a lease does not answer any more.

    `provider` is its id and `provider_name` what it calls itself; `lease` is the lease's id, by
    which `mesh.leases.get` shows what is refunded.
    """

    code = "HM-SDK-0004"
    status = 504
    exit_code = 7
    title = "The provider of the lease is gone"
    remedy = "What it held for this lease may be lost; `mesh.leases.get` shows the refund"

    provider = ""
    provider_name = ""
    lease = ""

    @classmethod
    def of(cls, lease: LeaseView, error: Unreachable) -> ProviderLost:
        name = f"{lease.provider_name} " if lease.provider_name else ""
        lost = cls(
            f"Node {name}({lease.provider[:16]}) does not answer for lease {lease.lease[:16]}",
            why=error.why or error.what,
        )
        lost.provider, lost.lease = lease.provider, lease.lease
        lost.provider_name = lease.provider_name
        return lost


class Session:
    """The bytes of an active lease, over a connection of its own to the provider. Any number of
    threads may use it at once."""

    def __init__(self, session: SessionView) -> None:
        """Raises `ProviderLost` where the provider does not answer."""
        lease = session.lease
        if session.secret is None:
            raise Forbidden(
                "The node gave no keys for this lease",
                why="it gives them over its own UNIX socket alone",
                fix="Use a node of this machine: hm.connect()",
            )
        if lease.host is None or lease.port is None:
            raise NotFound(f"No locator is known for the provider of lease {lease.lease}")
        self.lease: LeaseView = lease
        self._measuring: Measuring | None = None
        keys = QuantumKeys.from_secret_bytes(bytes.fromhex(session.secret))
        trust = session.trust
        policy = TrustPolicy(
            network=bytes.fromhex(trust.genesis),
            roots=[bytes.fromhex(trust.root)],
            issuers=_issuers(trust, time.time_ns() // 1_000_000),
            revoked=[],
            version=0,
        )
        self._endpoint = Endpoint.bind("::", policy=policy, identity=Identity.of_keys(keys))
        try:
            self._connection = self._endpoint.connect(
                lease.host,
                lease.port,
                peer=bytes.fromhex(lease.provider),
                alpn=ALPN_SESSION,
                timeout_ms=CONNECT_TIMEOUT_MS,
            )
        except BaseException as error:
            self._endpoint.close()
            if isinstance(error, Unreachable):
                raise ProviderLost.of(lease, error) from error
            raise
        self.region = RemoteRegion(self._connection, bytes.fromhex(lease.lease)[:16], lease.epoch)

    def measured_by(self, measuring: Measuring) -> None:
        """Record with `measuring` what each operation from now on takes."""
        self._measuring = measuring

    def read(self, offset: int, length: int, progress: Progress | None = None) -> bytes:
        try:
            if length <= PIECE_BYTES and progress is None:
                started = perf_counter()
                found = self.region.read(offset, length)
                self._record("read", length, started)
                return found
        except Unreachable as error:
            raise ProviderLost.of(self.lease, error) from error
        content = bytearray(length)
        self.readinto(offset, content, progress)
        return bytes(content)

    def readinto(
        self, offset: int, buffer: WriteableBuffer, progress: Progress | None = None
    ) -> int:
        return self._pieces("read", self.region.readinto, offset, buffer, progress)

    def write(self, offset: int, data: ReadableBuffer, progress: Progress | None = None) -> int:
        return self._pieces("write", self.region.write, offset, data, progress)

    def compare_and_swap(self, offset: int, expected: int, desired: int) -> tuple[bool, int]:
        started = perf_counter()
        try:
            before = self.region.compare_and_swap(offset, expected, desired)
        except Unreachable as error:
            raise ProviderLost.of(self.lease, error) from error
        self._record("atomic", WORD_BYTES, started)
        return before == expected, before

    def _pieces(
        self,
        operation: Operation,
        move: Callable[[int, Any], int],
        offset: int,
        buffer: Any,
        progress: Progress | None,
    ) -> int:
        """Move all of `buffer`, a bounded piece at a time."""
        view = memoryview(buffer)
        length = view.nbytes
        try:
            if length <= PIECE_BYTES and progress is None:
                started = perf_counter()
                moved = move(offset, buffer)
                self._record(operation, length, started)
                return moved
            view = view.cast("B")
            for start in range(0, length, PIECE_BYTES):
                piece = view[start : start + PIECE_BYTES]
                started = perf_counter()
                move(offset + start, piece)
                self._record(operation, piece.nbytes, started)
                if progress is not None:
                    progress(start + piece.nbytes, length)
        except Unreachable as error:
            raise ProviderLost.of(self.lease, error) from error
        return length

    def close(self) -> None:
        if self._measuring is not None:
            self._measuring.close()
        self._connection.close()
        self._endpoint.close()

    def _record(self, operation: Operation, moved: int, started: float) -> None:
        if self._measuring is not None:
            self._measuring.record(operation, moved, perf_counter() - started)


class LeasedRegion:
    """A region under an active lease: `len(region)` bytes, read and written by slices or at
    offsets. Closing it settles the lease, unless it is kept. Any number of threads may use it at
    once; what they write to the same place comes in no order.

    with hm.connect() as mesh, mesh.memory.lease("256MiB") as region:
        region[0:5] = b"hello"
        assert region[0:5] == b"hello"
    """

    def __init__(self, rest: Rest, session: SessionView, *, keep: bool) -> None:
        self._rest = rest
        self._keep = keep
        self._session = Session(session)
        self._session.measured_by(Measuring(rest.place, session.lease.lease))
        self._is_open = True

    @property
    def lease(self) -> LeaseView:
        """The lease as it was when the region was opened."""
        return self._session.lease

    @property
    def region(self) -> RemoteRegion:
        """The region as STOQ has it: fetch_add, fences, time limits for each operation."""
        return self._session.region

    @property
    def address(self) -> GlobalAddress:
        """Where it is, in the mesh's own address space."""
        return GlobalAddress.parse(self.lease.address)

    def __len__(self) -> int:
        return self.lease.amount

    def read(self, offset: int, length: int, *, progress: Progress | None = None) -> bytes:
        """`length` bytes at `offset`. Raises `ProviderLost` where the provider is gone."""
        return self._session.read(offset, length, progress)

    def readinto(
        self, offset: int, buffer: WriteableBuffer, *, progress: Progress | None = None
    ) -> int:
        """Fill all of `buffer` from `offset` on; its length in bytes."""
        return self._session.readinto(offset, buffer, progress)

    def write(self, offset: int, data: ReadableBuffer, *, progress: Progress | None = None) -> int:
        """Put all of `data` at `offset`; it is there when this returns. Its length in bytes."""
        return self._session.write(offset, data, progress)

    def compare_and_swap(self, offset: int, expected: int, desired: int) -> tuple[bool, int]:
        """Swap the aligned 8-byte little-endian word at `offset`; (done, the word before)."""
        return self._session.compare_and_swap(offset, expected, desired)

    def numpy(self, dtype: Any = "uint8", shape: tuple[int, ...] | None = None) -> RemoteArray:
        """The region as an array of `dtype`, from its first byte; without `shape` all of it, in
        one dimension. No byte moves before the array is read or written.

        counts = region.numpy("int64")
        counts[0:3] = [1, 2, 3]
        """
        from hypermesh.sdk.array import Layout, RemoteArray

        return RemoteArray(self, Layout.of(len(self), dtype, shape))

    def __getitem__(self, place: slice) -> bytes:
        start, stop = _bounds(place, len(self))
        return self.read(start, stop - start) if stop > start else b""

    def __setitem__(self, place: slice, data: ReadableBuffer) -> None:
        start, stop = _bounds(place, len(self))
        view = memoryview(data)
        if stop - start != view.nbytes:
            raise ValueError(f"the slice has {stop - start} bytes and the data {view.nbytes}")
        if stop > start:
            self.write(start, view)

    def close(self) -> LeaseView | None:
        """Close the connection; settle the lease unless it is kept. Returns the settled lease.
        A second call does nothing."""
        if not self._is_open:
            return None
        self._is_open = False
        self._session.close()
        if self._keep:
            return None
        try:
            return self._rest.run(leases.release(self.lease))
        except ConnectionBroke:
            raise
        except Unreachable as error:
            raise ProviderLost.of(self.lease, error) from error

    def __enter__(self) -> LeasedRegion:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except HyperMeshError as unsettled:
            _note(error, unsettled)


class AsyncLeasedRegion:
    """As `LeasedRegion`, for asyncio; at offsets only, for a slice cannot be awaited. The blocking
    operations run in threads (`Threads`), so they cost about 50 µs more than those of
    `LeasedRegion`."""

    def __init__(self, rest: AsyncRest, session: Session, threads: Threads, *, keep: bool) -> None:
        self._rest = rest
        self._keep = keep
        self._session = session
        session.measured_by(Measuring(rest.place, session.lease.lease))
        self._threads = threads
        self._is_open = True

    @property
    def lease(self) -> LeaseView:
        """As `LeasedRegion.lease`."""
        return self._session.lease

    @property
    def region(self) -> RemoteRegion:
        """As `LeasedRegion.region`; its operations block."""
        return self._session.region

    @property
    def address(self) -> GlobalAddress:
        """As `LeasedRegion.address`."""
        return GlobalAddress.parse(self.lease.address)

    def __len__(self) -> int:
        return self.lease.amount

    async def read(self, offset: int, length: int, *, progress: Progress | None = None) -> bytes:
        """As `LeasedRegion.read`."""
        return await self._threads.run(self._session.read, offset, length, progress)

    async def readinto(
        self, offset: int, buffer: WriteableBuffer, *, progress: Progress | None = None
    ) -> int:
        """As `LeasedRegion.readinto`."""
        return await self._threads.run(self._session.readinto, offset, buffer, progress)

    async def write(
        self, offset: int, data: ReadableBuffer, *, progress: Progress | None = None
    ) -> int:
        """As `LeasedRegion.write`."""
        return await self._threads.run(self._session.write, offset, data, progress)

    async def compare_and_swap(self, offset: int, expected: int, desired: int) -> tuple[bool, int]:
        """As `LeasedRegion.compare_and_swap`."""
        return await self._threads.run(self._session.compare_and_swap, offset, expected, desired)

    def numpy(self, dtype: Any = "uint8", shape: tuple[int, ...] | None = None) -> AsyncRemoteArray:
        """As `LeasedRegion.numpy`."""
        from hypermesh.sdk.array import AsyncRemoteArray, Layout

        return AsyncRemoteArray(self, Layout.of(len(self), dtype, shape))

    async def close(self) -> LeaseView | None:
        """As `LeasedRegion.close`."""
        if not self._is_open:
            return None
        self._is_open = False
        await self._threads.run(self._session.close)
        if self._keep:
            return None
        try:
            return await self._rest.run(leases.release(self.lease))
        except ConnectionBroke:
            raise
        except Unreachable as error:
            raise ProviderLost.of(self.lease, error) from error

    async def __aenter__(self) -> AsyncLeasedRegion:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        except HyperMeshError as unsettled:
            _note(error, unsettled)


def _issuers(trust: TrustView, now_ms: int) -> list[bytes]:
    """Whose certificates a provider may show at `now_ms`, milliseconds since 1970: in the grace of
    a replaced issuing CA it may not have renewed its own yet."""
    until_ms = trust.replaced_until_ms
    replaced = trust.replaced if until_ms is not None and now_ms <= until_ms else []
    return [bytes.fromhex(each) for each in (trust.issuing, *replaced)]


def _note(error: BaseException | None, unsettled: HyperMeshError) -> None:
    """Let the `error` that ended the block stand, with what followed from it as a note: a provider
    that is lost settles nothing either."""
    if error is None:
        raise unsettled
    error.add_note(f"The lease was not settled: {unsettled}")


def _bounds(place: slice, length: int) -> tuple[int, int]:
    if not isinstance(place, slice):
        raise TypeError(f"a region is read and written by slices, not by {place!r}")
    start, stop, step = place.indices(length)
    if step != 1:
        raise ValueError("a region is read and written in contiguous slices")
    return start, max(start, stop)
