"""The sequencer: one node orders transactions, signs the header and commits; the others follow.

One thread makes blocks. It takes all that waits at once, so a single client gets a block for each
transaction and many clients share a commit. A block is made when

    a transaction waits  |  a VDF output is handed in  |  a deadline of a module falls due

and never otherwise. A block is acknowledged after its commit and not before. Two kinds of failure:
a full disk drops the block, tells its submitters and leaves the engine running; any other failure
of execution or storage is a bug or a damaged disk, and the engine stops for good.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import sign
from hypermesh.ledger.blocktime import BlockClock
from hypermesh.ledger.errors import (
    BlockRefused,
    DiskFull,
    LedgerDamaged,
    LedgerStopped,
    NotTheSequencer,
    OutcomeUnknown,
    QueueFull,
)
from hypermesh.ledger.feed import Commit, Feed
from hypermesh.ledger.kernel import (
    BLOCK_BYTES_MAX,
    ENTRIES_MAX,
    TRANSACTION_BYTES_MAX,
    Execution,
    Kernel,
    Malformed,
)
from hypermesh.ledger.module import Refusal
from hypermesh.ledger.state import Overlay
from hypermesh.ledger.store import Store
from hypermesh.ledger.verify import DOMAIN
from hypermesh.wire.block import Block, BlockInput
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError, Problem
from hypermesh.wire.ids import TxId
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.rpc import SubmitResponse
from hypermesh.wire.tx import BlockOpening

QUEUE_MAX = 10_000
QUEUE_BYTES_MAX = 32 << 20
"""Transactions that wait for a block, by number and by size."""
VDF_OFFERS_MAX = 16
DEADLINE_PAUSE_MS = 50
"""The least block time between a block and an empty one for a deadline, so that many deadlines
close together, or one that a faulty module never clears, do not make a block each millisecond."""
PROBLEMS_KEPT = 1024
"""Refusals whose words are kept for those who submitted the transaction."""

T = TypeVar("T")


@dataclass(slots=True)
class _Ticket:
    """A waiting transaction and everyone who waits for its result."""

    entry: bytes
    waiters: list[Future[SubmitResponse]]


@dataclass(frozen=True, slots=True)
class _Offer:
    """A VDF output that waits for a block, and who waits for that block's height."""

    vdf: VdfOutput
    waiter: Future[int]


@dataclass(slots=True)
class _Batch:
    """What the next block is to hold."""

    tickets: deque[_Ticket] = field(default_factory=deque)
    offer: _Offer | None = None
    time_ms: int = 0


