"""The sequencer: when it makes blocks, what it acknowledges, and how it fails."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hypermesh.ledger.blocktime import BlockClock
from hypermesh.ledger.engines import solo as solo_module
from hypermesh.ledger.engines.solo import DEADLINE_PAUSE_MS, Solo
from hypermesh.ledger.errors import (
    DiskFull,
    LedgerStopped,
    NotTheSequencer,
    OutcomeUnknown,
    QueueFull,
)
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.kernel import (
    BLOCK_BYTES_MAX,
    TRANSACTION_BYTES_MAX,
    Execution,
    Kernel,
    Malformed,
    NonceNotNext,
    SignatureRefused,
)
from hypermesh.ledger.module import InvariantBroken
from hypermesh.ledger.store import Store
from hypermesh.ledger.verify import verify_block
from hypermesh.wire.block import Block
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.rpc import SubmitResponse
from hypermesh.wire.tx import BlockOpening

from .toys import (
    BALANCES,
    GRANT,
    START_MS,
    Ticking,
    ToyRefusal,
    faucet,
    founded,
    genesis,
    keys,
    own,
    pay,
    toy_kernel,
)

WAIT_S = 20.0
GOOD_VDF = VdfOutput("good", 1, b"y")
BAD_VDF = VdfOutput("bad", 1, b"y")


class Gated(Store):
    """A store whose commits wait for the test, and fail when it says so."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, genesis())
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self.failure: BaseException | None = None
        self.waiting_bytes: Callable[[], int] = int
        self.seen_bytes: list[int] = []

    def commit(self, block: bytes, execution: Execution) -> None:
        self.seen_bytes.append(self.waiting_bytes())
        self.reached.set()
        assert self.gate.wait(WAIT_S)
        if self.failure is not None:
            raise self.failure
        super().commit(block, execution)


class Network:
    """A running engine with everything around it."""

    def __init__(self, directory: Path) -> None:
        self.kernel: Kernel = toy_kernel()
        self.store = Gated(directory)
        if not self.store.founded:
            self.store.found(self.kernel.begin(self.store))
        self.feed = Feed(self.store.height)
        self.ticking = Ticking()
        clock = BlockClock(self.kernel.head(self.store).time_ms, self.ticking)
        self.solo = Solo(self.kernel, self.store, self.feed, keys("sequencer"), clock)
        self.solo.start()

    def submit(self, entry: bytes) -> SubmitResponse:
        return self.solo.submit(entry, WAIT_S)

    def block(self, height: int) -> Block:
        with self.store.snapshot() as snapshot:
            return decode(Block, snapshot.block(height) or b"")

    def blocked(self, entry: bytes) -> ThreadPoolExecutor:
        """Hold the engine inside the commit of a block with `entry`."""
        self.store.reached.clear()
        self.store.gate.clear()
        pool = ThreadPoolExecutor(32)
        pool.submit(self.submit, entry)
        assert self.store.reached.wait(WAIT_S)
        return pool

    def wait_for_queue(self, count: int) -> None:
        until(lambda: len(self.solo._tickets) == count)

    def close(self) -> None:
        self.store.gate.set()
        assert self.solo.stop(WAIT_S)
        self.store.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was not reached in time"
        time.sleep(0.001)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    running = Network(tmp_path / "ledger")
    yield running
    running.close()


@pytest.fixture
def funded(network: Network) -> Network:
    """Alice (nonce 2) has a grant; Bob is known (nonce 1)."""
    for entry in (own("alice"), faucet("alice", 1), own("bob")):
        assert network.submit(entry).result.code == "ok"
    return network


def test_one_in_flight_gets_one_block_each(funded: Network) -> None:
    response = funded.submit(pay("alice", 2, "bob", 5))
    assert (response.height, response.index, response.result.code) == (4, 1, "ok")
    block = funded.block(4)
    assert block.results[1] == response.result
    verify_block(genesis(), block)


def test_what_waits_together_shares_a_block(funded: Network) -> None:
    pool = funded.blocked(pay("alice", 2, "bob", 1))
    entries = [pay("bob", 1, "alice", 1), own("carol")]
    waiting = [pool.submit(funded.submit, entry) for entry in entries]
    funded.wait_for_queue(2)
    funded.store.gate.set()
    assert {each.result(WAIT_S).height for each in waiting} == {5}
    assert len(funded.block(5).entries) == 3
    pool.shutdown()


def test_a_signer_may_have_several_in_one_block(funded: Network) -> None:
    pool = funded.blocked(own("carol"))
    waiting = []
    for position, nonce in enumerate((2, 3, 4)):
        waiting.append(pool.submit(funded.submit, pay("alice", nonce, "bob", 1)))
        funded.wait_for_queue(position + 1)
    funded.store.gate.set()
    responses = [each.result(WAIT_S) for each in waiting]
    assert [(each.height, each.index) for each in responses] == [(5, 1), (5, 2), (5, 3)]
    pool.shutdown()


