"""The event stream: numbered alike everywhere, resumed without gap or repetition, bounded, and
never a burden on the node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypermesh.ledger.errors import LedgerStopped
from hypermesh.ledger.feed import Commit, Feed
from hypermesh.ledger.module import Event
from hypermesh.ledger.names import Name
from hypermesh.node import streaming
from hypermesh.node.events import KINDS, Place, frame, frames, kinds_of
from hypermesh.node.streaming import INDEX_MAX, Events, Reader, TooManyReaders
from hypermesh.sdk.answer import AnswerInvalid
from hypermesh.sdk.events import Event as Received
from hypermesh.sdk.events import Parser, lines_of
from hypermesh.wire.api.event import (
    AccountEvent,
    AssetEvent,
    BlockEvent,
    EventKind,
    JobEvent,
    LeaseStateEvent,
    LiveEvent,
    NameEvent,
    NodeEvent,
    RatesView,
    ResetEvent,
)
from hypermesh.wire.api.job import JobState
from hypermesh.wire.asset import (
    Asset,
    AssetKind,
    AssetState,
    Lease,
    LeaseState,
    Price,
    PrivacyLevel,
)
from hypermesh.wire.block import Block, Header
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import InvalidInput, NotAvailable
from hypermesh.wire.tx import BlockOpening, TxResult

OWNER, OTHER, NODE = b"o" * 32, b"p" * 32, b"n" * 32
ASSET, LEASE = b"a" * 16, b"l" * 32
START_MS = 1_800_000_000_000
WAIT_S = 20.0


def block_at(height: int) -> Block:
    time_ms = START_MS + height
    header = Header(NODE, height, time_ms, *[bytes(32)] * 4, NODE)
    opening = encode(BlockOpening(time_ms, None))
    return Block(header, None, [opening], [TxResult(bytes(32), "ok", [])])


def asset(**changed: Any) -> Asset:
    known = Asset(
        owner=OWNER,
        host=NODE,
        kind=AssetKind.MEMORY,
        level=PrivacyLevel.P2P,
        state=AssetState.ALLOCATED,
        commitment=bytes(32),
        audience_hash=bytes(32),
        descriptor=None,
        salt=b"",
        price=None,
        concurrent_max=4,
        slot=1,
        revision=3,
        epoch=9,
        leases=1,
        committed=77,
        registered_ms=START_MS,
    )
    return msgspec.structs.replace(known, **changed)


def lease(state: LeaseState, consumer: bytes = OWNER) -> Lease:
    return Lease(
        asset=ASSET,
        host=NODE,
        payee=OTHER,
        consumer=consumer,
        session=b"s" * 32,
        level=PrivacyLevel.P2P,
        price=Price(1, 1, 1),
        amount=4096,
        duration_ms=1000,
        escrow=100,
        epoch=1,
        state=state,
        opened_ms=START_MS,
        starts_ms=START_MS,
        ends_ms=START_MS + 1000,
        deadline_ms=START_MS + 1000,
        paid=60,
        fee=10,
        refund=30,
    )


def received(text: bytes) -> list[Received]:
    """What a client makes of the stream."""
    parser = Parser()
    lines = text.decode().split("\n")
    return [each for each in map(parser.line, lines) if each is not None]


def told(*events: Event, height: int = 7) -> list[Received]:
    return received(b"".join(each.text for each in frames(block_at(height), events, OWNER)))


# What is said


def test_a_block_and_its_events_are_numbered_in_the_order_of_the_kernel() -> None:
    said = told(
        Event("asset.registered", ASSET, encode(asset())),
        Event("lease.opened", LEASE, encode(lease(LeaseState.RESERVED))),
        Event("consensus.epoch", bytes(32), (5).to_bytes(8, "big")),
        Event("consensus.attested", NODE, b"b" * 32),
    )
    assert [(each.id, each.kind) for each in said] == [
        ("7.0", EventKind.BLOCK),
        ("7.1", EventKind.ASSET),
        ("7.2", EventKind.LEASE),
        ("7.4", EventKind.NODE),
    ]
    block = said[0].data
    assert isinstance(block, BlockEvent)
    assert (block.height, block.time_ms, block.operations, block.epoch) == (7, START_MS + 7, 0, 5)


def test_assets_and_their_privacy() -> None:
    registered, changed = told(
        Event("asset.registered", ASSET, encode(asset())),
        Event("asset.privacy", ASSET, encode(asset(level=PrivacyLevel.FULL_PUBLIC))),
    )[1:]
    assert isinstance(registered.data, AssetEvent)
    assert registered.data.what == "registered"
    assert registered.data.asset == ASSET.hex()
    assert (registered.data.leases, registered.data.committed) == (1, 77)
    assert isinstance(changed.data, AssetEvent)
    assert (changed.kind, changed.data.what) == (EventKind.PRIVACY, "changed")
    assert (changed.data.level, changed.data.revision) == (PrivacyLevel.FULL_PUBLIC, 3)


@pytest.mark.parametrize("state", LeaseState)
def test_leases_show_what_was_paid_when_they_are_final(state: LeaseState) -> None:
    (said,) = told(Event(f"lease.{state}", LEASE, encode(lease(state))))[1:]
    assert isinstance(said.data, LeaseStateEvent)
    final = state in (LeaseState.SETTLED, LeaseState.CLAIMED, LeaseState.EXPIRED)
    assert said.data.paid == (60 if final else None)
    assert said.data.refund == (30 if final else None)
    assert said.data.mine
    assert said.data.what == state


def test_a_lease_of_others_is_not_mine() -> None:
    (said,) = told(Event("lease.opened", LEASE, encode(lease(LeaseState.RESERVED, OTHER))))[1:]
    assert isinstance(said.data, LeaseStateEvent)
    assert not said.data.mine


def test_accounts_and_nodes() -> None:
    said = told(
        Event("bank.transferred", LEASE, encode((OTHER, OWNER, 12))),
        Event("bank.granted", NODE, encode((OTHER, 5))),
        Event("stake.bonded", NODE, encode((OTHER, 6))),
        Event("identity.owned", OWNER),
        Event("identity.enrolled", NODE, OWNER),
        Event("identity.revoked", NODE, b"stolen"),
    )[1:]
    accounts = [each.data for each in said if isinstance(each.data, AccountEvent)]
    assert [(each.what, each.amount, each.mine) for each in accounts] == [
        ("transferred", 12, True),
        ("granted", 5, False),
        ("bonded", 6, False),
        ("owned", 0, True),
    ]
    assert accounts[0].accounts == [OTHER.hex(), OWNER.hex()]
    nodes = [each.data for each in said if isinstance(each.data, NodeEvent)]
    assert [(each.what, each.owner, each.reason) for each in nodes] == [
        ("enrolled", OWNER.hex(), ""),
        ("revoked", None, "stolen"),
    ]


def test_names_are_added_changed_and_dropped() -> None:
    first, second = Name(OWNER, NODE, None), Name(OTHER, None, ASSET)
    said = told(
        Event("name.set", b"desk", encode(first), entry=1),
        # What stood for one thing stands for another, in one transaction.
        Event("name.dropped", b"desk", encode(first), entry=2),
        Event("name.set", b"desk", encode(second), entry=2),
        Event("name.dropped", b"desk", encode(second), entry=3),
        # A transaction of its own drops it, and another takes it.
        Event("name.set", b"desk", encode(first), entry=4),
        Event("name.dropped", b"lap", encode(first), entry=5),
        Event("name.set", b"top", encode(first), entry=5),
    )[1:]
    assert {each.kind for each in said} == {EventKind.NAME}
    found = [each.data for each in said if isinstance(each.data, NameEvent)]
    assert [(each.label, each.what, each.mine) for each in found] == [
        ("desk", "added", True),
        ("desk", "changed", False),
        ("desk", "dropped", False),
        ("desk", "added", True),
        ("lap", "dropped", True),
        ("top", "added", True),
    ]
    assert [each.id for each in said] == ["7.1", "7.3", "7.4", "7.5", "7.6", "7.7"]
    assert (found[0].node, found[0].asset) == (NODE.hex(), None)
    assert (found[1].node, found[1].asset) == (None, ASSET.hex())


def test_what_nobody_could_read_keeps_its_number_and_harms_nothing() -> None:
    said = told(
        Event("asset.of_the_future", ASSET, b"\xff"),
        Event("future.event", ASSET, b""),
        Event("identity.owned", OWNER),
    )
    assert [each.id for each in said] == ["7.0", "7.3"]


def test_an_event_cannot_break_out_of_its_frame() -> None:
    (said,) = told(Event("identity.revoked", NODE, b"a\n\nid: 9.9\r\nevent: block\n\n"))[1:]
    assert isinstance(said.data, NodeEvent)
    assert said.data.reason == "a\n\nid: 9.9\r\nevent: block\n\n"
    assert said.id == "7.1"


@given(st.integers(0, 2**53), st.integers(0, INDEX_MAX))
def test_places_are_text_and_back_and_in_order(height: int, index: int) -> None:
    place = Place(height, index)
    assert Place.parse(str(place)) == place
    assert place < Place(height, index + 1) < Place(height + 1, 0)


@pytest.mark.parametrize(
    "text", ["", "7", "7.", ".7", "-1.0", "07.1", "1.0.0", "1 .0", "٣.0", "9" * 30]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Place.parse(text)


def test_kinds_are_a_list_of_known_words() -> None:
    assert kinds_of(None) == KINDS
    assert EventKind.RESET not in KINDS
    assert kinds_of("block, live") == {EventKind.BLOCK, EventKind.LIVE}
    for wrong in ("", ",", "blocks", "block,reset"):
        with pytest.raises(InvalidInput):
            kinds_of(wrong)


def test_a_client_refuses_what_is_not_of_this_version() -> None:
    parser = Parser()
    assert parser.line("event: block") is None
    assert parser.line('data: {"height": "no"}') is None
    with pytest.raises(AnswerInvalid):
        parser.line("")


def test_a_client_refuses_what_is_no_text() -> None:
    parser = Parser()
    assert parser.feed(b"event: block\r\n") is None
    with pytest.raises(AnswerInvalid, match="UTF-8"):
        parser.feed(b"data: \xff")


def test_a_text_may_hold_what_unicode_calls_the_end_of_a_line() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in ("data: a\u2028b\x85c", "\x0bd\ne", "vent: block\n\nrest"):
            yield chunk.encode()

    async def collected() -> list[bytes]:
        return [line async for line in lines_of(chunks())]

    assert asyncio.run(collected()) == ["data: a\u2028b\x85c\x0bd".encode(), b"event: block", b""]


def test_a_client_passes_over_kinds_of_newer_nodes_and_keeps_the_place() -> None:
    parser = Parser()
    for line in ("id: 4.2", "event: new", "data: {}"):
        assert parser.line(line) is None
    assert parser.line("") is None
    assert parser.last_id == "4.2"


# How it is streamed


@dataclass
class Ledger:
    """Blocks with one event each, as a node's chain shows them."""

    feed: Feed = field(default_factory=lambda: Feed(0))
    blocks: dict[int, Block] = field(default_factory=dict)
    forgotten: int = 0
    """Up to here no events are kept."""

    @property
    def ledger(self) -> Ledger:
        return self

    @property
    def height(self) -> int:
        return len(self.blocks)

    def extend(self, count: int = 1) -> None:
        """Durable first, then published, as the engines do."""
        for _ in range(count):
            height = self.height + 1
            self.blocks[height] = block_at(height)
            self.feed.publish(Commit(self.blocks[height], b"", self.events(height), {}))

    def events(self, height: int) -> tuple[Event, ...]:
        return (Event("identity.owned", height.to_bytes(32, "big")),)

    def happened(self, first: int, last: int) -> list[tuple[Block, tuple[Event, ...]]]:
        found = []
        for height in range(first, min(last, self.height) + 1):
            if height <= self.forgotten:
                break
            found.append((self.blocks[height], self.events(height)))
        return found


