"""Lists that come in pages, as iterators that fetch the next page when it is wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from hypermesh.sdk.call import Call
from hypermesh.sdk.rest import AsyncRest, Rest

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Page(Protocol[T_co]):
    """What every list of the API answers."""

    @property
    def items(self) -> Sequence[T_co]: ...

    @property
    def next_cursor(self) -> str | None: ...


def walk(rest: Rest, page: Callable[[str | None], Call[Page[T]]]) -> Iterator[T]:
    """Every item of a list; `page` gives the call for the page at a cursor."""
    cursor: str | None = None
    while True:
        found = rest.run(page(cursor))
        yield from found.items
        cursor = found.next_cursor
        if cursor is None:
            return


async def walk_async(
    rest: AsyncRest, page: Callable[[str | None], Call[Page[T]]]
) -> AsyncIterator[T]:
    """As `walk`."""
    cursor: str | None = None
    while True:
        found = await rest.run(page(cursor))
        for item in found.items:
            yield item
        cursor = found.next_cursor
        if cursor is None:
            return
