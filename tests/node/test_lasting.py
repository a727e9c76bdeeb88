"""The threads that last as long as a node: whatever goes wrong in them, they go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from hypermesh.ledger.errors import LedgerStopped
from hypermesh.ledger.feed import SUBSCRIPTION_MAX, Commit, Feed
from hypermesh.node import attesting, settling, watching
from hypermesh.node.attesting import Attesting
from hypermesh.node.settling import Settling
from hypermesh.node.trouble import state_of
from hypermesh.node.watching import Watching
from hypermesh.wire.errors import HyperMeshError

from .network import eventually

WAIT_S = 20.0
nothing: Any = None


class Spoilt:
    """Does its work, but for the first time."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.tried = 0
        self.done = threading.Event()

    def __call__(self, *_: Any) -> bool:
        self.tried += 1
        if self.tried == 1:
            raise self.error
        self.done.set()
        return False


ERRORS = [
    HyperMeshError("refused"),
    OSError(28, "No space left on device"),
    ZeroDivisionError("a mistake of this node"),
    LedgerStopped("said by another node that goes down"),
]
failures = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


@failures
def test_a_node_attests_on(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk under its plots is no reason to lose its rights for good."""
    monkeypatch.setattr(attesting, "RETRY_S", 0.01)
    node = Attesting(nothing, nothing, nothing, nothing, nothing)
    work = Spoilt(error)
    monkeypatch.setattr(node, "attest", work)
    node.start()
    assert work.done.wait(WAIT_S)
    assert state_of(node.threads) == "ok"
    node.stop()
    node.threads[0].join(WAIT_S)
    assert state_of(node.threads) == "ended: attesting; the log says why"


@failures
@pytest.mark.parametrize("duty", ["_settle", "_renew", "_publish"])
def test_a_node_settles_renews_and_is_found_after_all(
    error: Exception, duty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among others where it comes up while the sequencer goes down."""
    for pause in ("RETRY_S", "RENEW_RETRY_S", "PLACE_CHECK_S"):
        monkeypatch.setattr(settling, pause, 0.01)
    certification: Any = SimpleNamespace(is_known=lambda: False)
    started = threading.Event()
    starter: Any = SimpleNamespace(start=started.set)
    before: tuple[Any, ...] = (nothing,) * 4
    node = Settling(*before, certification, starter, nothing, nothing, nothing)
    work = Spoilt(error)
    for each in ("_settle", "_renew", "_publish"):
        monkeypatch.setattr(node, each, work if each == duty else lambda: None)
    node.start()
    assert work.done.wait(WAIT_S)
    assert started.wait(WAIT_S)
    assert node.state == "ok"
    assert state_of(node.threads) == "ok"
    node.stop()


class Blocks:
    """A ledger of empty blocks, and everybody who reacts to them."""

    def __init__(self) -> None:
        self.feed = Feed(0)
        self.ledger = self
        self.held = threading.Event()
        self.held.set()
        self.seen: list[int] = []
        self.caught_up = threading.Semaphore(0)
        self.react: Callable[[int], bool] = lambda _: True
        self.height = 0

    @contextmanager
    def state(self) -> Iterator[Any]:
        yield SimpleNamespace(scan=lambda _: iter(()))

    def add(self) -> None:
        self.height += 1
        header = SimpleNamespace(height=self.height)
        block: Any = SimpleNamespace(header=header, results=[None], entries=[])
        self.feed.publish(Commit(block, b"", (), {}))

    def observe(self, commit: Commit) -> bool:
        assert self.held.wait(WAIT_S)
        self.seen.append(commit.block.header.height)
        return self.react(commit.block.header.height)

    def catch_up(self) -> bool:
        self.caught_up.release()
        return True


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Blocks, Watching]]:
    monkeypatch.setattr(watching, "WATCH_S", 0.02)
    blocks: Any = Blocks()
    endpoint: Any = SimpleNamespace(refusals=list)
    metrics: Any = SimpleNamespace(height=SimpleNamespace(set=lambda _: None), operations_seen=0)
    admission: Any = SimpleNamespace(obey=lambda: None, obey_in_time=lambda: None)
    replaying: Any = SimpleNamespace(record=lambda: None)
    duties: Any = SimpleNamespace(epoch_turned=lambda: None)
    node = Watching(
        blocks,
        endpoint,
        duties,
        blocks,
        nothing,
        metrics,
        nothing,
        admission,
        renew=lambda: None,
        replaying=replaying,
    )
    node.start()
    yield blocks, node
    blocks.feed.close(LedgerStopped())
    node.threads[0].join(WAIT_S)
    assert state_of(node.threads) == "ended: watch; the log says why"


@failures
def test_a_node_reacts_to_the_next_block(
    watched: tuple[Blocks, Watching], error: Exception
) -> None:
    blocks, node = watched

    def react(height: int) -> bool:
        if height == 1:
            raise error
        return True

    blocks.react = react
    blocks.add()
    blocks.add()
    eventually(lambda: blocks.seen == [1, 2], "the second block is seen")
    assert blocks.caught_up.acquire(timeout=WAIT_S)
    assert state_of(node.threads) == "ok"


def test_what_could_not_be_done_is_tried_again(watched: tuple[Blocks, Watching]) -> None:
    """A claim that failed is not paid by itself."""
    blocks, _ = watched
    blocks.react = lambda _: False
    blocks.add()
    assert blocks.caught_up.acquire(timeout=WAIT_S)


def test_blocks_that_were_missed_are_made_up_for(watched: tuple[Blocks, Watching]) -> None:
    """Held up by one block for so long that the feed lets go of it."""
    blocks, _ = watched
    blocks.held.clear()
    for _ in range(SUBSCRIPTION_MAX + 2):
        blocks.add()
    blocks.held.set()
    assert blocks.caught_up.acquire(timeout=WAIT_S)
    missed = blocks.height
    blocks.add()
    eventually(lambda: blocks.seen[-1:] == [missed + 1], "it follows again")
