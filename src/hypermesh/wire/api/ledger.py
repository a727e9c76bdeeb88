"""Transactions and blocks as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex32


class TransactionBytes(Body, frozen=True):
    """`POST /v1/transactions`: a canonical `SignedTransaction` as hex."""

    transaction: Annotated[str, Meta(max_length=512 * 1024)]


class TransactionView(msgspec.Struct, frozen=True):
    """What became of a transaction; it is durable when this is answered."""

    tx: Hex32
    height: int
    index: int
    code: str
    failures: list[str]


class BlockView(msgspec.Struct, frozen=True):
    """A block. `entries` are canonical bytes as hex, the opening first; `codes` what became of
    each, and `types` what each is."""

    height: int
    time_ms: int
    hash: Hex32
    previous: Hex32
    app_hash: Hex32
    entries: list[str]
    types: list[str]
    codes: list[str]
