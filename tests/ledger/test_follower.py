"""Followers: they apply what they compute themselves, and tell three kinds of wrong apart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.signature import sign
from hypermesh.ledger import follower as follower_module
from hypermesh.ledger.errors import Diverged, LedgerUnavailable, OutOfOrder, ProofInvalid
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.follower import Follower, Pull
from hypermesh.ledger.kernel import Kernel, entries_root, results_root
from hypermesh.ledger.ledger import Ledger
from hypermesh.ledger.module import Call, Context
from hypermesh.ledger.store import Store
from hypermesh.wire.block import Block
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.errors import error_from
from hypermesh.wire.rpc import BlocksRequest, BlocksResponse
from hypermesh.wire.tx import BlockOpening, TxResult

from .toys import (
    START_MS,
    ToyBank,
    ToyIdentity,
    faucet,
    founded,
    genesis,
    keys,
    own,
    pay,
    toy_kernel,
)

Extend = Callable[..., Block]
WAIT_S = 20.0
replace = msgspec.structs.replace


@pytest.fixture
def blocks(chain: Extend) -> list[Block]:
    """Three blocks of the sequencer."""
    return [
        chain(own("alice"), own("bob")),
        chain(faucet("alice", 1), b"malformed"),
        chain(pay("alice", 2, "bob", 5), pay("alice", 3, "bob", 5, "refuse"), time_ms=START_MS + 9),
    ]


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    kernel = toy_kernel()
    store = founded(tmp_path / "follower", kernel)
    yield Follower(kernel, store, Feed(store.height))
    store.close()


def resigned(block: Block, **changes: object) -> bytes:
    """`block` with another header, rightly signed: a sequencer that is wrong or lies."""
    header = replace(block.header, **changes)
    signature = sign(keys("sequencer"), "header", header.genesis, digest_of("header", header))
    return encode(replace(block, header=header, signature=signature))


def test_a_follower_reaches_the_same_state(
    follower: Follower, blocks: list[Block], store: Store
) -> None:
    subscription = follower._feed.subscribe()
    for block in blocks:
        follower.apply(encode(block))
    assert follower.height == 3
    assert follower._store.tree.root == store.tree.root
    assert dict(follower._store.scan(b"")) == dict(store.scan(b""))
    commits = [subscription.next(WAIT_S) for _ in blocks]
    assert [commit.block for commit in commits if commit] == blocks
    assert commits[2] is not None
    assert commits[2].problems[2].what == "as the memo asks"


def test_a_block_that_is_here_already_changes_nothing(
    follower: Follower, blocks: list[Block]
) -> None:
    for block in (blocks[0], blocks[0], blocks[1], blocks[0], blocks[1]):
        follower.apply(encode(block))
    assert follower.height == 2


@pytest.mark.parametrize("position", [1, 2])
def test_a_block_out_of_order_is_not_applied(
    follower: Follower, blocks: list[Block], position: int
) -> None:
    with pytest.raises(OutOfOrder):
        follower.apply(encode(blocks[position]))
    assert (follower.height, follower.diverged) == (0, None)
    follower.apply(encode(blocks[0]))


@pytest.mark.parametrize(
    "alter",
    [
        lambda block: replace(block, signature=None),
        lambda block: replace(block, header=replace(block.header, app_hash=bytes(32))),
        lambda block: replace(block, header=replace(block.header, time_ms=START_MS + 1)),
        lambda block: replace(block, header=replace(block.header, previous=bytes(32))),
        lambda block: replace(block, entries=block.entries[:-1]),
        lambda block: replace(block, results=block.results[:-1]),
        lambda block: replace(
            block, results=[*block.results[:-1], TxResult(block.results[-1].tx, "other", [])]
        ),
    ],
)
def test_a_block_altered_on_the_way_is_refused_and_asked_for_again(
    follower: Follower, blocks: list[Block], alter: Callable[[Block], Block]
) -> None:
    with pytest.raises(ProofInvalid):
        follower.apply(encode(alter(blocks[0])))
    assert (follower.height, follower.diverged) == (0, None)
    follower.apply(encode(blocks[0]))
    assert follower.height == 1


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x94\x01\x02\x03\x04"])
def test_what_is_no_block_is_refused(follower: Follower, data: bytes) -> None:
    with pytest.raises(Undecodable):
        follower.apply(data)
    assert follower.diverged is None


LIES: dict[str, tuple[str, Callable[[Block], bytes]]] = {
    "an app hash that does not follow": (
        "we computed",
        lambda block: resigned(block, app_hash=bytes(32)),
    ),
    "another block before": (
        "does not name the block before it",
        lambda block: resigned(block, previous=bytes(32)),
    ),
    "a time that its opening does not say": (
        "breaks the rules",
        lambda block: resigned(block, time_ms=START_MS + 1),
    ),
    "a result that does not follow": (
        "entry 2 of block 2 ended differently",
        lambda block: resigned(
            replace(block, results=(lying := [replace(each, code="ok") for each in block.results])),
            results_root=results_root(lying),
        ),
    ),
    "a result too few": (
        "entry 2 of block 2 ended differently",
        lambda block: resigned(
            replace(block, results=block.results[:-1]),
            results_root=results_root(block.results[:-1]),
        ),
    ),
    "a time before the last block's": (
        "never goes back",
        lambda block: resigned(
            replace(
                block,
                entries=(entries := [encode(BlockOpening(START_MS - 1, None)), *block.entries[1:]]),
            ),
            entries_root=entries_root(entries),
            time_ms=START_MS - 1,
        ),
    ),
    "no opening": (
        "not its opening",
        lambda block: resigned(
            replace(block, entries=block.entries[1:]), entries_root=entries_root(block.entries[1:])
        ),
    ),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_what_the_sequencer_signed_wrongly_stops_the_follower(
    follower: Follower, blocks: list[Block], lie: str
) -> None:
    why, told = LIES[lie]
    follower.apply(encode(blocks[0]))
    root = follower._store.tree.root
    with pytest.raises(Diverged) as diverged:
        follower.apply(told(blocks[1]))
    assert why in str(diverged.value)
    assert follower.diverged is diverged.value
    with pytest.raises(Diverged):
        follower.apply(encode(blocks[1]))
    assert follower.height == 1
    assert follower._store.tree.root == root
    reader = Ledger(follower._kernel.genesis, follower._store, follower._feed)
    assert reader.status().height == 1, "it serves what it could confirm"


def test_two_signed_blocks_of_one_height_are_a_contradiction(
    follower: Follower, blocks: list[Block]
) -> None:
    follower.apply(encode(blocks[0]))
    forged = replace(blocks[0], header=replace(blocks[0].header, app_hash=bytes(32)))
    with pytest.raises(ProofInvalid):
        follower.apply(encode(forged))
    assert follower.diverged is None
    with pytest.raises(Diverged, match="two blocks"):
        follower.apply(resigned(blocks[0], app_hash=bytes(32)))
    assert follower.diverged is not None


def test_other_rules_diverge(tmp_path: Path, blocks: list[Block]) -> None:
    """A follower whose modules do something else notices at the first block that shows it."""

    class GenerousBank(ToyBank):
        def execute(self, context: Context, call: Call) -> None:
            super().execute(context, call)
            context.state.put(b"generous/", b"one more row")

    identity = ToyIdentity()
    kernel = Kernel(genesis(), [identity, GenerousBank()], identity)
    store = founded(tmp_path / "other", kernel)
    follower = Follower(kernel, store, Feed(0))
    follower.apply(encode(blocks[0]))
    with pytest.raises(Diverged) as diverged:
        follower.apply(encode(blocks[1]))
    assert "we computed" in str(diverged.value)
    store.close()


class Source:
    """A sequencer as a follower sees it over the network, with failures to order."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.failures: list[Exception] = []
        self.spoiled = False
        self.calls = 0

    def fetch(self, height: int) -> BlocksResponse:
        self.calls += 1
        if self.failures:
            raise self.failures.pop()
        response = self.ledger.blocks(BlocksRequest(height=height, count_max=2, wait_ms=20))
        if self.spoiled and response.blocks:
            block = decode(Block, response.blocks[0])
            return replace(response, blocks=[encode(replace(block, entries=block.entries[:1]))])
        return response


