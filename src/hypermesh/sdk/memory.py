"""Memory of other machines: `mesh.memory`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from hypermesh.sdk import asset as assets
from hypermesh.sdk import lease as leases
from hypermesh.sdk.call import Call
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.region import AsyncLeasedRegion, LeasedRegion, Session
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.api.asset import AssetView, Page
from hypermesh.wire.api.lease import LeaseView, TooDear
from hypermesh.wire.asset import AssetKind, AssetState, LeaseState
from hypermesh.wire.errors import Forbidden, HyperMeshError, InvalidInput, NotFound, Unreachable
from hypermesh.wire.quantity import parse_bytes

PASSED_OVER = (Forbidden, NotFound, TooDear, Unreachable)
"""What makes a search go on to the next provider."""


class Memory:
    """`mesh.memory`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def lease(
        self,
        size: int | str,
        *,
        address: GlobalAddress | str | None = None,
        duration_ms: int = leases.DURATION_MS,
        keep: bool = False,
        cost_max: int | None = None,
    ) -> LeasedRegion:
        """Lease `size` bytes (or a text such as `"256MiB"`), at `address` or at the first provider
        that grants them.

        The lease ends when the region is closed, or after `duration_ms`. One that is kept outlives
        the region and this process: `open` finds it again. With `cost_max` it costs no more nCAES
        in all; a provider that asks for more is passed over.

        with mesh.memory.lease("1GiB") as region:
            region[0:5] = b"hello"
        """
        amount = _size(size)
        if address is not None:
            return self._lease_at(self.at(address), amount, duration_ms, keep, cost_max)
        candidates = fitting(walk(self._rest, _memory), amount)
        for asset in candidates[:-1]:
            try:
                return self._lease_at(asset, amount, duration_ms, keep, cost_max)
            except PASSED_OVER:
                continue
        return self._lease_at(candidates[-1], amount, duration_ms, keep, cost_max)

    def open(self, address: GlobalAddress | str) -> LeasedRegion:
        """The newest kept region at `address`; `NotFound` where there is none. Closing it leaves
        the lease as it is."""
        place = _address(address)
        for lease in leases.Leases(self._rest).list():
            if _is_active_at(lease, place):
                with contextlib.suppress(NotFound):
                    session = self._rest.run(leases.session(lease.lease))
                    return LeasedRegion(self._rest, session, keep=True)
        raise _nothing_kept(place)

    def put(
        self,
        address: GlobalAddress | str,
        data: bytes | bytearray | memoryview,
        *,
        duration_ms: int = leases.DURATION_MS,
    ) -> LeaseView:
        """Keep `data` at `address`, in place of what this owner kept there before; the lease.

        Bytes of the same length go into the lease that is there; others need a lease of their own,
        and so does what a provider has lost.
        """
        view = _content(data)
        place = _address(address)
        self.at(place)
        with contextlib.suppress(NotFound, Unreachable), self.open(place) as region:
            if len(region) == view.nbytes:
                with contextlib.suppress(Forbidden, NotFound):
                    region.write(0, view)
                    return region.lease
            with contextlib.suppress(HyperMeshError):
                self._rest.run(leases.release(region.lease))
        with self.lease(view.nbytes, address=place, duration_ms=duration_ms, keep=True) as region:
            region.write(0, view)
            return region.lease

    def at(self, address: GlobalAddress | str) -> AssetView:
        """The memory asset at `address`, as its host shows it."""
        place = _address(address)
        return _memory_at(place, self._rest.run(assets.get(place.asset_id.hex())))

    def _lease_at(
        self, asset: AssetView, amount: int, duration_ms: int, keep: bool, cost_max: int | None
    ) -> LeasedRegion:
        session = self._rest.run(
            leases.allocate(
                asset.asset, amount, duration_ms=duration_ms, keep=keep, cost_max=cost_max
            )
        )
        try:
            return LeasedRegion(self._rest, session, keep=keep)
        except HyperMeshError:
            self._rest.run(leases.release(session.lease))
            raise


