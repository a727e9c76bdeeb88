"""The economy of the network: `mesh.caesar`."""

from __future__ import annotations

from hypermesh.sdk.call import Call
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.caesar import CaesarView


def get() -> Call[CaesarView]:
    return Call(CaesarView, "GET", "/v1/caesar")


class Caesar:
    """`mesh.caesar`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def get(self) -> CaesarView:
        """Supply, fees, escrows and bonds at the last height, and whether they add up.

        assert mesh.caesar.get().conservation.holds
        """
        return self._rest.run(get())


class AsyncCaesar:
    """As `Caesar`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def get(self) -> CaesarView:
        """As `Caesar.get`."""
        return await self._rest.run(get())