@pytest.fixture
def source(kernel: Kernel, store: Store) -> Source:
    return Source(Ledger(kernel.genesis, store, Feed(store.height)))


@pytest.fixture
def pull(follower: Follower, source: Source, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pull]:
    monkeypatch.setattr(follower_module, "RETRY_S_MIN", 0.001)
    monkeypatch.setattr(follower_module, "RETRY_S_MAX", 0.01)
    pulling = Pull(follower, source.fetch)
    yield pulling
    assert pulling.stop(WAIT_S)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was not reached in time"
        time.sleep(0.001)


def test_pulling_catches_up_and_keeps_up(
    pull: Pull, follower: Follower, blocks: list[Block], chain: Extend
) -> None:
    assert pull.age_s is None
    pull.start()
    assert follower._feed.wait(3, WAIT_S)
    assert pull.age_s is not None
    chain(time_ms=START_MS + 10)
    assert follower._feed.wait(4, WAIT_S)
    until(lambda: pull.behind == 0)
    assert (pull.trouble, pull.running) == (None, True)


def test_pulling_survives_a_sequencer_that_is_gone_for_a_while(
    pull: Pull, follower: Follower, source: Source, blocks: list[Block]
) -> None:
    source.failures = [ConnectionRefusedError(), LedgerUnavailable(), TimeoutError()] * 3
    pull.start()
    assert follower._feed.wait(3, WAIT_S)
    until(lambda: pull.trouble is None)


