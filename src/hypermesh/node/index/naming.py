"""Names and whole ids, out of the index and of what nodes call themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable

from hypermesh.caesar.token.accounts import FAUCET, FEES
from hypermesh.node.index.database import Database
from hypermesh.node.index.words import Names
from hypermesh.wire.errors import InvalidInput, NotFound
from hypermesh.wire.ids import Hash, NodeId, OwnerId, parse_hex

PREFIX_DIGITS_MIN = 8
"""Hex digits with which an id may be begun in place of all 64."""

_LISTED_BY = {"lease id": "hm lease ls --all", "transaction id": "hm block show HEIGHT"}
"""The command that shows the ids of a kind."""

_OWN_ACCOUNTS = {FAUCET: "faucet", FEES: "fees"}


def names(database: Database, node_name: Callable[[NodeId], str]) -> Names:
    """How things are called, as of now."""

    @functools.cache
    def owner(owner_id: OwnerId) -> str:
        if owner_id in _OWN_ACCOUNTS:
            return f"the {_OWN_ACCOUNTS[owner_id]}"
        node = database.node_of(owner_id)
        return owner_id.hex()[:12] if node is None else node_name(node)

    return Names(node_name, owner, database.asset, database.lease)


def is_of_the_ledger(owner: OwnerId) -> bool:
    """Whether an account is one of the ledger's own."""
    return owner in _OWN_ACCOUNTS


def whole_id(text: str, what: str, find: Callable[[bytes, bytes], list[Hash]]) -> Hash:
    """The id of 32 bytes that `text` is, or that alone begins with it. `find` gives the first two
    ids from one value up to another.

    Raises `InvalidInput`, and `NotFound` where none or more than one begins so.
    """
    if len(text) >= 64:
        return parse_hex(text, 32, what)
    if len(text) < PREFIX_DIGITS_MIN or not set(text) <= set("0123456789abcdef"):
        raise InvalidInput(
            f"{text[:80]!r} is not a {what}",
            why=f"expected 64 lower-case hex digits, or the first {PREFIX_DIGITS_MIN} or more",
            fix=f"Copy more of it: {_LISTED_BY[what]}",
        )
    found = find(bytes.fromhex(text.ljust(64, "0")), bytes.fromhex(text.ljust(64, "f")))
    if not found:
        raise NotFound(
            f"No {what} begins with {text}",
            why="this node's copy of the ledger has none",
            fix=_LISTED_BY[what],
        )
    if len(found) > 1:
        raise NotFound(f"More than one {what} begins with {text}", fix="Give more digits of it")
    return found[0]
