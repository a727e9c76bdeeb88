"""`Comet` with the real engine: what it promises to those who submit, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hypermesh.consensus.prover.time import evaluate
from hypermesh.ledger.blocktime import BlockClock
from hypermesh.ledger.engines.comet import home as home_module
from hypermesh.ledger.engines.comet.engine import Comet
from hypermesh.ledger.engines.comet.errors import EngineInUse, EngineStopped
from hypermesh.ledger.engines.comet.home import Home
from hypermesh.ledger.errors import LedgerStopped, OutcomeUnknown
from hypermesh.ledger.feed import Feed, Subscription
from hypermesh.ledger.kernel import Malformed, NonceNotNext, SignatureRefused
from hypermesh.ledger.module import Refusal
from hypermesh.ledger.store import Store
from hypermesh.wire.block import Block
from hypermesh.wire.codec import decode
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.tx import BankTransfer, IdentityOwn

from .network import EPOCH_MS, Network

SUBMIT_S = 20.0
STOP_S = 10.0
PACE_MS = 100

pytestmark = pytest.mark.long


class Running:
    """A validator in this process."""

    def __init__(self, network: Network, directory: Path, engine: Path) -> None:
        self.network = network
        self.store = network.store(directory / "ledger")
        self.feed = Feed(self.store.height)
        self.home = Home(directory / "comet", engine)
        clock = BlockClock(time.time_ns() // 1_000_000)
        kernel = network.kernel()
        self.comet = Comet(kernel, self.store, self.feed, clock, self.home, PACE_MS)

    def close(self) -> bool:
        in_order = self.comet.stop(STOP_S)
        self.store.close()
        return in_order


@pytest.fixture
def running(present: Network, engine: Path, tmp_path: Path) -> Iterator[Running]:
    made = Running(present, tmp_path, engine)
    made.comet.start()
    yield made
    made.close()


def test_what_is_acknowledged_is_durable(running: Running, present: Network) -> None:
    entry = present.own("bob")
    answer = running.comet.submit(entry, SUBMIT_S)
    assert answer.result.code == "ok"
    block = decode(Block, running.store.block(answer.height) or b"")
    assert block.entries[answer.index] == entry
    assert running.feed.height >= answer.height


def test_a_transaction_is_executed_once_however_often_it_is_sent(
    running: Running, present: Network
) -> None:
    entry = present.own("carol")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: running.comet.submit(entry, SUBMIT_S), range(8)))
    assert len(set(map(str, answers))) == 1
    signed_again = present.own("carol")
    assert signed_again != entry, "FALCON signatures differ each time"
    assert running.comet.submit(signed_again, SUBMIT_S) == answers[0]


def test_a_refused_body_says_why(running: Running, present: Network) -> None:
    running.comet.submit(present.own("dave"), SUBMIT_S)
    poor = present.signed("dave", 1, BankTransfer(present.id("founder"), 10**15, ""))
    answer = asyncio.run(running.comet.submit_async(poor, SUBMIT_S))
    assert answer.result.code == "HM-TX-BANK-0002"
    problem = running.comet.problem(answer.result.tx)
    assert problem is not None
    assert problem.why


def test_what_no_block_takes_is_refused_with_its_own_class(
    running: Running, present: Network
) -> None:
    transfer = BankTransfer(present.id("founder"), 1, "")
    with pytest.raises(NonceNotNext):
        running.comet.submit(present.signed("founder", 9, transfer), SUBMIT_S)
    with pytest.raises(SignatureRefused):
        running.comet.submit(present.signed("founder", 0, transfer, signing="eve"), SUBMIT_S)
    with pytest.raises(Malformed):
        running.comet.submit(b"junk", SUBMIT_S)
    with pytest.raises(Malformed):
        running.comet.submit(bytes(2 << 20), SUBMIT_S)


def test_the_wait_has_an_end(running: Running, present: Network) -> None:
    entry = present.own("frank")
    with pytest.raises(OutcomeUnknown):
        running.comet.submit(entry, 0.001)
    assert running.comet.submit(entry, SUBMIT_S).result.code == "ok"


def test_a_vdf_output_turns_the_epoch_when_it_may(running: Running, present: Network) -> None:
    vdf = evaluate(present.genesis_id, present.genesis.proofs)
    deadline = time.monotonic() + EPOCH_MS / 1000 + SUBMIT_S
    while True:
        try:
            height = running.comet.offer_vdf(vdf, SUBMIT_S)
        except Refusal:
            assert time.monotonic() < deadline
            running.feed.wait(running.feed.height + 1, 1.0)
        else:
            break
    opening = decode(Block, running.store.block(height) or b"").entries[0]
    assert vdf.output in opening
    with pytest.raises(Refusal):
        running.comet.offer_vdf(vdf, SUBMIT_S)


def test_an_engine_that_dies_stops_the_ledger_and_everyone_hears(
    running: Running, present: Network
) -> None:
    subscription = running.feed.subscribe()
    vdf = evaluate(present.genesis_id, present.genesis.proofs)
    caught: list[BaseException] = []

    def offer_for_ever() -> None:
        try:
            while True:
                offer_too_early(running.comet, vdf)
        except LedgerStopped as error:
            caught.append(error)

    waiter = threading.Thread(target=offer_for_ever)
    waiter.start()
    assert running.comet.pid is not None
    os.kill(running.comet.pid, signal.SIGKILL)
    with pytest.raises(LedgerStopped):
        read_to_the_end(subscription)
    waiter.join(SUBMIT_S)
    assert len(caught) == 1
    assert isinstance(running.comet.failure, EngineStopped)
    with pytest.raises(LedgerStopped, match="The BFT engine has stopped"):
        running.comet.submit(present.own("gina"), SUBMIT_S)
    assert not running.comet.stop(STOP_S), "it did not stop in order"


def read_to_the_end(subscription: Subscription) -> None:
    while True:
        subscription.next(SUBMIT_S)


def offer_too_early(comet: Comet, vdf: VdfOutput) -> None:
    with contextlib.suppress(Refusal):
        comet.offer_vdf(vdf, SUBMIT_S)


def test_a_restart_continues_where_it_was(present: Network, engine: Path, tmp_path: Path) -> None:
    first = Running(present, tmp_path, engine)
    first.comet.start()
    answer = first.comet.submit(present.own("henry"), SUBMIT_S)
    assert first.close(), "the engine ended by itself"
    with pytest.raises(LedgerStopped):
        first.comet.submit(present.own("ida"), SUBMIT_S)
    second = Running(present, tmp_path, engine)
    second.comet.start()
    try:
        assert second.comet.submit(present.own("henry"), SUBMIT_S) == answer
        # The next block has the time of the last votes, before this was signed; one after it takes
        # the transaction, which waits meanwhile.
        now_ms = time.time_ns() // 1_000_000
        entry = present.signed(
            "ida", 0, IdentityOwn(present.keys("ida").public), valid_from_ms=now_ms
        )
        later = second.comet.submit(entry, SUBMIT_S)
        assert later.height > answer.height
        assert decode(Block, second.store.block(later.height) or b"").header.time_ms >= now_ms
    finally:
        second.close()


def test_a_second_engine_in_the_directory_is_refused_and_the_first_goes_on(
    running: Running, present: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_module, "CLAIM_S_MAX", 0.2)
    kernel, clock = present.kernel(), BlockClock(0)
    home = Home(running.home.directory, running.home.binary)
    with pytest.raises(EngineInUse):
        Comet(kernel, running.store, Feed(0), clock, home, PACE_MS).start()
    assert running.comet.submit(present.own("joan"), SUBMIT_S).result.code == "ok"


def test_an_engine_whose_store_is_behind_ours_is_told_apart(
    present: Network, engine: Path, tmp_path: Path
) -> None:
    """Our store is ahead of the engine's blocks: somebody put an old directory back. The engine
    refuses to start, and its own words are in the error."""
    first = Running(present, tmp_path, engine)
    first.comet.start()
    first.comet.submit(present.own("kate"), SUBMIT_S)
    first.close()
    (tmp_path / "comet").rename(tmp_path / "put aside")
    second = Running(present, tmp_path, engine)
    try:
        with pytest.raises(EngineStopped, match="does not match AppHash"):
            second.comet.start()
    finally:
        second.store.close()


def test_the_store_of_another_network_never_meets_the_engine(
    present: Network, engine: Path, tmp_path: Path
) -> None:
    """The engine's directory is ours, but its genesis document was changed by hand."""
    first = Running(present, tmp_path, engine)
    first.comet.start()
    first.close()
    document = tmp_path / "comet" / "config" / "genesis.json"
    changed = document.read_text().replace(present.genesis_id.hex(), bytes(32).hex())
    for left_over in (tmp_path / "comet" / "data").glob("*.db"):
        left_over.rename(tmp_path / left_over.name)
    document.write_text(changed)
    fresh = Store(tmp_path / "fresh", present.genesis)
    comet = Comet(
        present.kernel(),
        fresh,
        Feed(0),
        BlockClock(present.created_ms),
        Home(tmp_path / "comet", engine),
        PACE_MS,
    )
    with pytest.raises(LedgerStopped, match="genesis document is not this network's"):
        comet.start()
    fresh.close()
