"""The ledger as people read it: blocks, transactions and accounts, decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec

from hypermesh.assets.lease import LEASES
from hypermesh.assets.registry import ASSETS
from hypermesh.caesar.token.caes import CaesarToken
from hypermesh.crypto.digest import digest_of
from hypermesh.ledger.kernel import OK, Malformed, decode_entry
from hypermesh.node.chain import Chain
from hypermesh.node.index import words
from hypermesh.node.index.database import Entry
from hypermesh.node.index.index import Index, holdings
from hypermesh.node.index.naming import is_of_the_ledger, names, whole_id
from hypermesh.node.index.words import Names
from hypermesh.wire.api.account import AccountView, Change, EntryPage, EntryView, Reason
from hypermesh.wire.api.ledger import (
    OPERATIONS_SHOWN_MAX,
    BlockPage,
    BlockSummary,
    BlockView,
    OperationView,
    TransactionDetail,
)
from hypermesh.wire.asset import AssetKind, Lease
from hypermesh.wire.block import Block, SignedHeader
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotFound
from hypermesh.wire.ids import AssetId, LeaseId, NodeId, OwnerId
from hypermesh.wire.tx import (
    BlockOpening,
    Body,
    LeaseActivate,
    LeaseClaim,
    LeaseOpen,
    LeaseSettle,
    SignedTransaction,
    TxResult,
    tag_of,
)

OPENING = "system.block"
MALFORMED = "malformed"


class Explorer:
    """Reads, by any thread."""

    def __init__(self, chain: Chain, index: Index, node_name: Callable[[NodeId], str]) -> None:
        self._chain = chain
        self._index = index
        self._node_name = node_name

    # Blocks

    def blocks(self, cursor: str | None, limit: int) -> BlockPage:
        """Blocks below the height in `cursor`, newest first."""
        height = self._chain.feed.height
        newest = height if cursor is None else min(height, _number(cursor) - 1)
        called = self.names()
        items = [
            self._summary(self._chain.ledger.block(each), called)
            for each in range(newest, max(0, newest - limit), -1)
        ]
        last = items[-1].height if items else 0
        return BlockPage(items, str(last) if last > 1 else None)

    def block(self, height: int) -> BlockView:
        """One block. Raises `NotFound`."""
        block, called = self._chain.ledger.block(height), self.names()
        header = block.header
        signed = None if block.signature is None else SignedHeader(header, block.signature)
        operations = list(_operations(block, called))
        return BlockView(
            height=header.height,
            time_ms=header.time_ms,
            hash=digest_of("header", header).hex(),
            previous=header.previous.hex(),
            app_hash=header.app_hash.hex(),
            entries=[entry.hex() for entry in block.entries],
            types=[operation.type for operation in operations],
            codes=[result.code for result in block.results],
            entries_root=header.entries_root.hex(),
            results_root=header.results_root.hex(),
            sequencer=header.sequencer.hex(),
            signed_header=None if signed is None else encode(signed).hex(),
            operations=operations,
        )

    def operation(self, height: int, index: int) -> OperationView:
        """One entry of a block, decoded. Raises `NotFound`."""
        block = self._chain.ledger.block(height)
        if not 0 <= index < len(block.entries):
            raise NotFound(f"Block {height} has no entry {index}")
        return _operation(block.entries[index], block.results[index], index, self.names())

    def transaction(self, text: str) -> TransactionDetail:
        """A transaction by its id, or the beginning of it."""
        database = self._index.current()
        tx = whole_id(text, "transaction id", database.transactions)
        position = database.position(tx)
        if position is None:
            raise NotFound(f"No block has transaction {tx.hex()}")
        height, index = position
        block = self._chain.ledger.block(height)
        entry = block.entries[index]
        signed = decode_entry(entry)
        if not isinstance(signed, SignedTransaction):
            raise NotFound(f"Entry {index} of block {height} is no transaction")
        transaction = signed.transaction
        return TransactionDetail(
            tx=tx.hex(),
            height=height,
            index=index,
            time_ms=block.header.time_ms,
            block=digest_of("header", block.header).hex(),
            operation=_operation(entry, block.results[index], index, self.names()),
            nonce=transaction.nonce,
            valid_from_ms=transaction.valid_from_ms,
            valid_until_ms=transaction.valid_until_ms,
            attestation=transaction.attestation.hex(),
            body=_members(transaction.body),
            transaction=entry.hex(),
        )

    # Accounts

    def account(self, owner: OwnerId) -> AccountView:
        """What an account has now, by the ledger's own rows."""
        with self._chain.ledger.state() as state:
            balance, bonded, unbonding, in_escrow = holdings(state, {owner})[owner]
            anchor = CaesarToken(state).anchor
        return AccountView(owner.hex(), balance, bonded, in_escrow, anchor, unbonding)

    def entries(self, owner: OwnerId, cursor: str | None, limit: int) -> EntryPage:
        """Why an account has what it has, newest first. Raises `IndexDisagrees`."""
        before = None if cursor is None else _number(cursor)
        found = self._index.accounts().entries(owner, before, limit + 1)
        called = self.names()
        items = [_entry(each, called) for each in found[:limit]]
        return EntryPage(items, str(items[-1].sequence) if len(found) > limit else None)

    # Names

    def names(self) -> Names:
        """How things are called now. What the index has not read yet is looked up in the state."""
        called = names(self._index.database, self._node_name)

        def lease(lease_id: LeaseId) -> Lease | None:
            known = called.lease(lease_id)
            if known is not None:
                return known
            with self._chain.ledger.state() as state:
                return LEASES.get(state, lease_id)

        def asset(asset_id: AssetId) -> tuple[AssetKind, NodeId] | None:
            known = called.asset(asset_id)
            if known is not None:
                return known
            with self._chain.ledger.state() as state:
                row = ASSETS.get(state, asset_id)
            return None if row is None else (row.kind, row.host)

        return Names(called.node, called.owner, asset, lease)

    def _summary(self, block: Block, called: Names) -> BlockSummary:
        header = block.header
        operations = list(islice(_operations(block, called), OPERATIONS_SHOWN_MAX))
        return BlockSummary(
            height=header.height,
            time_ms=header.time_ms,
            hash=digest_of("header", header).hex(),
            previous=header.previous.hex(),
            app_hash=header.app_hash.hex(),
            entries=len(block.entries),
            operations=operations,
        )


