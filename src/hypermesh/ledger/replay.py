"""Replay: execute a stored chain again from genesis and compare every app hash on the way.

It reads the database without claiming it, so a node may go on meanwhile, and it writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypermesh.ledger.errors import LedgerDamaged
from hypermesh.ledger.follower import follow
from hypermesh.ledger.kernel import Execution, Kernel
from hypermesh.ledger.state import MemoryBase
from hypermesh.sqlite.file import opened_to_read
from hypermesh.wire.block import Block, Genesis
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import NotFound
from hypermesh.wire.ids import Hash


@dataclass(frozen=True, slots=True)
class Replayed:
    """Where a replay ended: every block up to `height` led to the app hash that its header says."""

    height: int
    app_hash: Hash
    base: MemoryBase


def executions(kernel: Kernel, blocks: Iterable[bytes]) -> Iterator[tuple[Block, Execution]]:
    """Execute encoded `blocks` from genesis on, in memory: each with what it led to.

    Raises what `follower.follow` raises at the first block that does not lead where it says.
    """
    base = MemoryBase()
    base.take(kernel.begin(base))
    yield from _executions(kernel, base, blocks)


def replay(kernel: Kernel, blocks: Iterable[bytes]) -> Replayed:
    """As `executions`, for where it ends."""
    base = MemoryBase()
    base.take(kernel.begin(base))
    height = 0
    for block, _ in _executions(kernel, base, blocks):
        height = block.header.height
    return Replayed(height, base.tree.root, base)


def _executions(
    kernel: Kernel, base: MemoryBase, blocks: Iterable[bytes]
) -> Iterator[tuple[Block, Execution]]:
    for encoded in blocks:
        block = decode(Block, encoded)
        execution = follow(kernel, base, block)
        base.take(execution.changes)
        yield block, execution


class Archive:
    """The database of a ledger, opened read-only beside the node that may have it open."""

    def __init__(self, directory: Path) -> None:
        path = directory / "ledger.sqlite"
        if not path.exists():
            raise NotFound(f"There is no ledger in {directory}")
        self._connection = opened_to_read(path)

    def close(self) -> None:
        self._connection.close()

    def genesis(self) -> Genesis:
        """The genesis document that the database began with."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'genesis'").fetchone()
        if row is None:
            raise LedgerDamaged(why="it holds no genesis")
        return decode(Genesis, row[0])

    def blocks(self) -> Iterator[bytes]:
        """The encoded blocks by ascending height."""
        height = 0
        while True:
            row = self._connection.execute(
                "SELECT height, block FROM blocks WHERE height > ? ORDER BY height LIMIT 1",
                (height,),
            ).fetchone()
            if row is None:
                return
            height = row[0]
            yield row[1]
