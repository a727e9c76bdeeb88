"""The ledger as its readers see it: status, blocks, transactions, rows and their proofs.

Every answer comes from one committed height. It is the same on a sequencer and on a follower; only
the height may lag there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hypermesh.ledger.feed import Feed
from hypermesh.ledger.module import Event, State
from hypermesh.ledger.store import Store
from hypermesh.wire.block import Block, BucketProof, Genesis, SignedHeader
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import NotAvailable, NotFound
from hypermesh.wire.ids import TxId
from hypermesh.wire.rpc import BlocksRequest, BlocksResponse, LedgerStatus
from hypermesh.wire.tx import SignedTransaction, TxResult

ASSURANCE_SOLO = "trusted sequencer"
"""What a header under `solo` is worth: its sequencer's word."""
RESPONSE_BYTES_MAX = 3 << 20
"""Blocks in one response, together, unless the first alone is larger."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A transaction that spent its nonce, where it stands, and what became of it."""

    height: int
    index: int
    signed: SignedTransaction
    result: TxResult


@dataclass(frozen=True, slots=True)
class ProvenRow:
    """A row (None: there is none), with what shows it to anybody who has the genesis document."""

    value: bytes | None
    header: SignedHeader
    proof: BucketProof


class Ledger:
    """Reads of one store, by any thread."""

    def __init__(self, genesis: Genesis, store: Store, feed: Feed) -> None:
        self._genesis = genesis
        self._store = store
        self._feed = feed

    @contextmanager
    def state(self) -> Iterator[State]:
        """The rows at the last committed height, for the read functions of modules."""
        with self._store.snapshot() as snapshot:
            yield snapshot

    @contextmanager
    def state_with_height(self) -> Iterator[tuple[int, State]]:
        """As `state`, with the height that its rows are of."""
        with self._store.snapshot() as snapshot:
            yield snapshot.height, snapshot

    def status(self) -> LedgerStatus:
        """Height, app hash and time of the last block."""
        with self._store.snapshot() as snapshot:
            header = snapshot.header(snapshot.height)
            if header is None:
                return LedgerStatus(
                    0, snapshot.genesis_root(), self._genesis.created_ms, ASSURANCE_SOLO
                )
        return LedgerStatus(header.height, header.app_hash, header.time_ms, ASSURANCE_SOLO)

    def block(self, height: int) -> Block:
        """The block at `height`. Raises `NotFound`."""
        with self._store.snapshot() as snapshot:
            encoded, newest = snapshot.block(height), snapshot.height
        if encoded is None:
            raise NotFound(
                f"There is no block {height} yet",
                why=f"the newest one here is {newest}",
                fix="hm block ls",
            )
        return decode(Block, encoded)

    def happened(self, first: int, last: int) -> list[tuple[Block, tuple[Event, ...]]]:
        """The blocks from height `first` to `last` or to the end, with their events. It stops short
        of the first block whose events are no longer kept."""
        found: list[tuple[Block, tuple[Event, ...]]] = []
        with self._store.snapshot() as snapshot:
            for height in range(first, min(last, snapshot.height) + 1):
                encoded, events = snapshot.block(height), snapshot.events(height)
                if encoded is None or events is None:
                    break
                found.append((decode(Block, encoded), events))
        return found

    def blocks(self, request: BlocksRequest) -> BlocksResponse:
        """Blocks from a height on; waits up to `request.wait_ms` for the first."""
        self._feed.wait(request.height, request.wait_ms / 1000)
        return self._blocks(request)

    async def blocks_async(self, request: BlocksRequest) -> BlocksResponse:
        """As `blocks`."""
        await self._feed.wait_async(request.height, request.wait_ms / 1000)
        return self._blocks(request)

    def transaction(self, tx: TxId) -> Placed:
        """The transaction `tx`. Raises `NotFound` where no block executed it."""
        with self._store.snapshot() as snapshot:
            position = snapshot.position(tx)
            encoded = None if position is None else snapshot.block(position[0])
        if position is None or encoded is None:
            raise NotFound(f"No block has executed transaction {tx.hex()}")
        height, index = position
        block = decode(Block, encoded)
        signed = decode(SignedTransaction, block.entries[index])
        return Placed(height, index, signed, block.results[index])

    def row(self, key: bytes) -> ProvenRow:
        """The row under the state key `key`, or that there is none, with its proof.

        Raises `NotFound` before the first block, when no header vouches for anything yet.
        """
        return self.rows([key])[0]

    def rows(self, keys: Sequence[bytes]) -> list[ProvenRow]:
        """As `row`, several under one header."""
        height, proofs = self._store.prove_all(keys)
        block = self.block(height)
        if block.signature is None:
            raise NotAvailable("Proofs under validators' commits do not exist yet")
        header = SignedHeader(block.header, block.signature)
        return [ProvenRow(value, header, proof) for value, proof in proofs]

    def _blocks(self, request: BlocksRequest) -> BlocksResponse:
        blocks: list[bytes] = []
        size = 0
        with self._store.snapshot() as snapshot:
            for height in range(request.height, request.height + request.count_max):
                encoded = snapshot.block(height)
                if encoded is None:
                    break
                size += len(encoded)
                if blocks and size > RESPONSE_BYTES_MAX:
                    break
                blocks.append(encoded)
            return BlocksResponse(blocks, snapshot.height)