def test_pulling_asks_again_for_a_block_that_was_altered(
    pull: Pull, follower: Follower, source: Source, blocks: list[Block]
) -> None:
    source.spoiled = True
    pull.start()
    until(lambda: source.calls > 3)
    assert isinstance(pull.trouble, ProofInvalid)
    assert follower.height == 0
    source.spoiled = False
    assert follower._feed.wait(3, WAIT_S)


def test_pulling_ends_when_the_follower_diverges(
    pull: Pull, follower: Follower, source: Source, store: Store, blocks: list[Block]
) -> None:
    store._writer.execute(
        "UPDATE blocks SET block = ? WHERE height = 2", (resigned(blocks[1], app_hash=bytes(32)),)
    )
    pull.start()
    until(lambda: not pull.running)
    assert isinstance(pull.trouble, Diverged)
    assert (follower.height, pull.behind) == (1, 2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_ends_pulling_loudly(pull: Pull, source: Source, blocks: list[Block]) -> None:
    source.failures = [ZeroDivisionError()]
    pull.start()
    until(lambda: not pull.running)
    assert isinstance(pull.trouble, ZeroDivisionError)
    assert pull.failure is pull.trouble


def test_stopping_ends_a_pause(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "RETRY_S_MIN", 3600.0)
    asked = threading.Event()

    def gone(height: int) -> BlocksResponse:
        asked.set()
        raise LedgerUnavailable

    pulling = Pull(follower, gone)
    pulling.start()
    assert asked.wait(WAIT_S)
    assert pulling.failure is None
    assert pulling.stop(WAIT_S)
    assert not pulling.running
    assert pulling.failure is None


def test_unavailable_keeps_its_meaning_on_the_wire() -> None:
    assert isinstance(error_from(LedgerUnavailable().problem), LedgerUnavailable)
    assert "sequencer" in LedgerUnavailable().what
