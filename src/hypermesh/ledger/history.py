"""What happened on the ledger from a height on: its blocks with the events that they led to.

The events of the last blocks are kept by the store. For blocks whose events it no longer keeps, the
chain is executed again from genesis in memory, and the events are those of that execution.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from hypermesh.ledger.feed import Feed
from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.ledger import Ledger
from hypermesh.ledger.module import Event
from hypermesh.ledger.replay import executions
from hypermesh.wire.block import Block
from hypermesh.wire.rpc import BlocksRequest

BLOCKS_AT_ONCE = 64

Happened: TypeAlias = tuple[Block, Sequence[Event]]

log = logging.getLogger(__name__)


class History:
    """Reads of one ledger, by any thread."""

    def __init__(self, ledger: Ledger, feed: Feed, kernel: Callable[[], Kernel]) -> None:
        self._ledger = ledger
        self._feed = feed
        self._kernel = kernel

    def since(self, first: int, stopping: threading.Event) -> Iterator[Sequence[Happened]]:
        """Blocks from height `first` on with their events, some at a time and in order, until there
        are no more or `stopping` is set."""
        while first <= self._feed.height and not stopping.is_set():
            happened: Sequence[Happened] = self._ledger.happened(first, first + BLOCKS_AT_ONCE - 1)
            if not happened:
                yield from self._executed(first, stopping)
                return
            yield happened
            first = happened[-1][0].header.height + 1

    def _executed(self, first: int, stopping: threading.Event) -> Iterator[Sequence[Happened]]:
        """As `since`, by executing the chain again from genesis."""
        log.info("the events of block %d are not kept; executing from genesis", first)
        batch: list[Happened] = []
        for block, execution in executions(self._kernel(), self._blocks(stopping)):
            if block.header.height >= first:
                batch.append((block, execution.events))
            if len(batch) == BLOCKS_AT_ONCE:
                yield batch
                batch = []
        if batch:
            yield batch

    def _blocks(self, stopping: threading.Event) -> Iterator[bytes]:
        height = 1
        while not stopping.is_set():
            found = self._ledger.blocks(BlocksRequest(height, BLOCKS_AT_ONCE, 0)).blocks
            if not found:
                return
            yield from found
            height += len(found)
