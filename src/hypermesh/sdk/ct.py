"""Transparency logs of the network: `mesh.ct`."""

from __future__ import annotations

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.ct import CtGrowth, CtKeys, CtView
from hypermesh.wire.api.report import AuthorityReport

REPORT_TIMEOUT_S = 300.0
"""The logs are read in order, and may be long."""


def get() -> Call[CtView]:
    return Call(CtView, "GET", "/v1/ct")


def keys() -> Call[CtKeys]:
    return Call(CtKeys, "GET", "/v1/ct/keys")


def growth() -> Call[CtGrowth]:
    return Call(CtGrowth, "GET", "/v1/ct/growth")


def report(from_s: int = 0, to_s: int | None = None) -> Call[AuthorityReport]:
    query = {"from": str(from_s), **given(to=to_s)}
    return Call(AuthorityReport, "GET", "/v1/ct/report", query=query, timeout_s=REPORT_TIMEOUT_S)


class Ct:
    """`mesh.ct`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def get(self) -> CtView:
        """The logs of the network's authority, how far the ledger has anchored each, and where this
        node's own certificate is.

        mesh.ct.get().logs
        """
        return self._rest.run(get())

    def keys(self) -> CtKeys:
        """Origins and public keys of the logs that take entries, by the ledger."""
        return self._rest.run(keys())

    def growth(self) -> CtGrowth:
        """How the logs that take entries have grown: their sizes as the ledger anchored them."""
        return self._rest.run(growth())

    def report(self, from_s: int = 0, to_s: int | None = None) -> AuthorityReport:
        """What the authority's logs hold of the time from `from_s` on and before `to_s` (until
        now), seconds since 1970: issued, revoked, by whom, where. On the founder's node."""
        return self._rest.run(report(from_s, to_s))


class AsyncCt:
    """As `Ct`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def get(self) -> CtView:
        """As `Ct.get`."""
        return await self._rest.run(get())

    async def keys(self) -> CtKeys:
        """As `Ct.keys`."""
        return await self._rest.run(keys())

    async def growth(self) -> CtGrowth:
        """As `Ct.growth`."""
        return await self._rest.run(growth())

    async def report(self, from_s: int = 0, to_s: int | None = None) -> AuthorityReport:
        """As `Ct.report`."""
        return await self._rest.run(report(from_s, to_s))
