"""Leased memory: a region of bytes in another machine, with an address.

Control goes through the own node; the bytes go straight to the provider over STOQ.

    with mesh.memory.lease("256MiB") as region:
        region[0:5] = b"hello"
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.sdk.lease import release
from hypermesh.sdk.rest import Rest
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.region import RemoteRegion
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.api.asset import AssetView, Page
from hypermesh.wire.api.lease import AllocateAsset, LeaseView, SessionView
from hypermesh.wire.asset import AssetKind, AssetState, LeaseState
from hypermesh.wire.errors import Forbidden, HyperMeshError, InvalidInput, NotFound, Unreachable
from hypermesh.wire.quantity import parse_bytes
from hypermesh.wire.rpc import ALPN_SESSION

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

CONNECT_TIMEOUT_MS = 10_000
DURATION_MS = 600_000


class LeasedRegion:
    """A region under an active lease: `len(region)` bytes, read and written by slices or at
    offsets. Closing it settles the lease, unless it is kept."""

    def __init__(self, rest: Rest, session: SessionView, *, keep: bool) -> None:
        lease = session.lease
        if session.secret is None:
            raise Forbidden("The node gave no keys for this lease")
        if lease.host is None or lease.port is None:
            raise NotFound(f"No locator is known for the provider of lease {lease.lease}")
        self._rest = rest
        self._keep = keep
        self.lease: LeaseView = lease
        keys = QuantumKeys.from_secret_bytes(bytes.fromhex(session.secret))
        trust = session.trust
        policy = TrustPolicy(
            network=bytes.fromhex(trust.genesis),
            roots=[bytes.fromhex(trust.root)],
            issuers=[bytes.fromhex(trust.issuing)],
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
                self._lost(error)
            raise
        self.region = RemoteRegion(self._connection, bytes.fromhex(lease.lease)[:16], lease.epoch)
        self._is_open = True

    @property
    def address(self) -> GlobalAddress:
        return GlobalAddress.parse(self.lease.address)

    def __len__(self) -> int:
        return self.lease.amount

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`."""
        try:
            return self.region.read(offset, length)
        except Unreachable as error:
            self._lost(error)
            raise

    def readinto(self, offset: int, buffer: WriteableBuffer) -> int:
        """Fill all of `buffer` from `offset` on; its length in bytes."""
        try:
            return self.region.readinto(offset, buffer)
        except Unreachable as error:
            self._lost(error)
            raise

    def write(self, offset: int, data: ReadableBuffer) -> int:
        """Put all of `data` at `offset`; it is there when this returns. Its length in bytes."""
        try:
            return self.region.write(offset, data)
        except Unreachable as error:
            self._lost(error)
            raise

    def compare_and_swap(self, offset: int, expected: int, desired: int) -> tuple[bool, int]:
        """Swap the aligned 8-byte little-endian word at `offset`; (done, the word before)."""
        try:
            before = self.region.compare_and_swap(offset, expected, desired)
        except Unreachable as error:
            self._lost(error)
            raise
        return before == expected, before

    def __getitem__(self, place: slice) -> bytes:
        start, stop = self._bounds(place)
        return self.read(start, stop - start) if stop > start else b""

    def __setitem__(self, place: slice, data: ReadableBuffer) -> None:
        start, stop = self._bounds(place)
        view = memoryview(data)
        if stop - start != view.nbytes:
            raise ValueError(f"the slice has {stop - start} bytes and the data {view.nbytes}")
        if stop > start:
            self.write(start, view)

    def _lost(self, error: Unreachable) -> None:
        """Name the provider in `error`."""
        error.why = f"node {self.lease.provider[:16]} provides it: {error.why or error.what}"

    def _bounds(self, place: slice) -> tuple[int, int]:
        if not isinstance(place, slice):
            raise TypeError(f"a region is read and written by slices, not by {place!r}")
        start, stop, step = place.indices(len(self))
        if step != 1:
            raise ValueError("a region is read and written in contiguous slices")
        return start, max(start, stop)

    def close(self) -> LeaseView | None:
        """Close the connection; settle the lease unless it is kept. Returns the settled lease.
        A second call does nothing."""
        if not self._is_open:
            return None
        self._is_open = False
        self._connection.close()
        self._endpoint.close()
        return None if self._keep else release(self._rest, self.lease)

    def __enter__(self) -> LeasedRegion:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Memory:
    """`mesh.memory`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def lease(
        self,
        size: int | str,
        *,
        address: GlobalAddress | str | None = None,
        duration_ms: int = DURATION_MS,
        keep: bool = False,
    ) -> LeasedRegion:
        """Lease `size` bytes (or a text such as `"256MiB"`), at `address` or at the first provider
        that grants them.

        The lease ends when the region is closed, or after `duration_ms`. One that is kept outlives
        the region and this process: `open` finds it again.
        """
        body = AllocateAsset(amount=_size(size), duration_ms=duration_ms, keep=keep)
        if address is not None:
            return self._lease_at(self.at(_address(address)), body)
        candidates = self._candidates(body.amount)
        for asset in candidates[:-1]:
            try:
                return self._lease_at(asset, body)
            except (Forbidden, NotFound, Unreachable):
                continue
        return self._lease_at(candidates[-1], body)

    def open(self, address: GlobalAddress | str) -> LeasedRegion:
        """The newest kept region at `address`; `NotFound` where there is none. Closing it leaves
        the lease as it is."""
        place = _address(address)
        for lease in self._rest.request(list[LeaseView], "GET", "/v1/leases"):
            if lease.address != str(place) or lease.state is not LeaseState.ACTIVE:
                continue
            try:
                session = self._rest.request(
                    SessionView, "GET", f"/v1/leases/{lease.lease}/session"
                )
            except NotFound:
                continue
            return LeasedRegion(self._rest, session, keep=True)
        raise NotFound(
            f"Nothing of yours is kept at {place}",
            fix="Put something there first: hm memory put ADDRESS FILE",
        )

    def put(
        self,
        address: GlobalAddress | str,
        data: bytes | bytearray | memoryview,
        *,
        duration_ms: int = DURATION_MS,
    ) -> LeaseView:
        """Keep `data` at `address`, in place of what this owner kept there before; the lease.

        Bytes of the same length go into the lease that is there; others need a lease of their own,
        and so does what a provider has lost.
        """
        view = memoryview(data).cast("B")
        if not view.nbytes:
            raise InvalidInput("There is nothing to put: the input is empty")
        place = _address(address)
        self.at(place)
        with contextlib.suppress(NotFound, Unreachable), self.open(place) as region:
            if len(region) == view.nbytes:
                with contextlib.suppress(Forbidden, NotFound):
                    region.write(0, view)
                    return region.lease
            with contextlib.suppress(HyperMeshError):
                release(self._rest, region.lease)
        with self.lease(view.nbytes, address=place, duration_ms=duration_ms, keep=True) as region:
            region.write(0, view)
            return region.lease

    def at(self, address: GlobalAddress) -> AssetView:
        """The memory asset at `address`, as its host shows it."""
        asset = self._rest.request(AssetView, "GET", f"/assets/{address.asset_id.hex()}")
        if asset.kind is not AssetKind.MEMORY:
            raise InvalidInput(
                f"{address} is no memory",
                why=f"it is {asset.kind.value}",
                fix="See `hm asset ls --kind memory`",
            )
        if asset.address != str(address):
            raise NotFound(
                f"There is nothing at {address}", why=f"the asset's address is {asset.address}"
            )
        return asset

    def _lease_at(self, asset: AssetView, body: AllocateAsset) -> LeasedRegion:
        session = self._rest.request(SessionView, "PUT", f"/assets/{asset.asset}/allocate", body)
        try:
            return LeasedRegion(self._rest, session, keep=body.keep)
        except HyperMeshError:
            release(self._rest, session.lease)
            raise

    def _candidates(self, size: int) -> list[AssetView]:
        """Memory that may have `size` bytes free, at other machines before this one."""
        visible: list[AssetView] = []
        query = {"kind": AssetKind.MEMORY.value}
        while True:
            page = self._rest.request(Page, "GET", "/assets", query=query)
            visible += page.items
            if page.next_cursor is None:
                break
            query["cursor"] = page.next_cursor
        fitting = [
            asset
            for asset in visible
            if asset.state is AssetState.AVAILABLE and (asset.free is None or asset.free >= size)
        ]
        if not fitting:
            raise NotFound(
                f"No memory asset has {size} bytes free",
                why=f"{len(visible)} memory assets are visible",
                fix="See `hm asset ls --kind memory`",
            )
        return sorted(fitting, key=lambda asset: asset.mine)


def _size(given: int | str) -> int:
    try:
        size = parse_bytes(given)
    except ValueError as error:
        raise InvalidInput(f"{given!r} is not a size", why=str(error)) from error
    if size < 1:
        raise InvalidInput("A region has at least one byte")
    return size


def _address(given: GlobalAddress | str) -> GlobalAddress:
    return GlobalAddress.parse(given) if isinstance(given, str) else given