def _operations(block: Block, called: Names) -> Iterator[OperationView]:
    for index, (entry, result) in enumerate(zip(block.entries, block.results, strict=True)):
        yield _operation(entry, result, index, called)


def _operation(entry: bytes, result: TxResult, index: int, called: Names) -> OperationView:
    try:
        decoded = decode_entry(entry)
    except Malformed:
        said = f"{len(entry)} bytes that are no transaction"
        return OperationView(index, MALFORMED, said, result.code, refusal=_refusal(result.code))
    if isinstance(decoded, BlockOpening):
        return OperationView(index, OPENING, words.opening(decoded), result.code)
    transaction = decoded.transaction
    body, signer = transaction.body, _signer(transaction.signer, called)
    lease = _lease(body, result.tx)
    asset = body.offer.asset if isinstance(body, LeaseOpen) else getattr(body, "asset", None)
    if asset is None and lease is not None:
        row = called.lease(lease)
        asset = None if row is None else row.asset
    node = getattr(body, "node", None)
    return OperationView(
        index=index,
        type=tag_of(body),
        words=words.operation(body, signer, called),
        code=result.code,
        tx=result.tx.hex(),
        signer=transaction.signer.hex(),
        signer_name=signer,
        refusal=_refusal(result.code),
        failures=list(result.failures),
        lease=None if lease is None else lease.hex(),
        asset=None if asset is None else asset.hex(),
        node=None if node is None else node.hex(),
    )


def _signer(signer: bytes, called: Names) -> str:
    """A node by its name; an owner by that of its first node."""
    of_owner = called.owner(signer)
    return of_owner if of_owner != signer.hex()[:12] else called.node(signer)


def _lease(body: Body, tx: bytes) -> bytes | None:
    match body:
        case LeaseOpen():
            return tx
        case LeaseActivate():
            return body.lease
        case LeaseSettle() | LeaseClaim():
            return body.receipt.lease
        case _:
            return None


def _refusal(code: str) -> str | None:
    if code == OK:
        return None
    known = HyperMeshError.catalogue.get(code)
    return "" if known is None else known.title


def _entry(entry: Entry, called: Names) -> EntryView:
    other = entry.counterparty
    about_lease = entry.event.startswith("lease.")
    about_node = entry.event.startswith("stake.") or entry.event == "bank.granted"
    return EntryView(
        sequence=entry.sequence,
        height=entry.height,
        index=entry.entry,
        time_ms=entry.time_ms,
        reason=Reason(entry.reason),
        words=words.reason(entry, called),
        change=Change(*entry.change),
        after=Change(*entry.after),
        tx=None if entry.tx is None else entry.tx.hex(),
        lease=entry.subject.hex() if about_lease else None,
        node=entry.subject.hex() if about_node else None,
        counterparty=None if other is None or is_of_the_ledger(other) else other.hex(),
        counterparty_name=None if other is None else called.owner(other),
        memo=entry.memo,
    )


def _members(value: msgspec.Struct) -> dict[str, Any]:
    """The members of a struct by name, with bytes as hex."""
    return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case msgspec.Struct():
            return _members(value)
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return msgspec.to_builtins(value)


def _number(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 15:
        raise InvalidInput(f"{cursor[:80]!r} is no cursor of this list")
    return int(cursor)
