"""What a ledger must look like at each height, and whether one that was recovered does."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypermesh.caesar.audit import audit
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.ledger.blocktime import BlockClock
from hypermesh.ledger.engines.solo import Solo
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.follower import follow
from hypermesh.ledger.module import Refusal
from hypermesh.ledger.state import MemoryBase, Overlay
from hypermesh.ledger.store import Store
from hypermesh.node.rules import kernel as rules
from hypermesh.wire.block import Block, Genesis
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.tx import BlockOpening

from .ledger_process import WAIT_S, SteppingClock, transaction_key, vdf_key
from .promises import Promises, Verdict

_DUMPS = {
    "rows": "SELECT key, value FROM rows ORDER BY key",
    "buckets": "SELECT number, hash, entries FROM buckets ORDER BY number",
    "blocks": "SELECT height, header, block FROM blocks ORDER BY height",
    "transactions": "SELECT height, position, id FROM transactions ORDER BY height, position",
}


@dataclass(frozen=True)
class Height:
    """A ledger at one height: a digest of every table, and what it answers to those who ask."""

    tables: dict[str, str]
    answers: dict[str, str]


class Chain:
    """The heights of one chain, computed in memory from its blocks and genesis alone."""

    def __init__(self, genesis: Genesis, blocks: Iterable[bytes]) -> None:
        """Raises what `follow` and `audit` raise at the first block that does not lead where it
        says, or after which money does not add up."""
        self.genesis = genesis
        self.heights: list[Height] = []
        self._base = MemoryBase()
        self._kernel = rules(genesis)
        self._rows: dict[bytes, bytes] = {}
        self._buckets: dict[int, tuple[bytes, bytes]] = {}
        self._blocks: list[tuple[int, bytes, bytes]] = []
        self._transactions: list[tuple[int, int, bytes]] = []
        self._answers: dict[str, str] = {}
        self._take(self._kernel.begin(self._base))
        self._note()
        for encoded in blocks:
            self._add(encoded)

    def _add(self, encoded: bytes) -> None:
        block = decode(Block, encoded)
        execution = follow(self._kernel, self._base, block)
        self._take(execution.changes)
        height = block.header.height
        self._blocks.append((height, encode(block.header), encoded))
        self._transactions += [(height, index, tx) for index, tx in execution.executed]
        for index, result in enumerate(block.results[1:], start=1):
            self._answers[transaction_key(result.tx)] = f"{height}/{index} {result.code}"
        opening = decode(BlockOpening, block.entries[0])
        if opening.vdf is not None:
            self._answers[vdf_key(opening.vdf)] = str(height)
        audit(Overlay(self._base))
        self._note()

    def _take(self, changes: object) -> None:
        self._base.take(changes)  # type: ignore[arg-type]
        for key, value in changes.rows.items():  # type: ignore[attr-defined]
            if value is None:
                del self._rows[key]
            else:
                self._rows[key] = value
        for number, bucket in changes.buckets.items():  # type: ignore[attr-defined]
            self._buckets[number] = (bucket.hash, bucket.entries)

    def _note(self) -> None:
        tables = {
            "rows": _digest(sorted(self._rows.items())),
            "buckets": _digest((number, *pair) for number, pair in sorted(self._buckets.items())),
            "blocks": _digest(self._blocks),
            "transactions": _digest(self._transactions),
        }
        self.heights.append(Height(tables, dict(self._answers)))

    def check(self, point: Path, promises: Promises) -> Verdict:
        """Open the ledger that is left in `point`, as a node does, and compare."""
        try:
            store = opened(point / "node" / "ledger", self.genesis)
            try:
                return self._compare(store, promises)
            finally:
                store.close()
        except Exception as error:  # noqa: BLE001 - whatever keeps a node from its ledger
            return Verdict(lost=(f"the ledger cannot be read: {error!r}",))

    def _compare(self, store: Store, promises: Promises) -> Verdict:
        if store.height >= len(self.heights):
            return Verdict(invented=(f"height {store.height} was never reached",))
        (sound,) = store._writer.execute("PRAGMA integrity_check").fetchone()
        if sound != "ok":
            return Verdict(lost=(f"the database is damaged: {sound}",))
        expected = self.heights[store.height]
        for table, dump in _DUMPS.items():
            if _digest(store._writer.execute(dump)) != expected.tables[table]:
                return Verdict(invented=(f"at height {store.height}, {table} is not the replay's",))
        return promises.check(expected.answers)


def opened(directory: Path, genesis: Genesis) -> Store:
    """The ledger in `directory`, begun where it was not."""
    store = Store(directory, genesis)
    if not store.founded:
        store.found(rules(genesis).begin(store))
    return store


def blocks_of(directory: Path) -> Iterator[bytes]:
    """The blocks of the ledger in `directory`."""
    connection = sqlite3.connect(f"{directory.as_uri()}/ledger.sqlite?mode=ro", uri=True)
    try:
        yield from (
            row[0] for row in connection.execute("SELECT block FROM blocks ORDER BY height")
        )
    finally:
        connection.close()


def goes_on(
    directory: Path, genesis: Genesis, sequencer: QuantumKeys, entries: Iterable[bytes]
) -> dict[str, str]:
    """Open the ledger in `directory` and submit `entries` again, as their senders would that were
    not answered; what it then answers, after its chain was replayed from genesis."""
    store = opened(directory, genesis)
    kernel = rules(genesis)
    clock = BlockClock(kernel.head(store).time_ms, SteppingClock())
    engine = Solo(kernel, store, Feed(store.height), sequencer, clock)
    engine.start()
    try:
        for entry in entries:
            try:
                engine.submit(entry, WAIT_S)
            except Refusal:
                continue
    finally:
        assert engine.stop(WAIT_S)
        store.close()
    return Chain(genesis, blocks_of(directory)).heights[-1].answers


def _digest(rows: Iterable[tuple[object, ...]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        for cell in row:
            data = cell if isinstance(cell, bytes) else str(cell).encode()
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
    return digest.hexdigest()
