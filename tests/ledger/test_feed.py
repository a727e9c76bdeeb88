"""Subscriptions and waits: bounded, in order, and never a burden on the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from hypermesh.ledger import feed as feed_module
from hypermesh.ledger.errors import Lagging, LedgerStopped, QueueFull
from hypermesh.ledger.feed import SUBSCRIPTION_MAX, Commit, Feed
from hypermesh.wire.block import Block

WAIT_S = 20.0


@pytest.fixture
def commit(chain: Callable[..., Block]) -> Callable[[int], Commit]:
    block = chain()

    def at(height: int) -> Commit:
        header = msgspec.structs.replace(block.header, height=height)
        return Commit(msgspec.structs.replace(block, header=header), b"", (), {})

    return at


def test_a_subscriber_gets_every_commit_in_order(commit: Callable[[int], Commit]) -> None:
    feed = Feed(0)
    one, two = feed.subscribe(), feed.subscribe()
    for height in (1, 2, 3):
        feed.publish(commit(height))
    for subscription in (one, two):
        got = [subscription.next(WAIT_S) for _ in range(3)]
        assert [each.block.header.height for each in got if each] == [1, 2, 3]
        assert subscription.next(0.001) is None


def test_a_commit_that_comes_while_one_waits_is_given_at_once(
    commit: Callable[[int], Commit],
) -> None:
    feed = Feed(0)
    subscription = feed.subscribe()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(subscription.next, WAIT_S)
        feed.publish(commit(1))
        got = waiting.result(WAIT_S)
    assert got is not None
    assert got.block.header.height == 1


def test_a_wait_that_was_given_up_loses_no_commit(commit: Callable[[int], Commit]) -> None:
    feed = Feed(0)
    subscription = feed.subscribe()
    assert subscription.next(0.001) is None

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(subscription.next_async(), 0.001)

    asyncio.run(cancelled())
    feed.publish(commit(1))

    async def take() -> int:
        return (await subscription.next_async()).block.header.height

    assert asyncio.run(take()) == 1


def test_a_subscriber_that_lags_is_told_and_dropped(commit: Callable[[int], Commit]) -> None:
    feed = Feed(0)
    slow, quick = feed.subscribe(), feed.subscribe()
    for height in range(1, SUBSCRIPTION_MAX + 3):
        feed.publish(commit(height))
        assert quick.next(WAIT_S) is not None
    with pytest.raises(Lagging):
        slow.next(WAIT_S)
    assert feed._subscriptions == [quick]


def test_a_closed_subscription_ends(commit: Callable[[int], Commit]) -> None:
    feed = Feed(0)
    subscription = feed.subscribe()
    subscription.close()
    feed.publish(commit(1))
    with pytest.raises(LedgerStopped):
        subscription.next(WAIT_S)
    assert feed._subscriptions == []


def test_waiting_for_a_height(commit: Callable[[int], Commit]) -> None:
    feed = Feed(0)
    assert feed.wait(0, 0)
    assert not feed.wait(1, 0.001)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(feed.wait, 2, WAIT_S)
        for height in (1, 2):
            feed.publish(commit(height))
        assert waiting.result(WAIT_S)
    assert feed.wait(1, WAIT_S)

    async def both() -> tuple[bool, bool]:
        early = asyncio.create_task(feed.wait_async(3, WAIT_S))
        missed = await feed.wait_async(9, 0.001)
        feed.publish(commit(3))
        return await early, missed

    assert asyncio.run(both()) == (True, False)


def test_the_end_reaches_everyone_who_waits(commit: Callable[[int], Commit]) -> None:
    feed = Feed(0)
    subscription = feed.subscribe()
    feed.publish(commit(1))
    feed.close(LedgerStopped("the end"))
    assert subscription.next(WAIT_S) is not None, "what was published before the end is kept"
    with pytest.raises(LedgerStopped, match="the end"):
        subscription.next(WAIT_S)
    with pytest.raises(LedgerStopped, match="the end"):
        feed.subscribe()
    with pytest.raises(LedgerStopped, match="the end"):
        feed.wait(2, WAIT_S)


def test_subscribers_and_waiters_are_bounded(
    commit: Callable[[int], Commit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "SUBSCRIBERS_MAX", 1)
    monkeypatch.setattr(feed_module, "WAITERS_MAX", 1)
    feed = Feed(0)
    feed.subscribe()
    with pytest.raises(QueueFull):
        feed.subscribe()

    async def crowd() -> None:
        first = asyncio.create_task(feed.wait_async(1, WAIT_S))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await feed.wait_async(1, WAIT_S)
        feed.publish(commit(1))
        assert await first

    asyncio.run(crowd())
    assert not feed.wait(2, 0.001)
    assert not feed.wait(2, 0.001), "a wait that ended makes room"


def test_those_who_wait_can_be_sent_on_and_others_wait_again(
    commit: Callable[[int], Commit],
) -> None:
    feed = Feed(3)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(feed.wait, 4, WAIT_S)
        while not waiting.done():
            feed.end_waits()
        assert waiting.result() is False
        again = pool.submit(feed.wait, 4, WAIT_S)
        feed.publish(commit(4))
        assert again.result(WAIT_S) is True