def nothing_seen() -> LiveEvent:
    rates = RatesView(0, 0, 0, 0, 0)
    return LiveEvent(1, "ok", "", 0, "0" * 64, 0, None, None, 0, 0, rates, {}, [], [])


class Client:
    """Takes events one by one, so that a test can be slow."""

    def __init__(
        self, events: Events, since: str | None = None, kinds: str = "block,account"
    ) -> None:
        place = None if since is None else Place.parse(since)
        self.reader: Reader = events.open(kinds_of(kinds), place)
        self._texts: AsyncGenerator[bytes] = self.reader.texts()
        self._parser = Parser()
        self._waiting: list[Received] = []
        self.ended = False

    async def next(self) -> Received | None:
        """The next event; None when the stream is over."""
        while not self._waiting:
            try:
                text = await asyncio.wait_for(anext(self._texts), WAIT_S)
            except StopAsyncIteration:
                self.ended = True
                return None
            lines = text.decode().split("\n")
            self._waiting += [each for each in map(self._parser.line, lines) if each is not None]
        return self._waiting.pop(0)

    async def ids(self, count: int) -> list[str]:
        found = [await self.next() for _ in range(count)]
        return [each.id or each.kind for each in found if each is not None]

    async def resumable(self) -> str:
        """The place that a client which has seen no event would go on from."""
        for line in (await anext(self._texts)).decode().split("\n"):
            self._parser.line(line)
        assert self._parser.last_id is not None
        return self._parser.last_id

    async def leave(self) -> None:
        await self._texts.aclose()
        with self.reader:
            pass


