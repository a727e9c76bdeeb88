"""Attacks on the own network, to see them refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.attempt import AttemptOrder, AttemptPage, AttemptResult, AttemptView

TIMEOUT_S = 120.0


def page() -> Call[AttemptPage]:
    return Call(AttemptPage, "GET", "/v1/attempts")


def run(name: str, content: bytes | None = None) -> Call[AttemptResult]:
    order = AttemptOrder(None if content is None else content.hex())
    path = f"/v1/attempts/{name}"
    return Call(AttemptResult, "POST", path, order, timeout_s=TIMEOUT_S)


class Attempts:
    """`mesh.attempts`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def list(self) -> Iterator[AttemptView]:
        """Every attempt with the bytes that it would send now."""
        return walk(self._rest, lambda _: page())

    def run(self, name: str, content: bytes | None = None) -> AttemptResult:
        """Carry out the attempt `name`, with `content` in place of what it prepares by itself."""
        return self._rest.run(run(name, content))


class AsyncAttempts:
    """`mesh.attempts`, awaited."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    def list(self) -> AsyncIterator[AttemptView]:
        """As `Attempts.list`."""
        return walk_async(self._rest, lambda _: page())

    async def run(self, name: str, content: bytes | None = None) -> AttemptResult:
        """As `Attempts.run`."""
        return await self._rest.run(run(name, content))