class Solo:
    """The engine of a network with one sequencer.

    It owns the kernel and the writing side of the store while it runs. `submit` and `offer_vdf` may
    be called from any thread.
    """

    def __init__(
        self, kernel: Kernel, store: Store, feed: Feed, keys: QuantumKeys, clock: BlockClock
    ) -> None:
        """Raises `NotTheSequencer` where `keys` are not those that genesis names."""
        if keys.id != kernel.sequencer:
            raise NotTheSequencer(
                why=f"genesis names {kernel.sequencer.hex()}, the keys are {keys.id.hex()}"
            )
        self._kernel = kernel
        self._store = store
        self._feed = feed
        self._keys = keys
        self._clock = clock
        self._ready = threading.Condition()
        self._tickets: deque[_Ticket] = deque()
        self._tickets_bytes = 0
        self._offers: deque[_Offer] = deque()
        self._stopping = False
        self._failure: BaseException | None = None
        self._problems: dict[TxId, Problem] = {}
        self._last_ms = kernel.head(store).time_ms
        self._deadline_ms: int | None = None
        self._deadline_height: int | None = None
        """The height at which `_deadline_ms` was read."""
        self._thread = threading.Thread(target=self._run, name="ledger-solo", daemon=True)

    @property
    def failure(self) -> BaseException | None:
        """What stopped the engine; None while it runs and after an orderly stop."""
        return self._failure

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Finish the block in work and take no more. Whether that was done in time."""
        with self._ready:
            self._stopping = True
            self._ready.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def submit(self, entry: bytes, timeout_s: float) -> SubmitResponse:
        """Put an encoded `SignedTransaction` into a block; it is durable when this returns.

        The response says where it stands and what became of it: the body may have been refused
        there (`problem` has the words). A transaction that was executed before gets its first
        result again. Raises the `Refusal` of one that no block took, so that nothing was spent;
        `QueueFull`, `DiskFull`, `LedgerStopped`; `OutcomeUnknown` after `timeout_s` seconds.
        """
        try:
            return self._enqueue(entry).result(timeout_s)
        except TimeoutError:
            raise OutcomeUnknown(why=f"no block within {timeout_s:g} s") from None

    async def submit_async(self, entry: bytes, timeout_s: float) -> SubmitResponse:
        """As `submit`."""
        waiter = asyncio.wrap_future(self._enqueue(entry))
        try:
            return await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            raise OutcomeUnknown(why=f"no block within {timeout_s:g} s") from None

    def offer_vdf(self, vdf: VdfOutput, timeout_s: float) -> int:
        """The height of the block whose opening carries `vdf`.

        Raises the `Refusal` of the module that does not accept it, and as `submit` does.
        """
        try:
            return self._enqueue_offer(vdf).result(timeout_s)
        except TimeoutError:
            raise OutcomeUnknown(why=f"no block within {timeout_s:g} s") from None

    async def offer_vdf_async(self, vdf: VdfOutput, timeout_s: float) -> int:
        """As `offer_vdf`."""
        waiter = asyncio.wrap_future(self._enqueue_offer(vdf))
        try:
            return await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            raise OutcomeUnknown(why=f"no block within {timeout_s:g} s") from None

    def problem(self, tx: TxId) -> Problem | None:
        """In words, why the body of a recent transaction was refused; blocks hold only the code."""
        return self._problems.get(tx)

    def _enqueue(self, entry: bytes) -> Future[SubmitResponse]:
        if len(entry) > TRANSACTION_BYTES_MAX:
            raise Malformed(
                f"The transaction has {len(entry)} bytes", why=f"at most {TRANSACTION_BYTES_MAX}"
            )
        waiter: Future[SubmitResponse] = Future()
        with self._ready:
            self._refuse_when_stopped()
            if (
                len(self._tickets) >= QUEUE_MAX
                or self._tickets_bytes + len(entry) > QUEUE_BYTES_MAX
            ):
                raise QueueFull(why=f"{len(self._tickets)} transactions wait for a block")
            self._tickets.append(_Ticket(entry, [waiter]))
            self._tickets_bytes += len(entry)
            self._ready.notify()
        return waiter

    def _enqueue_offer(self, vdf: VdfOutput) -> Future[int]:
        waiter: Future[int] = Future()
        with self._ready:
            self._refuse_when_stopped()
            if len(self._offers) >= VDF_OFFERS_MAX:
                raise QueueFull(why=f"{VDF_OFFERS_MAX} VDF outputs wait for a block")
            self._offers.append(_Offer(vdf, waiter))
            self._ready.notify()
        return waiter

    def _refuse_when_stopped(self) -> None:
        if self._stopping or self._failure is not None:
            raise _stopped_by(self._failure)

    def _run(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self._serve(batch)
        except BaseException as failure:
            self._failure = failure
            raise
        finally:
            self._abandon()

    def _next(self) -> _Batch | None:
        """The work for the next block, once there is any; None when the engine is to stop."""
        with self._ready:
            while not self._stopping:
                now_ms = max(self._clock.now_ms(), self._last_ms)
                if self._tickets or self._offers:
                    batch = _Batch(self._tickets, None, now_ms)
                    self._tickets, self._tickets_bytes = deque(), 0
                    if self._offers:
                        batch.offer = self._offers.popleft()
                    return batch
                wait_ms = self._until_deadline_ms(now_ms)
                if wait_ms == 0:
                    return _Batch(time_ms=now_ms)
                self._ready.wait(None if wait_ms is None else wait_ms / 1000)
            return None

    def _until_deadline_ms(self, now_ms: int) -> int | None:
        # Looked up after the pause, not after each block: whoever waits for that block's answer
        # would have to share the interpreter with the lookup.
        pause_ms = self._last_ms + DEADLINE_PAUSE_MS - now_ms
        if pause_ms > 0:
            return pause_ms
        if self._deadline_height != self._store.height:
            self._deadline_ms = self._kernel.next_deadline(Overlay(self._store))
            self._deadline_height = self._store.height
        return None if self._deadline_ms is None else max(0, self._deadline_ms - now_ms)

    def _serve(self, batch: _Batch) -> None:
        """Answer everyone in `batch`, with a block where one is due."""
        due_by_itself = not batch.tickets and batch.offer is None
        accepted = self._admit(batch)
        self._put_back(batch.tickets)
        try:
            if batch.offer is not None and self._block_with_offer(batch, accepted, batch.offer):
                return
            if accepted or due_by_itself:
                self._block(batch.time_ms, accepted, None)
        except DiskFull as error:
            self._fail_all(batch, accepted, error)
            # The next try for a deadline waits its pause, too: it has no submitter to slow it down.
            self._last_ms = batch.time_ms
        except BaseException as error:
            self._fail_all(batch, accepted, _stopped_by(error))
            raise

    def _block_with_offer(
        self, batch: _Batch, accepted: dict[TxId, _Ticket], offer: _Offer
    ) -> bool:
        """Whether the block with the VDF output was made; a refusal concerns its offerer alone."""
        try:
            self._block(batch.time_ms, accepted, offer)
        except (Refusal, BlockRefused) as error:
            _fail([offer.waiter], error)
            return False
        return True

    def _fail_all(
        self, batch: _Batch, accepted: dict[TxId, _Ticket], error: HyperMeshError
    ) -> None:
        for ticket in accepted.values():
            _fail(ticket.waiters, error)
        if batch.offer is not None:
            _fail([batch.offer.waiter], error)

    def _admit(self, batch: _Batch) -> dict[TxId, _Ticket]:
        """The transactions that may enter the block, in order; the others are answered.

        What does not fit stays in `batch.tickets`.
        """
        state = Overlay(self._store)
        accepted: dict[TxId, _Ticket] = {}
        room = BLOCK_BYTES_MAX - len(_opening(batch))
        while batch.tickets and len(accepted) < ENTRIES_MAX - 1:
            ticket = batch.tickets[0]
            if len(ticket.entry) > room:
                break
            batch.tickets.popleft()
            savepoint = state.savepoint()
            try:
                tx = self._kernel.check(ticket.entry, state, batch.time_ms)
            except Refusal as refusal:
                state.roll_back(savepoint)
                self._answer_refused(ticket, refusal, accepted)
                continue
            room -= len(ticket.entry)
            accepted[tx] = ticket
        return accepted

    def _answer_refused(
        self, ticket: _Ticket, refusal: Refusal, accepted: dict[TxId, _Ticket]
    ) -> None:
        """A transaction sent twice is refused for its nonce: it gets the result of the first."""
        try:
            tx = self._kernel.tx_id(ticket.entry)
        except Refusal:
            _fail(ticket.waiters, refusal)
            return
        if tx in accepted:
            accepted[tx].waiters.extend(ticket.waiters)
            return
        first = self._first_result(tx)
        if first is None:
            _fail(ticket.waiters, refusal)
        else:
            _resolve(ticket.waiters, first)

    def _first_result(self, tx: TxId) -> SubmitResponse | None:
        position = self._store.position(tx)
        if position is None:
            return None
        height, index = position
        encoded = self._store.block(height)
        if encoded is None:
            raise LedgerDamaged(why=f"block {height} is gone, and the index names it")
        return SubmitResponse(height, index, decode(Block, encoded).results[index])

    def _block(self, time_ms: int, accepted: dict[TxId, _Ticket], offer: _Offer | None) -> None:
        """Make, sign and commit a block, then publish and acknowledge it."""
        opening = BlockOpening(time_ms, None if offer is None else offer.vdf)
        entries = [encode(opening), *(ticket.entry for ticket in accepted.values())]
        height = self._store.height + 1
        execution = self._kernel.execute(BlockInput(height, time_ms, entries, []), self._store)
        header = execution.header
        signature = sign(self._keys, DOMAIN, header.genesis, digest_of("header", header))
        block = Block(header, signature, entries, execution.results)
        encoded = encode(block)
        self._store.commit(encoded, execution)
        self._last_ms = time_ms
        self._keep_problems(execution)
        # Published first: whoever is acknowledged then finds the block with every subscriber.
        self._feed.publish(Commit(block, encoded, tuple(execution.events), execution.problems))
        for index, ticket in enumerate(accepted.values(), start=1):
            _resolve(ticket.waiters, SubmitResponse(height, index, execution.results[index]))
        if offer is not None:
            _resolve([offer.waiter], height)

    def _keep_problems(self, execution: Execution) -> None:
        for index, problem in execution.problems.items():
            self._problems[execution.results[index].tx] = problem
        while len(self._problems) > PROBLEMS_KEPT:
            del self._problems[next(iter(self._problems))]

    def _put_back(self, tickets: deque[_Ticket]) -> None:
        """What did not fit goes first next time."""
        with self._ready:
            self._tickets.extendleft(reversed(tickets))
            self._tickets_bytes += sum(len(ticket.entry) for ticket in tickets)

    def _abandon(self) -> None:
        """Answer those who still wait: nothing of theirs was taken."""
        with self._ready:
            self._stopping = True
            tickets, self._tickets = self._tickets, deque()
            offers, self._offers = self._offers, deque()
        stopped = _stopped_by(self._failure)
        for ticket in tickets:
            _fail(ticket.waiters, stopped)
        for offer in offers:
            _fail([offer.waiter], stopped)
        self._feed.close(stopped)


def _stopped_by(failure: BaseException | None) -> LedgerStopped:
    if failure is None:
        return LedgerStopped(why="the node is going down")
    return LedgerStopped(why=f"{type(failure).__name__}: {failure}")


def _opening(batch: _Batch) -> bytes:
    return encode(BlockOpening(batch.time_ms, None if batch.offer is None else batch.offer.vdf))


def _resolve(waiters: list[Future[T]], value: T) -> None:
    for waiter in waiters:
        if waiter.set_running_or_notify_cancel():
            waiter.set_result(value)


def _fail(waiters: Iterable[Future[Any]], error: HyperMeshError) -> None:
    for waiter in waiters:
        if waiter.set_running_or_notify_cancel():
            waiter.set_exception(error)