def places(first: int, last: int) -> list[str]:
    return [f"{height}.{index}" for height in range(first, last + 1) for index in (0, 1)]


def run(scenario: Callable[[Ledger, Events], Awaitable[None]], **parts: Any) -> None:
    ledger = Ledger()
    live = parts.get("live", nothing_seen)

    async def scene() -> None:
        await scenario(ledger, Events(ledger, OWNER, live))  # type: ignore[arg-type]

    asyncio.run(scene())


def test_every_client_gets_every_event_in_order() -> None:
    async def scenario(ledger: Ledger, events: Events) -> None:
        ledger.extend(3)
        one, two = Client(events), Client(events, kinds="account")
        ledger.extend(5)
        assert await one.ids(10) == places(4, 8)
        assert await two.ids(5) == [f"{height}.1" for height in range(4, 9)]

    run(scenario)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.data())
def test_resuming_leaves_no_gap_and_repeats_nothing(blocks: int, data: st.DataObject) -> None:
    """Wherever a client stopped, and however many blocks come while it catches up."""
    stopped = data.draw(st.sampled_from(["0.0", *places(1, blocks)]))
    during, after = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))

    async def scenario(ledger: Ledger, events: Events) -> None:
        ledger.extend(blocks)
        client = Client(events, since=stopped)
        ledger.extend(during)
        expected = [
            each for each in places(1, blocks + during) if Place.parse(each) > Place.parse(stopped)
        ]
        assert await client.ids(len(expected)) == expected
        ledger.extend(after)
        more = places(blocks + during + 1, blocks + during + after)
        assert await client.ids(len(more)) == more

    run(scenario)


