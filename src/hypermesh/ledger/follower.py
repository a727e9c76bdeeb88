"""A follower re-executes every block of the sequencer and believes only what it computes itself.

`follow` is the pure step. Three things can be wrong with a block, and they are kept apart:

- It is not the sequencer's, or was altered on the way (`ProofInvalid`, `Undecodable`): another
  source may have the right one, so the follower asks again.
- It is not the next one (`OutOfOrder`).
- The sequencer signed it and it does not follow from the block before (`Diverged`): one of the two
  nodes is wrong. The follower stops, and serves the last state that it could confirm.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hypermesh.ledger.errors import BlockRefused, Diverged, OutOfOrder
from hypermesh.ledger.feed import Commit, Feed
from hypermesh.ledger.kernel import Execution, Kernel
from hypermesh.ledger.module import InvariantBroken, Refusal
from hypermesh.ledger.store import Store
from hypermesh.ledger.tree import Base
from hypermesh.ledger.verify import verify_block
from hypermesh.wire.block import Block, BlockInput
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.rpc import BlocksResponse

RETRY_S_MIN = 0.1
RETRY_S_MAX = 5.0
"""The pause after a fetch that failed doubles from one to the other."""


def follow(kernel: Kernel, base: Base, block: Block) -> Execution:
    """What `block` leads to from `base`, when it is the sequencer's next and we compute the same.

    Raises `OutOfOrder`, `ProofInvalid`, `Diverged`.
    """
    head = kernel.head(base)
    header = block.header
    if header.height != head.height + 1:
        raise OutOfOrder(f"The block has height {header.height}", why=f"we are at {head.height}")
    verify_block(kernel.genesis, block)
    if header.previous != kernel.commit_hash(base):
        raise Diverged(why=f"block {header.height} does not name the block before it as we have it")
    block_input = BlockInput(header.height, header.time_ms, block.entries, [])
    try:
        execution = kernel.execute(block_input, base)
    except (BlockRefused, Refusal) as error:
        raise Diverged(
            why=f"block {header.height} breaks the rules ({error.code}: {error})"
        ) from error
    except InvariantBroken as error:
        raise Diverged(why=f"block {header.height} breaks an invariant: {error}") from error
    if execution.results != block.results:
        index = _first_difference(execution, block)
        raise Diverged(
            why=f"entry {index} of block {header.height} ended differently here than in the block"
        )
    if execution.header != header:
        raise Diverged(
            why=f"block {header.height} promises app hash {header.app_hash.hex()}, "
            f"we computed {execution.header.app_hash.hex()}"
        )
    return execution


def _first_difference(execution: Execution, block: Block) -> int:
    pairs = zip(execution.results, block.results, strict=False)
    return next(
        (index for index, (mine, theirs) in enumerate(pairs) if mine != theirs),
        min(len(execution.results), len(block.results)),
    )


class Follower:
    """Applies blocks to a store. One thread calls `apply`."""

    def __init__(self, kernel: Kernel, store: Store, feed: Feed) -> None:
        self._kernel = kernel
        self._store = store
        self._feed = feed
        self._diverged: Diverged | None = None

    @property
    def diverged(self) -> Diverged | None:
        """Why this follower has stopped, if it has."""
        return self._diverged

    @property
    def height(self) -> int:
        """The height of the last block applied."""
        return self._store.height

    def apply(self, encoded: bytes) -> None:
        """Apply the next block, durably. A block that is here already is compared with it.

        Raises what `follow` raises, and `Undecodable`. After `Diverged` nothing more is applied.
        """
        if self._diverged is not None:
            raise self._diverged
        block = decode(Block, encoded)
        try:
            if block.header.height <= self._store.height:
                self._compare(block)
                return
            execution = follow(self._kernel, self._store, block)
        except Diverged as diverged:
            self._diverged = diverged
            raise
        self._store.commit(encoded, execution)
        self._feed.publish(Commit(block, encoded, tuple(execution.events), execution.problems))

    def _compare(self, block: Block) -> None:
        """Two signed headers of one height are the sequencer's own contradiction."""
        height = block.header.height
        stored = self._store.block(height)
        if stored is None or decode(Block, stored).header == block.header:
            return
        verify_block(self._kernel.genesis, block)
        raise Diverged(f"The sequencer signed two blocks of height {height}")


class Pull:
    """Keeps a follower at the sequencer's height: a thread that fetches, applies and fetches again.

    `fetch(height)` returns blocks from `height` on and may wait for the first (a long poll); it
    raises a `HyperMeshError` or `OSError` when the sequencer does not answer.
    """

    def __init__(self, follower: Follower, fetch: Callable[[int], BlocksResponse]) -> None:
        self._follower = follower
        self._fetch = fetch
        self._stopping = threading.Event()
        self._contact: float | None = None
        self._sequencer_height = follower.height
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ledger-follower", daemon=True)

    @property
    def age_s(self) -> float | None:
        """Seconds since the sequencer last answered; None before the first time."""
        contact = self._contact
        return None if contact is None else time.monotonic() - contact

    @property
    def behind(self) -> int:
        """Blocks that the sequencer said it has and that are not applied yet."""
        return max(0, self._sequencer_height - self._follower.height)

    @property
    def trouble(self) -> BaseException | None:
        """What went wrong at the last attempt; None where it went well."""
        return self._trouble

    @property
    def running(self) -> bool:
        """Whether blocks are still being asked for."""
        return self._thread.is_alive()

    @property
    def failure(self) -> BaseException | None:
        """Why no more blocks are asked for, where nobody told it to stop."""
        ended = self._thread.ident is not None and not self._thread.is_alive()
        return self._trouble if ended and not self._stopping.is_set() else None

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Whether the thread ended in time; a fetch that waits ends by its own limit."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause_s = RETRY_S_MIN
        while not self._stopping.is_set():
            try:
                self._step()
            except (HyperMeshError, OSError) as error:
                self._trouble = error
                if isinstance(error, Diverged | InvariantBroken):
                    return
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, RETRY_S_MAX)
            except BaseException as error:
                self._trouble = error
                raise
            else:
                self._trouble = None
                pause_s = RETRY_S_MIN

    def _step(self) -> None:
        response = self._fetch(self._follower.height + 1)
        self._contact = time.monotonic()
        self._sequencer_height = response.height
        for encoded in response.blocks:
            if self._stopping.is_set():
                return
            self._follower.apply(encoded)
