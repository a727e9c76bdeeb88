"""Transactions and blocks as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex16, Hex32

HexBytes = Annotated[str, Meta(pattern="^([0-9a-f]{2})*$")]
"""Bytes of any number."""


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


class OperationView(msgspec.Struct, frozen=True):
    """One entry of a block, decoded.

    `words` say it in a sentence; `code` is "ok" or the code of the refusal, whose catalogue title
    is `refusal` and whose refused proofs are `failures`. The opening of a block has no `tx` and no
    signer. `lease`, `asset` and `node` name what it is about, where it names one.
    """

    index: int
    type: str
    words: str
    code: str
    tx: Hex32 | None = None
    signer: Hex32 | None = None
    signer_name: str | None = None
    refusal: str | None = None
    failures: list[str] = []
    lease: Hex32 | None = None
    asset: Hex16 | None = None
    node: Hex32 | None = None


class BlockSummary(msgspec.Struct, frozen=True):
    """A block in a list: its header, and its entries decoded, the opening first. At most
    `OPERATIONS_SHOWN_MAX` operations are shown of `entries`."""

    height: int
    time_ms: int
    hash: Hex32
    previous: Hex32
    app_hash: Hex32
    entries: int
    operations: list[OperationView]


OPERATIONS_SHOWN_MAX = 50
"""Operations of one block in a list of blocks; the block itself shows all."""


class BlockPage(msgspec.Struct, frozen=True):
    """A page of blocks, newest first; `next_cursor` is null at the end."""

    items: list[BlockSummary]
    next_cursor: str | None


class BlockView(msgspec.Struct, frozen=True):
    """A block. `entries` are canonical bytes as hex, the opening first; `codes` what became of
    each, `types` what each is, and `operations` what each says. `signed_header` is the canonical
    `SignedHeader`; null where validators vouch for the block."""

    height: int
    time_ms: int
    hash: Hex32
    previous: Hex32
    app_hash: Hex32
    entries: list[str]
    types: list[str]
    codes: list[str]
    entries_root: Hex32
    results_root: Hex32
    sequencer: Hex32
    signed_header: HexBytes | None
    operations: list[OperationView]


class TransactionDetail(msgspec.Struct, frozen=True):
    """`GET /v1/transactions/{id}`: a transaction that spent its nonce, decoded.

    `body` are its members by name, with bytes as hex; `transaction` is the canonical
    `SignedTransaction` as hex, of which the id covers all but the signature.
    """

    tx: Hex32
    height: int
    index: int
    time_ms: int
    block: Hex32
    operation: OperationView
    nonce: int
    valid_from_ms: int
    valid_until_ms: int
    attestation: HexBytes
    body: dict[str, Any]
    transaction: HexBytes


class ProvenTransaction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transaction with what shows, to whoever holds the genesis document, that a block holds it.

    `header` is the canonical `SignedHeader` of that block. `results` is the canonical list of all
    `TxResult`s of the block: it leads to the header's `results_root`, so it shows how many entries
    there are, which id is at which index, and what became of each. `path` leads from `transaction`
    (the canonical `SignedTransaction`) at `index` to the header's `entries_root`.
    """

    tx: Hex32
    type: str
    height: int
    index: int
    time_ms: int
    code: str
    transaction: HexBytes
    path: list[Hex32]
    results: HexBytes
    header: HexBytes


class ProvenRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the state after block `height`: `key` and `value` (null: there is no such row), the
    canonical `BucketProof` and `SignedHeader`, all as hex."""

    height: int
    key: HexBytes
    value: HexBytes | None
    proof: HexBytes
    header: HexBytes


class HistoryEntry(msgspec.Struct, frozen=True):
    """One operation on an asset, with its proof."""

    operation: OperationView
    proof: ProvenTransaction


class HistoryPage(msgspec.Struct, frozen=True):
    """`GET /assets/{id}/history`: what was done to an asset, oldest first.

    `genesis` is the canonical genesis document as hex, by which all proofs are checked. `row` is
    the asset as it is now, with its proof: its `epoch` counts the leases that it ever had and its
    `revision` the changes of its privacy and price, so that a list which leaves out one of those
    does not add up. Other operations are not counted anywhere: for them the list is complete on
    this node's word.
    """

    asset: Hex16
    genesis: HexBytes
    row: ProvenRow
    items: list[HistoryEntry]
    next_cursor: str | None