def test_a_client_that_saw_nothing_can_still_resume() -> None:
    async def scenario(ledger: Ledger, events: Events) -> None:
        ledger.extend(4)
        first = Client(events)
        place = await first.resumable()
        await first.leave()
        ledger.extend(2)
        assert await Client(events, since=place).ids(4) == places(5, 6)

    run(scenario)


def test_too_far_back_is_a_reset_and_then_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "RESUME_BLOCKS_MAX", 10)

    async def scenario(ledger: Ledger, events: Events) -> None:
        ledger.extend(30)
        assert await Client(events, since="20.1").ids(20) == places(21, 30)
        client = Client(events, since="19.1")
        reset = await client.next()
        assert reset is not None
        assert isinstance(reset.data, ResetEvent)
        assert "11 blocks ago" in reset.data.reason
        assert reset.id == reset.data.since == f"30.{INDEX_MAX}"
        ledger.extend(1)
        assert await client.ids(2) == places(31, 31)

    run(scenario)


def test_what_is_not_kept_is_a_reset() -> None:
    async def scenario(ledger: Ledger, events: Events) -> None:
        ledger.extend(9)
        ledger.forgotten = 4
        assert await Client(events, since="5.0").ids(9) == ["5.1", *places(6, 9)]
        client = Client(events, since="2.0")
        reset = await client.next()
        assert reset is not None
        assert isinstance(reset.data, ResetEvent)
        assert "block 2 are not kept" in reset.data.reason

    run(scenario)