def test_nothing_is_acknowledged_before_its_commit(funded: Network) -> None:
    pool = funded.blocked(own("carol"))
    payment = pay("alice", 2, "bob", 1)
    with pytest.raises(OutcomeUnknown):
        funded.solo.submit(payment, 0.05)
    assert funded.store.height == 3
    funded.store.gate.set()
    pool.shutdown()
    assert funded.submit(payment).result.code == "ok"
    assert funded.submit(pay("alice", 3, "bob", 1)).result.code == "ok"


def test_the_same_transaction_again_gets_its_first_result(funded: Network) -> None:
    payment = pay("alice", 2, "bob", 5, "refuse")
    first = funded.submit(payment)
    assert first.result.code == ToyRefusal.code
    assert funded.submit(payment) == first
    signed_again = pay("alice", 2, "bob", 5, "refuse")
    assert signed_again != payment
    assert funded.submit(signed_again) == first
    assert funded.store.height == first.height


def test_two_copies_that_wait_together_are_applied_once(funded: Network) -> None:
    pool = funded.blocked(own("carol"))
    payment = pay("alice", 2, "bob", 5)
    waiting = [pool.submit(funded.submit, payment) for _ in range(3)]
    funded.wait_for_queue(3)
    funded.store.gate.set()
    responses = [each.result(WAIT_S) for each in waiting]
    assert responses[0].result.code == "ok"
    assert responses == [responses[0]] * 3
    assert len(funded.block(5).entries) == 2
    pool.shutdown()


