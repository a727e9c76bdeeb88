"""Who waits for what: submitters for their transaction's block, the epoch's clock for its VDF
output to be in an opening.

Submitters and the application meet here, from different threads. Nothing here decides anything.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from hypermesh.ledger.errors import QueueFull
from hypermesh.ledger.kernel import Execution
from hypermesh.wire.errors import HyperMeshError, Problem, error_from
from hypermesh.wire.ids import TxId
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.rpc import SubmitResponse

WAITERS_MAX = 10_000
OFFERS_MAX = 16
PROBLEMS_KEPT = 1024
"""Refusals whose words are kept for those who submitted the transaction."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Offer:
    """A VDF output for an opening, and who waits for the height of the block that has it."""

    vdf: VdfOutput
    waiter: Future[int]


class Waiting:
    """Everyone who waits, until they are answered or the engine stops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transactions: dict[TxId, list[Future[SubmitResponse]]] = {}
        self._count = 0
        self._offers: deque[Offer] = deque()
        self._problems: dict[TxId, Problem] = {}
        self._end: HyperMeshError | None = None

    def expect(self, tx: TxId) -> Future[SubmitResponse]:
        """What will become of `tx` once it is in a durable block. Raises `QueueFull`, and why the
        engine stopped."""
        waiter: Future[SubmitResponse] = Future()
        with self._lock:
            self._refuse_after_end()
            if self._count >= WAITERS_MAX:
                raise QueueFull(why=f"{WAITERS_MAX} callers wait for a block")
            self._transactions.setdefault(tx, []).append(waiter)
            self._count += 1
        return waiter

    def expected(self, tx: TxId) -> int:
        """How many wait for `tx`."""
        with self._lock:
            return len(self._transactions.get(tx, ()))

    def forget(self, tx: TxId, waiter: Future[SubmitResponse]) -> None:
        """`waiter` waits no longer, if it still did."""
        with self._lock:
            waiters = self._transactions.get(tx, [])
            if waiter in waiters:
                waiters.remove(waiter)
                self._count -= 1
            if not waiters:
                self._transactions.pop(tx, None)

    def offer(self, vdf: VdfOutput) -> Future[int]:
        """The height of the block whose opening will carry `vdf`. Raises as `expect` does."""
        waiter: Future[int] = Future()
        with self._lock:
            self._refuse_after_end()
            if len(self._offers) >= OFFERS_MAX:
                raise QueueFull(why=f"{OFFERS_MAX} VDF outputs wait for a block")
            self._offers.append(Offer(vdf, waiter))
        return waiter

    def next_offer(self) -> Offer | None:
        """The VDF output to propose next; it stays until a block has it or it is refused."""
        with self._lock:
            while self._offers and self._offers[0].waiter.cancelled():
                self._offers.popleft()
            return self._offers[0] if self._offers else None

    def refuse_offer(self, offer: Offer, refusal: HyperMeshError) -> None:
        """No block takes `offer`."""
        with self._lock:
            if offer in self._offers:
                self._offers.remove(offer)
        _fail([offer.waiter], refusal)

    def settle(self, execution: Execution, vdf: VdfOutput | None) -> None:
        """A block is durable: answer everyone whose transaction or VDF output it holds.

        A transaction that stands in the block and spent nothing there is answered with its refusal.
        """
        height = execution.header.height
        executed = {index for index, _ in execution.executed}
        for index, result in enumerate(execution.results[1:], start=1):
            waiters = self._take(result.tx)
            problem = execution.problems.get(index)
            if index in executed:
                _resolve(waiters, SubmitResponse(height, index, result))
            elif problem is not None:
                _fail(waiters, error_from(problem))
        with self._lock:
            kept = {execution.results[index].tx: p for index, p in execution.problems.items()}
            self._keep(kept)
            offers = [offer for offer in self._offers if offer.vdf == vdf]
            self._offers = deque(offer for offer in self._offers if offer.vdf != vdf)
        _resolve([offer.waiter for offer in offers], height)

    def problem(self, tx: TxId) -> Problem | None:
        """In words, why a recent transaction was refused in its block."""
        with self._lock:
            return self._problems.get(tx)

    def close(self, end: HyperMeshError) -> None:
        """No block follows: everyone gets `end`, now and later. The first end counts."""
        with self._lock:
            if self._end is not None:
                return
            self._end = end
            transactions, self._transactions = self._transactions, {}
            offers, self._offers = self._offers, deque()
            self._count = 0
        for waiters in transactions.values():
            _fail(waiters, end)
        _fail([offer.waiter for offer in offers], end)

    def _take(self, tx: TxId) -> list[Future[SubmitResponse]]:
        with self._lock:
            waiters = self._transactions.pop(tx, [])
            self._count -= len(waiters)
        return waiters

    def _keep(self, problems: Mapping[TxId, Problem]) -> None:
        self._problems.update(problems)
        while len(self._problems) > PROBLEMS_KEPT:
            del self._problems[next(iter(self._problems))]

    def _refuse_after_end(self) -> None:
        if self._end is not None:
            raise self._end


def _resolve(waiters: Iterable[Future[T]], value: T) -> None:
    for waiter in waiters:
        if waiter.set_running_or_notify_cancel():
            waiter.set_result(value)


def _fail(waiters: Iterable[Future[Any]], error: HyperMeshError) -> None:
    for waiter in waiters:
        if waiter.set_running_or_notify_cancel():
            waiter.set_exception(error)