def test_a_place_that_this_ledger_has_not_reached_is_a_reset() -> None:
    async def scenario(ledger: Ledger, events: Events) -> None:
        ledger.extend(2)
        reset = await Client(events, since="3.0").next()
        assert reset is not None
        assert isinstance(reset.data, ResetEvent)
        assert "ends at block 2" in reset.data.reason

    run(scenario)


def test_a_slow_client_is_cut_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "RING_BLOCKS_MAX", 8)

    async def scenario(ledger: Ledger, events: Events) -> None:
        slow, quick = Client(events), Client(events)
        seen: list[str] = []
        for _ in range(10):
            ledger.extend(2)
            seen += await quick.ids(4)
        assert seen == places(1, 20)
        reset = await slow.next()
        assert reset is not None
        assert isinstance(reset.data, ResetEvent)
        assert "does not keep up" in reset.data.reason
        assert await slow.next() is None
        assert slow.ended
        # What it is told to go on from loses nothing that comes after its fresh look.
        ledger.extend(1)
        again = Client(events, since=reset.id)
        assert await again.ids(2) == places(21, 21)

    run(scenario)


def test_the_ring_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        streaming,
        "RING_BYTES_MAX",
        4 * sum(len(each.text) for each in frames(block_at(9), Ledger().events(9), OWNER)),
    )

    async def scenario(ledger: Ledger, events: Events) -> None:
        slow, quick = Client(events), Client(events)
        for _ in range(12):
            ledger.extend(1)
            await quick.ids(2)
        reset = await slow.next()
        assert reset is not None
        assert reset.kind is EventKind.RESET

    run(scenario)


def test_a_feed_that_was_cut_is_told_to_everybody() -> None:
    async def scenario(ledger: Ledger, events: Events) -> None:
        client = Client(events)
        ledger.extend(1)
        assert await client.ids(2) == places(1, 1)
        # All at once, before the loop gets to take one.
        ledger.extend(600)
        assert await client.ids(1) == [f"601.{INDEX_MAX}"]
        assert await client.next() is None

    run(scenario)


def test_clients_are_bounded_and_leave_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "READERS_MAX", 2)

    async def scenario(ledger: Ledger, events: Events) -> None:
        one, _ = Client(events), Client(events)
        with pytest.raises(TooManyReaders):
            Client(events)
        await one.leave()
        three = Client(events)
        ledger.extend(1)
        assert await three.ids(2) == places(1, 1)

    run(scenario)


def test_nothing_runs_while_nobody_reads() -> None:
    looks = 0

    def look() -> LiveEvent:
        nonlocal looks
        looks += 1
        return nothing_seen()

    async def scenario(ledger: Ledger, events: Events) -> None:
        events.tell(EventKind.JOB, JobEvent("3" * 32, JobState.DONE, 1))
        client = Client(events, kinds="live")
        await client.ids(1)
        await client.leave()
        await asyncio.sleep(0)
        assert {task.get_name() for task in asyncio.all_tasks()} & {
            "events",
            "events-live",
        } == set()
        before = looks
        ledger.extend(300)
        # A client that comes later is not told that it was slow.
        late = Client(events)
        ledger.extend(1)
        assert await late.ids(2) == places(301, 301)
        assert looks == before

    run(scenario, live=look)