@pytest.mark.parametrize(
    ("entry", "refusal"),
    [
        (lambda: b"\xc1", Malformed),
        (lambda: bytes(TRANSACTION_BYTES_MAX + 1), Malformed),
        (lambda: pay("alice", 7, "bob", 5), NonceNotNext),
        (lambda: pay("alice", 0, "bob", 5), NonceNotNext),
        (lambda: pay("alice", 2, "bob", 5, signing="bob"), SignatureRefused),
    ],
)
def test_what_no_block_takes_is_refused_to_its_submitter_alone(
    funded: Network, entry: Callable[[], bytes], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        funded.submit(entry())
    assert funded.store.height == 3
    assert funded.submit(pay("alice", 2, "bob", 5)).result.code == "ok"


def test_the_words_of_a_refusal_are_kept_beside_the_code(funded: Network) -> None:
    response = funded.submit(pay("alice", 2, "bob", 5, "refuse"))
    problem = funded.solo.problem(response.result.tx)
    assert problem is not None
    assert (problem.code, problem.what) == (ToyRefusal.code, "as the memo asks")
    assert funded.solo.problem(bytes(32)) is None


def test_block_time_is_the_last_plus_what_elapsed(funded: Network) -> None:
    funded.ticking.advance_ms(1234)
    assert funded.block(funded.submit(pay("alice", 2, "bob", 5)).height).header.time_ms == (
        START_MS + 1234
    )


def test_an_empty_block_is_made_when_a_deadline_falls_due(funded: Network) -> None:
    subscription = funded.feed.subscribe()
    funded.submit(pay("alice", 2, "bob", 5, "due:500"))
    assert subscription.next(WAIT_S) is not None
    assert subscription.next(0.02) is None
    funded.ticking.advance_ms(500)
    # The engine sleeps by the real clock: a transaction that is refused only wakes it.
    with pytest.raises(NonceNotNext):
        funded.submit(pay("alice", 0, "bob", 5))
    commit = subscription.next(WAIT_S)
    assert commit is not None
    assert len(commit.block.entries) == 1
    assert commit.block.header.time_ms == START_MS + 500
    assert [event.name for event in commit.events] == ["toy.due"]
    assert subscription.next(0.02) is None


def test_a_deadline_falls_due_by_the_real_clock(tmp_path: Path) -> None:
    kernel = toy_kernel()
    store = founded(tmp_path, kernel)
    feed = Feed(0)
    solo = Solo(kernel, store, feed, keys("sequencer"), BlockClock(START_MS))
    subscription = feed.subscribe()
    solo.start()
    for entry in (own("alice"), faucet("alice", 1), pay("alice", 2, "alice", 1, "due:60")):
        assert solo.submit(entry, WAIT_S).result.code == "ok"
    commits = [subscription.next(WAIT_S) for _ in range(4)]
    assert commits[3] is not None
    assert [event.name for event in commits[3].events] == ["toy.due"]
    assert commits[2] is not None
    waited_ms = commits[3].block.header.time_ms - commits[2].block.header.time_ms
    assert waited_ms >= max(60, DEADLINE_PAUSE_MS)
    assert solo.stop(WAIT_S)
    store.close()


def test_an_idle_engine_makes_no_block(funded: Network) -> None:
    funded.ticking.advance_ms(10**9)
    assert not funded.feed.wait(4, 0.1)
    assert funded.store.height == 3


def test_a_vdf_output_gets_a_block_of_its_own(funded: Network) -> None:
    assert funded.solo.offer_vdf(GOOD_VDF, WAIT_S) == 4
    opening = decode(BlockOpening, funded.block(4).entries[0])
    assert opening.vdf == GOOD_VDF
    assert decode(BlockOpening, funded.block(3).entries[0]).vdf is None


def test_a_refused_vdf_output_concerns_its_offerer_alone(funded: Network) -> None:
    with pytest.raises(ToyRefusal):
        funded.solo.offer_vdf(BAD_VDF, WAIT_S)
    assert funded.store.height == 3
    pool = funded.blocked(own("carol"))
    payment = pool.submit(funded.submit, pay("alice", 2, "bob", 5))
    offer = pool.submit(funded.solo.offer_vdf, BAD_VDF, WAIT_S)
    until(lambda: len(funded.solo._tickets) == len(funded.solo._offers) == 1)
    funded.store.gate.set()
    assert payment.result(WAIT_S).result.code == "ok"
    with pytest.raises(ToyRefusal):
        offer.result(WAIT_S)
    pool.shutdown()


def test_the_asyncio_twins(funded: Network) -> None:
    async def both() -> tuple[SubmitResponse, int]:
        response = await funded.solo.submit_async(pay("alice", 2, "bob", 5), WAIT_S)
        return response, await funded.solo.offer_vdf_async(GOOD_VDF, WAIT_S)

    response, height = asyncio.run(both())
    assert (response.height, response.result.code, height) == (4, "ok", 5)

    async def refused() -> None:
        with pytest.raises(NonceNotNext):
            await funded.solo.submit_async(pay("alice", 9, "bob", 5), WAIT_S)
        with pytest.raises(ToyRefusal):
            await funded.solo.offer_vdf_async(BAD_VDF, WAIT_S)

    asyncio.run(refused())


def test_an_asyncio_wait_that_ends_leaves_the_engine_running(funded: Network) -> None:
    pool = funded.blocked(own("carol"))

    async def impatient() -> None:
        with pytest.raises(OutcomeUnknown):
            await funded.solo.submit_async(pay("alice", 2, "bob", 5), 0.05)
        with pytest.raises(OutcomeUnknown):
            await funded.solo.offer_vdf_async(GOOD_VDF, 0.05)

    asyncio.run(impatient())
    funded.store.gate.set()
    pool.shutdown()
    assert funded.submit(pay("alice", 2, "bob", 5)).result.code == "ok"
    assert funded.submit(pay("alice", 3, "bob", 5)).result.code == "ok"


def test_the_queue_is_bounded_by_number_and_by_size(
    funded: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = funded.blocked(own("carol"))
    entry = pay("alice", 2, "bob", 5)
    monkeypatch.setattr(solo_module, "QUEUE_MAX", 1)
    waiting = pool.submit(funded.submit, entry)
    funded.wait_for_queue(1)
    with pytest.raises(QueueFull):
        funded.submit(pay("bob", 1, "alice", 5))
    monkeypatch.setattr(solo_module, "QUEUE_MAX", 100)
    monkeypatch.setattr(solo_module, "QUEUE_BYTES_MAX", len(entry) + 10)
    with pytest.raises(QueueFull):
        funded.submit(pay("bob", 1, "alice", 5))
    monkeypatch.setattr(solo_module, "VDF_OFFERS_MAX", 0)
    with pytest.raises(QueueFull):
        funded.solo.offer_vdf(GOOD_VDF, WAIT_S)
    funded.store.gate.set()
    assert waiting.result(WAIT_S).result.code == "ok"
    pool.shutdown()
    assert funded.submit(pay("alice", 3, "bob", 5)).result.code == "ok"


def test_what_does_not_fit_waits_for_the_next_block(
    funded: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = funded.blocked(own("carol"))
    entries = [pay("alice", nonce, "bob", 1) for nonce in (2, 3, 4, 5, 6)]
    monkeypatch.setattr(solo_module, "BLOCK_BYTES_MAX", 2 * len(entries[0]) + 60)
    waiting = []
    for position, entry in enumerate(entries):
        waiting.append(pool.submit(funded.submit, entry))
        funded.wait_for_queue(position + 1)
    funded.store.waiting_bytes = lambda: funded.solo._tickets_bytes
    funded.store.gate.set()
    responses = [each.result(WAIT_S) for each in waiting]
    assert funded.store.seen_bytes[-3:] == [
        sum(map(len, rest)) for rest in (entries[2:], entries[4:], [])
    ]
    assert [(each.height, each.index) for each in responses] == [
        (5, 1),
        (5, 2),
        (6, 1),
        (6, 2),
        (7, 1),
    ]
    pool.shutdown()


def test_every_transaction_that_is_taken_fits_a_block() -> None:
    opening = BlockOpening(START_MS, VdfOutput("s" * 32, 2**62, bytes(4096)))
    assert TRANSACTION_BYTES_MAX + len(encode(opening)) <= BLOCK_BYTES_MAX


def test_a_full_disk_is_told_and_the_engine_goes_on(funded: Network) -> None:
    funded.store.failure = DiskFull()
    with pytest.raises(DiskFull):
        funded.submit(pay("alice", 2, "bob", 5))
    with pytest.raises(DiskFull):
        funded.solo.offer_vdf(GOOD_VDF, WAIT_S)
    funded.store.failure = None
    assert funded.solo.failure is None
    assert funded.submit(pay("alice", 2, "bob", 5)).height == 4


def test_a_full_disk_does_not_make_a_deadline_spin(funded: Network) -> None:
    funded.submit(pay("alice", 2, "bob", 5, "due:10"))
    funded.store.failure = DiskFull()
    funded.store.reached.clear()
    funded.ticking.advance_ms(1000)
    with pytest.raises(NonceNotNext):
        funded.submit(pay("alice", 0, "bob", 5))
    assert funded.store.reached.wait(WAIT_S)
    funded.store.reached.clear()
    assert not funded.store.reached.wait(0.02), "block time stands still, so no further try is due"
    funded.store.failure = None
    funded.ticking.advance_ms(DEADLINE_PAUSE_MS)
    with pytest.raises(NonceNotNext):
        funded.submit(pay("alice", 0, "bob", 5))
    assert funded.feed.wait(5, WAIT_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_broken_invariant_stops_the_engine_for_good(funded: Network) -> None:
    subscription = funded.feed.subscribe()
    with pytest.raises(LedgerStopped, match="InvariantBroken"):
        funded.submit(pay("alice", 2, "bob", 5, "lose"))
    until(lambda: isinstance(funded.solo.failure, InvariantBroken))
    with pytest.raises(LedgerStopped):
        funded.submit(pay("alice", 2, "bob", 5))
    with pytest.raises(LedgerStopped):
        subscription.next(WAIT_S)
    assert funded.store.height == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_broken_disk_stops_the_engine_and_everyone_is_told(funded: Network) -> None:
    funded.store.failure = sqlite3.OperationalError("disk I/O error")
    pool = funded.blocked(pay("alice", 2, "bob", 5))
    waiting = pool.submit(funded.submit, pay("bob", 1, "alice", 1))
    funded.wait_for_queue(1)
    funded.store.gate.set()
    with pytest.raises(LedgerStopped, match="disk I/O error"):
        waiting.result(WAIT_S)
    assert isinstance(funded.solo.failure, sqlite3.OperationalError)
    assert funded.store.height == 3
    pool.shutdown()


def test_stopping_finishes_the_block_in_work_and_answers_the_rest(funded: Network) -> None:
    pool = funded.blocked(pay("alice", 2, "bob", 5))
    late = pool.submit(funded.submit, pay("bob", 1, "alice", 1))
    funded.wait_for_queue(1)
    assert not funded.solo.stop(0.02)
    funded.store.gate.set()
    assert funded.solo.stop(WAIT_S)
    with pytest.raises(LedgerStopped):
        late.result(WAIT_S)
    assert funded.store.height == 4
    with pytest.raises(LedgerStopped):
        funded.submit(pay("alice", 3, "bob", 5))
    pool.shutdown()


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Network(tmp_path)
    first.ticking.advance_ms(50)
    for entry in (own("alice"), faucet("alice", 1)):
        first.submit(entry)
    first.close()
    second = Network(tmp_path)
    response = second.submit(pay("alice", 2, "alice", 5))
    assert (response.height, response.result.code) == (3, "ok")
    assert second.block(3).header.time_ms == START_MS + 50
    assert second.store.get(BALANCES.key(keys("alice").id)) == encode([GRANT])
    assert second.submit(faucet("alice", 1)).height == 2
    second.close()


def test_only_the_keys_that_genesis_names_may_sequence(kernel: Kernel, store: Store) -> None:
    with pytest.raises(NotTheSequencer):
        Solo(kernel, store, Feed(0), keys("alice"), BlockClock(START_MS))
