"""Transparency logs of the network: `mesh.ct`."""

from __future__ import annotations

from hypermesh.sdk.call import Call
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.ct import CtKeys, CtView


def get() -> Call[CtView]:
    return Call(CtView, "GET", "/v1/ct")


def keys() -> Call[CtKeys]:
    return Call(CtKeys, "GET", "/v1/ct/keys")


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