def test_live_looks_are_coalesced_and_have_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LIVE_S", 0.001)
    looks = 0

    def look() -> LiveEvent:
        nonlocal looks
        looks += 1
        return msgspec.structs.replace(nothing_seen(), height=looks)

    async def scenario(ledger: Ledger, events: Events) -> None:
        del ledger
        client = Client(events, kinds="live")
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while looks < 50:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.001)
        seen = await client.next()
        assert seen is not None
        assert isinstance(seen.data, LiveEvent)
        assert seen.id is None
        assert seen.data.height >= 49

    run(scenario, live=look)


def test_a_look_that_fails_ends_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LIVE_S", 0.001)
    looks = 0

    def look() -> LiveEvent:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise NotAvailable("not now") if looks == 1 else KeyError("a mistake of this node")
        return nothing_seen()

    async def scenario(ledger: Ledger, events: Events) -> None:
        del ledger
        assert await Client(events, kinds="live").ids(1) == ["live"]

    run(scenario, live=look)


def test_heartbeats_say_how_far_the_client_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.05)

    async def scenario(ledger: Ledger, events: Events) -> None:
        reader = events.open(kinds_of("lease"), None)
        texts = reader.texts()
        assert b": here\nid: 0." in await anext(texts)
        ledger.extend(3)
        deadline = asyncio.get_running_loop().time() + WAIT_S
        text = b""
        while b"id: 3.1\n\n" not in text:
            assert asyncio.get_running_loop().time() < deadline
            text = await anext(texts)
            assert text.startswith(b": here\n")

    run(scenario)


def test_a_job_is_told_from_any_thread_without_an_id() -> None:
    async def scenario(ledger: Ledger, events: Events) -> None:
        client = Client(events, kinds="job,block")
        said = JobEvent("3" * 32, JobState.RUNNING, 1)
        await asyncio.to_thread(events.tell, EventKind.JOB, said)
        got = await client.next()
        assert got == Received(None, EventKind.JOB, said)
        ledger.extend(1)
        assert await client.ids(1) == ["1.0"]

    run(scenario)


def test_closing_ends_every_stream() -> None:
    async def scenario(ledger: Ledger, events: Events) -> None:
        del ledger
        clients = [Client(events), Client(events)]
        waiting = [asyncio.create_task(client.next()) for client in clients]
        await asyncio.sleep(0)
        events.close()
        assert await asyncio.wait_for(asyncio.gather(*waiting), WAIT_S) == [None, None]

    run(scenario)


def test_a_stopped_ledger_leaves_the_live_stream_open() -> None:
    async def scenario(ledger: Ledger, events: Events) -> None:
        ledger.extend(1)
        ledger.feed.close(LedgerStopped())
        client = Client(events, since="0.0", kinds="block,live")
        assert await client.ids(2) == ["1.0", "live"]

    run(scenario)


def test_a_frame_without_a_place_has_no_id() -> None:
    assert b"id:" not in frame(EventKind.LIVE, nothing_seen()).text


def test_a_block_that_cannot_be_told_is_a_gap_and_no_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mistake in one event: the readers learn that they missed something, and the next block
    finds somebody to tell it."""

    def mistaken(block: Block, *rest: Any) -> list[Any]:
        if block.header.height == 2:
            raise KeyError("a mistake of this node")
        return frames(block, *rest)

    monkeypatch.setattr(streaming, "frames", mistaken)

    async def scenario(ledger: Ledger, events: Events) -> None:
        client = Client(events)
        ledger.extend(1)
        assert await client.ids(2) == places(1, 1)
        ledger.extend(1)
        assert await client.ids(1) == [f"2.{INDEX_MAX}"]
        assert await client.next() is None
        again = Client(events)
        ledger.extend(1)
        assert await again.ids(2) == places(3, 3)

    run(scenario)
