"""Ids as people shorten them."""

from __future__ import annotations

from collections.abc import Iterable


def whole_id(text: str, known: Iterable[str], noun: str, listing: str) -> str:
    """The one of `known` that begins with `text`. `listing` is the command that shows them.

    Raises `InvalidInput` where `text` is empty, `NotFound` where none or several begin so.
    """
    from hypermesh.wire.errors import InvalidInput, NotFound

    if not text:
        raise InvalidInput(f"The id of a {noun} is empty", fix=f"See `{listing}`")
    found = {each for each in known if each.startswith(text)}
    if len(found) != 1:
        raise NotFound(
            f"{len(found) or 'No'} {noun}s begin with {text[:80]!r}",
            why="an id may be shortened to what no other begins with",
            fix=listing,
        )
    return found.pop()