class AsyncMemory:
    """As `Memory`, for asyncio.

    async with await mesh.memory.lease("64MiB") as region:
        await region.write(0, b"hello")
    """

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest
        self._threads = rest.threads

    async def lease(
        self,
        size: int | str,
        *,
        address: GlobalAddress | str | None = None,
        duration_ms: int = leases.DURATION_MS,
        keep: bool = False,
        cost_max: int | None = None,
    ) -> AsyncLeasedRegion:
        """As `Memory.lease`."""
        amount = _size(size)
        if address is not None:
            return await self._lease_at(await self.at(address), amount, duration_ms, keep, cost_max)
        visible = [each async for each in walk_async(self._rest, _memory)]
        candidates = fitting(visible, amount)
        for asset in candidates[:-1]:
            try:
                return await self._lease_at(asset, amount, duration_ms, keep, cost_max)
            except PASSED_OVER:
                continue
        return await self._lease_at(candidates[-1], amount, duration_ms, keep, cost_max)

    async def open(self, address: GlobalAddress | str) -> AsyncLeasedRegion:
        """As `Memory.open`."""
        place = _address(address)
        async for lease in leases.AsyncLeases(self._rest).list():
            if _is_active_at(lease, place):
                with contextlib.suppress(NotFound):
                    view = await self._rest.run(leases.session(lease.lease))
                    session = await self._threads.run(Session, view)
                    return AsyncLeasedRegion(self._rest, session, self._threads, keep=True)
        raise _nothing_kept(place)

    async def put(
        self,
        address: GlobalAddress | str,
        data: bytes | bytearray | memoryview,
        *,
        duration_ms: int = leases.DURATION_MS,
    ) -> LeaseView:
        """As `Memory.put`."""
        view = _content(data)
        place = _address(address)
        await self.at(place)
        with contextlib.suppress(NotFound, Unreachable):
            async with await self.open(place) as region:
                if len(region) == view.nbytes:
                    with contextlib.suppress(Forbidden, NotFound):
                        await region.write(0, view)
                        return region.lease
                with contextlib.suppress(HyperMeshError):
                    await self._rest.run(leases.release(region.lease))
        async with await self.lease(
            view.nbytes, address=place, duration_ms=duration_ms, keep=True
        ) as region:
            await region.write(0, view)
            return region.lease

    async def at(self, address: GlobalAddress | str) -> AssetView:
        """As `Memory.at`."""
        place = _address(address)
        return _memory_at(place, await self._rest.run(assets.get(place.asset_id.hex())))

    async def _lease_at(
        self, asset: AssetView, amount: int, duration_ms: int, keep: bool, cost_max: int | None
    ) -> AsyncLeasedRegion:
        view = await self._rest.run(
            leases.allocate(
                asset.asset, amount, duration_ms=duration_ms, keep=keep, cost_max=cost_max
            )
        )
        try:
            session = await self._threads.run(Session, view)
        except BaseException:
            await self._rest.run(leases.release(view.lease))
            raise
        return AsyncLeasedRegion(self._rest, session, self._threads, keep=keep)


def fitting(visible: Iterable[AssetView], size: int) -> list[AssetView]:
    """Memory that may have `size` bytes free, at other machines before this one."""
    seen = list(visible)
    found = [
        asset
        for asset in seen
        if asset.state is AssetState.AVAILABLE and (asset.free is None or asset.free >= size)
    ]
    if not found:
        raise NotFound(
            f"No memory asset has {size} bytes free",
            why=f"the most is {max(asset.free or 0 for asset in seen)} bytes, among {len(seen)}"
            if seen
            else "none is visible",
            fix="Ask for less; `hm asset ls --kind memory` shows what there is",
        )
    return sorted(found, key=lambda asset: asset.mine)


def _memory(cursor: str | None) -> Call[Page]:
    return assets.page(AssetKind.MEMORY, cursor)


def _memory_at(place: GlobalAddress, asset: AssetView) -> AssetView:
    if asset.kind is not AssetKind.MEMORY:
        raise InvalidInput(
            f"{place} is no memory",
            why=f"it is {asset.kind.value}",
            fix="See `hm asset ls --kind memory`",
        )
    if asset.address != str(place):
        raise NotFound(
            f"There is nothing at {place}", why=f"the asset's address is {asset.address}"
        )
    return asset


def _is_active_at(lease: LeaseView, place: GlobalAddress) -> bool:
    return lease.address == str(place) and lease.state is LeaseState.ACTIVE


def _nothing_kept(place: GlobalAddress) -> NotFound:
    return NotFound(
        f"Nothing of yours is kept at {place}",
        fix="Put something there first: hm memory put ADDRESS FILE",
    )


def _content(data: bytes | bytearray | memoryview) -> memoryview:
    view = memoryview(data).cast("B")
    if not view.nbytes:
        raise InvalidInput("There is nothing to put: the input is empty")
    return view


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
