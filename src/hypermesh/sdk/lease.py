"""Leases, whatever they are of: `mesh.leases`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.lease import AllocateAsset, LeaseDetail, LeasePage, LeaseView, SessionView

DURATION_MS = 600_000
LEASING_TIMEOUT_S = 60.0
"""Two transactions and a call to the provider."""


def page(cursor: str | None = None, *, state: str | None = None) -> Call[LeasePage]:
    query = given(cursor=cursor, state=state)
    return Call(LeasePage, "GET", "/v1/leases", query=query)


def get(lease: str) -> Call[LeaseDetail]:
    return Call(LeaseDetail, "GET", f"/v1/leases/{lease}")


def session(lease: str) -> Call[SessionView]:
    return Call(SessionView, "GET", f"/v1/leases/{lease}/session")


def allocate(
    asset: str,
    amount: int,
    *,
    duration_ms: int = DURATION_MS,
    keep: bool = False,
    region: str | None = None,
    cost_max: int | None = None,
) -> Call[SessionView]:
    body = AllocateAsset(
        amount=amount, duration_ms=duration_ms, keep=keep, region=region, cost_max=cost_max
    )
    path = f"/assets/{asset}/allocate"
    return Call(SessionView, "PUT", path, body, timeout_s=LEASING_TIMEOUT_S)


def release(lease: LeaseView) -> Call[LeaseView]:
    return Call(
        LeaseView,
        "DELETE",
        f"/assets/{lease.asset}/release",
        query={"lease": lease.lease},
        timeout_s=LEASING_TIMEOUT_S,
    )


class Leases:
    """`mesh.leases`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def list(self, *, state: str | None = None) -> Iterator[LeaseView]:
        """Leases in which this owner lends or borrows, newest first; those in `state`, or all that
        are `running` or `over`.

        running = list(mesh.leases.list(state="running"))
        """
        return walk(self._rest, lambda cursor: page(cursor, state=state))

    def get(self, lease: str) -> LeaseDetail:
        """A lease by its id in hex, with its life so far: what was escrowed, paid, refunded.

        mesh.leases.get(region.lease.lease).lease.refund
        """
        return self._rest.run(get(lease))

    def allocate(
        self,
        asset: str,
        amount: int,
        *,
        duration_ms: int = DURATION_MS,
        keep: bool = False,
        region: str | None = None,
        cost_max: int | None = None,
    ) -> SessionView:
        """Lease `amount` units of an asset: escrow, offer, activation, capability. With `keep` the
        node keeps the session's keys, and `session` gives them again. With `region` only where
        the asset's owner says that it is there; with `cost_max` only for no more nCAES in all."""
        return self._rest.run(
            allocate(
                asset,
                amount,
                duration_ms=duration_ms,
                keep=keep,
                region=region,
                cost_max=cost_max,
            )
        )

    def session(self, lease: str) -> SessionView:
        """The keys of a lease that the node keeps; only over the owner's own socket."""
        return self._rest.run(session(lease))

    def release(self, lease: LeaseView) -> LeaseView:
        """End a lease and settle it by its metered use; one that is settled stays as it is."""
        return self._rest.run(release(lease))


class AsyncLeases:
    """As `Leases`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    def list(self, *, state: str | None = None) -> AsyncIterator[LeaseView]:
        """As `Leases.list`."""
        return walk_async(self._rest, lambda cursor: page(cursor, state=state))

    async def get(self, lease: str) -> LeaseDetail:
        """As `Leases.get`."""
        return await self._rest.run(get(lease))

    async def allocate(
        self,
        asset: str,
        amount: int,
        *,
        duration_ms: int = DURATION_MS,
        keep: bool = False,
        region: str | None = None,
        cost_max: int | None = None,
    ) -> SessionView:
        """As `Leases.allocate`."""
        return await self._rest.run(
            allocate(
                asset,
                amount,
                duration_ms=duration_ms,
                keep=keep,
                region=region,
                cost_max=cost_max,
            )
        )

    async def session(self, lease: str) -> SessionView:
        """As `Leases.session`."""
        return await self._rest.run(session(lease))

    async def release(self, lease: LeaseView) -> LeaseView:
        """As `Leases.release`."""
        return await self._rest.run(release(lease))
