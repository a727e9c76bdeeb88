"""Events, health, nodes and remote memory as real nodes show them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from hypermesh.node.events import KINDS
from hypermesh.node.measurements import ReportedTooSoon
from hypermesh.sdk.call import Call
from hypermesh.sdk.events import Event
from hypermesh.sdk.location import socket_path
from hypermesh.sdk.mesh import AsyncMesh, Mesh
from hypermesh.wire.api.event import (
    BlockEvent,
    EventKind,
    JobEvent,
    LeaseStateEvent,
    LiveEvent,
    ResetEvent,
)
from hypermesh.wire.api.job import FINAL, JobState, JobSubmit
from hypermesh.wire.api.lease import SessionView
from hypermesh.wire.api.memory import (
    Measurement,
    MeasurementReport,
    MeasurementTaken,
    MemoryPage,
    MemorySeries,
)
from hypermesh.wire.api.network import NodePage
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.errors import InvalidInput, NotFound
from hypermesh.wire.tx import BankTransfer

from .network import Network, Node, eventually, hm, output, problem

MIB = 1 << 20
LEDGER_KINDS = sorted(KINDS - {EventKind.LIVE, EventKind.JOB, EventKind.PHASE})


def following(node: Node, since: str | None, kinds: list[str]) -> Iterator[Event]:
    with Mesh(socket_path(node.data)) as mesh:
        yield from mesh.events(since, kinds)


def until(events: Iterator[Event], height: int) -> list[Event]:
    """The events up to the block at `height`, that block included."""
    found = []
    for event in events:
        found.append(event)
        if isinstance(event.data, BlockEvent) and event.data.height >= height:
            return found
    raise AssertionError("the stream ended")


def pay(node: Node, to: Node) -> int:
    """A transfer; the height of its block."""
    answer = node.submit(BankTransfer(to.membership.owner, 1, ""))
    assert answer.code == "ok"
    return answer.height


@contextmanager
def region_of(network: Network, size: int = MIB) -> Iterator[tuple[Any, SessionView]]:
    """A region of carol's memory that alice uses."""
    asset = network.carol.asset(AssetKind.MEMORY).asset
    session = network.alice.ask(lambda m: m.leases.allocate(asset, size, duration_ms=60_000))
    with network.alice.holding(session, keep=False) as region:
        yield region, session


# Events


def test_all_nodes_tell_the_same_under_the_same_ids(network: Network) -> None:
    last = pay(network.bob, network.carol)
    network.await_agreed()
    told = [
        [(each.id, each.kind) for each in until(following(node, "0.0", LEDGER_KINDS), last)]
        for node in network.nodes.values()
    ]
    assert told[0] == told[1] == told[2]
    assert told[0][0] == ("1.0", EventKind.BLOCK)
    kinds = {kind for _, kind in told[0]}
    assert kinds >= {EventKind.BLOCK, EventKind.ASSET, EventKind.NODE, EventKind.ACCOUNT}


def test_what_falls_due_by_time_alone_is_told_and_resumed(network: Network) -> None:
    """`lease.ended` stands in no transaction."""
    asset = network.carol.asset(AssetKind.MEMORY).asset
    session = network.alice.ask(
        lambda m: m.leases.allocate(asset, MIB, duration_ms=1_500, keep=True)
    )
    lease = session.lease.lease
    seen: list[Event] = []
    for event in following(network.bob, "0.0", ["lease"]):
        assert isinstance(event.data, LeaseStateEvent)
        if event.data.lease == lease:
            seen.append(event)
            if event.data.what in ("claimed", "settled", "expired"):
                break
    words = [each.data.what for each in seen if isinstance(each.data, LeaseStateEvent)]
    assert words[0] == "opened"
    assert "ended" in words
    ended = seen[words.index("ended")]
    # After the fact, another node resumes at the very event.
    before = seen[words.index("ended") - 1].id
    again = [each.id for each in _first(following(network.carol, before, ["lease"]), 1)]
    assert again == [ended.id]


def _first(events: Iterator[Event], count: int) -> list[Event]:
    return [next(events) for _ in range(count)]


def test_live_comes_without_being_asked_twice(network: Network) -> None:
    one, two = _first(following(network.bob, None, ["live"]), 2)
    assert one.id is None
    assert isinstance(one.data, LiveEvent)
    assert isinstance(two.data, LiveEvent)
    assert two.data.time_ms > one.data.time_ms
    assert one.data.height >= 1
    assert {each.node for each in one.data.links} == {
        network.alice.id.hex(),
        network.carol.id.hex(),
    }
    assert one.data.contact_age_ms is not None


def test_over_http_with_the_header_of_a_browser(network: Network) -> None:
    api = network.alice.ask(lambda m: m.network.status()).api
    headers = {"last-event-id": "1.0"}
    with (
        httpx.Client(base_url=api, timeout=30) as client,
        client.stream("GET", "/events?kinds=block&since=9.9", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.iter_lines()
        start = [next(lines) for _ in range(7)]
    assert start[:4] == ["retry: 1000", ": here", "id: 1.0", ""]
    assert start[4:6] == ["id: 2.0", "event: block"]
    assert json.loads(start[6].removeprefix("data: "))["height"] == 2


@pytest.mark.parametrize("query", ["since=7", "kinds=blocks", "kinds=", "since=9.9&kinds=reset"])
def test_a_wrong_question_is_refused_in_words(network: Network, query: str) -> None:
    api = network.alice.ask(lambda m: m.network.status()).api
    answer = httpx.get(f"{api}/events?{query}", timeout=30)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_place_beyond_the_ledger_is_a_reset(network: Network) -> None:
    event = next(following(network.alice, "999999.0", ["block"]))
    assert isinstance(event.data, ResetEvent)
    assert event.id == event.data.since


def test_a_stream_outlives_kill_and_restart_without_gap(shaken: Network) -> None:
    """The node dies while blocks are made; the same iterator goes on where it was."""
    bob = shaken.bob
    events = following(bob, "0.0", ["block", "account"])
    # A stream that never began has no place to go on from.
    seen = [next(events)]
    first = pay(shaken.alice, shaken.carol)
    reading = threading.Thread(target=lambda: seen.extend(until(events, first + 3)), daemon=True)
    reading.start()
    bob.kill()
    for _ in range(3):
        last = pay(shaken.alice, shaken.carol)
    assert last >= first + 3
    bob.start()
    reading.join(60)
    assert not reading.is_alive()
    heights = [each.data.height for each in seen if isinstance(each.data, BlockEvent)]
    assert heights == list(range(heights[0], heights[-1] + 1))
    assert heights[0] <= first + 1
    assert len({each.id for each in seen}) == len(seen)


def test_a_node_goes_down_although_somebody_listens(shaken: Network) -> None:
    api = shaken.carol.ask(lambda m: m.network.status()).api
    with (
        httpx.Client(base_url=api, timeout=30) as client,
        client.stream("GET", "/events") as answer,
    ):
        assert answer.status_code == 200
        assert shaken.carol.stop() == 0
        # The stream ends as it should, not in the middle of a chunk.
        for _ in answer.iter_lines():
            pass


async def _async_events(node: Node, count: int) -> list[str | None]:
    async with AsyncMesh(socket_path(node.data)) as mesh:
        found: list[str | None] = []
        async for event in mesh.events("0.0", ["block"]):
            found.append(event.id)
            if len(found) == count:
                break
        return found


def test_the_async_twin_tells_the_same(network: Network) -> None:
    import asyncio

    expected = [each.id for each in _first(following(network.alice, "0.0", ["block"]), 3)]
    assert asyncio.run(_async_events(network.alice, 3)) == expected


def test_a_job_is_followed_through_its_states(network: Network) -> None:
    events = following(network.alice, None, ["job", "live"])
    assert next(events).kind is EventKind.LIVE
    program = JobSubmit(engine="python", program=b"print(7)".hex())
    made = network.alice.ask(lambda m: m.jobs.run(program))
    states: list[JobState] = []
    for event in events:
        if isinstance(event.data, JobEvent) and event.data.job == made.job:
            assert event.id is None
            states.append(event.data.state)
            if event.data.state in FINAL:
                assert event.data.lease == made.lease
                break
    order = list(JobState)
    assert states == sorted(states, key=order.index)
    assert states[0] is JobState.QUEUED
    assert states[-1] is JobState.DONE
    assert len(set(states)) == len(states)


# Health


def test_a_healthy_network_says_so_everywhere(network: Network) -> None:
    for node in network.nodes.values():
        found = eventually(
            lambda node=node: _well(node),  # type: ignore[misc]
            f"{node.name} is well",
        )
        assert found.startswith("All 3 nodes agree; last block ")


def _well(node: Node) -> str | None:
    health = node.ask(lambda m: m.network.health())
    # How full this machine's disk is, and what its kernel can enforce, is not the test's to say.
    of_machine = {"keys_unprotected", "disk_short", "asset_unenforced"}
    others = [each for each in health.actions if each.name not in of_machine]
    return None if others or "All 3" not in health.summary else health.summary


def test_a_follower_without_its_sequencer_is_failing(shaken: Network) -> None:
    shaken.alice.signal(signal.SIGSTOP)

    def failing() -> bool:
        health = shaken.bob.ask(lambda m: m.network.health())
        names = [each.name for each in health.actions]
        return health.level == "failing" and "sequencer_silent" in names

    eventually(failing, "bob misses the sequencer", 40)
    shaken.alice.signal(signal.SIGCONT)
    eventually(lambda: not failing(), "bob hears it again", 40)


# Nodes


def test_nodes_are_shown_with_place_connection_and_fill(network: Network) -> None:
    nodes = {each.name: each for each in network.alice.ask(lambda m: list(m.network.nodes()))}
    assert set(nodes) == {"alice", "bob", "carol"}
    assert {name for name, each in nodes.items() if each.mine} == {"alice"}
    assert nodes["alice"].here
    assert nodes["alice"].connection is None
    assert (nodes["alice"].role, nodes["bob"].role) == ("sequencer", "follower")
    for name in ("bob", "carol"):
        node = nodes[name]
        assert node.attested
        assert not node.revoked
        assert node.port == network[name].configuration.settings.stoq_port
        assert "::1" in node.hosts
        # A follower asks for blocks all the time.
        assert node.connection is not None
        assert node.connection.connected
        assert node.connection.path == "direct"
        assert node.connection.heard_ms_ago is not None
        memory = next(each for each in node.assets if each.kind is AssetKind.MEMORY)
        assert memory.capacity == network[name].asset(AssetKind.MEMORY).capacity
        assert memory.free is not None
        assert 0 <= memory.free <= (memory.capacity or 0)
    seen = network.bob.ask(lambda m: m.network.node(network.alice.id.hex())).connection
    assert seen is not None
    assert seen.rtt_us is not None
    assert (seen.bytes_sent or 0) > 0


def test_nodes_come_in_pages(network: Network) -> None:
    def page(cursor: str | None) -> NodePage:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        return network.bob.ask(
            lambda m: m.rest.run(Call(NodePage, "GET", "/v1/nodes", query=query))
        )

    first = page(None)
    second = page(first.next_cursor)
    ids = [each.node for each in first.items + second.items]
    assert (len(first.items), len(second.items), second.next_cursor) == (2, 1, None)
    assert ids == sorted(node.id.hex() for node in network.nodes.values())


def test_one_node_by_its_id(network: Network) -> None:
    assert network.carol.ask(lambda m: m.network.node()).name == "carol"
    with pytest.raises(NotFound):
        network.carol.ask(lambda m: m.network.node("0" * 64))
    with pytest.raises(InvalidInput):
        network.carol.ask(lambda m: m.network.node("xyz"))


# Remote memory


def test_both_sides_say_what_they_know(network: Network) -> None:
    with region_of(network) as (region, session):
        lease = session.lease.lease
        moved = {"read": 0, "written": 0}

        def both() -> tuple[Any, Any] | None:
            """Work until the consumer's figures and the provider's counts are there."""
            region.write(0, b"x" * MIB)
            region.read(0, MIB // 2)
            region.compare_and_swap(0, 0, 0)
            moved["written"] += MIB
            moved["read"] += MIB // 2
            at_alice = _memory(network.alice, lease)
            at_carol = _memory(network.carol, lease)
            if at_alice.measured is None or at_alice.measured.atomic is None:
                return None
            return at_alice, at_carol

        at_alice, at_carol = eventually(both, "both sides say something")
        assert (at_alice.borrowed, at_alice.lent, at_alice.counted) == (True, False, None)
        assert at_alice.measured.source == "measured by the consumer"
        assert at_alice.measured.write.p50_us > 0
        assert at_alice.measured.write.p99_us >= at_alice.measured.write.p50_us
        assert at_alice.measured.write.gigabytes_per_s > 0
        assert at_alice.host_name == "carol"
        assert (at_carol.borrowed, at_carol.lent, at_carol.measured) == (False, True, None)
        assert at_carol.counted.source == "counted by the provider"
        assert at_carol.counted.bytes_written == moved["written"]
        assert moved["read"] <= at_carol.counted.bytes_read <= moved["read"] + 8 * 1000

        live = next(following(network.carol, None, ["live"])).data
        assert isinstance(live, LiveEvent)
        assert [each.counted is not None for each in live.memory if each.lease == lease] == [True]
        series = network.alice.ask(
            lambda m: m.rest.run(Call(MemorySeries, "GET", f"/v1/memory/{lease}"))
        )
        assert series.reported
        assert series.lease.lease == lease


def _memory(node: Node, lease: str) -> Any:
    def found() -> Any:
        page = node.ask(lambda m: m.rest.run(Call(MemoryPage, "GET", "/v1/memory")))
        return next((each for each in page.items if each.lease == lease), None)

    return eventually(found, f"{node.name} shows the lease")


def test_only_whoever_borrows_may_report_and_not_too_often(network: Network) -> None:
    measured = Measurement("read", 1, 1, 0.1, 1.0, 1.0)

    def tell(node: Node, lease: str, *measurements: Measurement) -> MeasurementTaken:
        report = MeasurementReport(window_ms=500, measurements=list(measurements))
        path = f"/v1/leases/{lease}/measurements"
        return node.ask(lambda m: m.rest.run(Call(MeasurementTaken, "POST", path, report)))

    with region_of(network) as (_, session):
        lease = session.lease.lease
        with pytest.raises(NotFound):
            tell(network.bob, lease, measured)
        with pytest.raises(NotFound):
            tell(network.carol, lease, measured)
        with pytest.raises(NotFound):
            tell(network.alice, "0" * 64, measured)
        with pytest.raises(InvalidInput):
            tell(network.alice, lease, measured, measured)
        with pytest.raises(InvalidInput):
            tell(network.alice, lease)
        assert tell(network.alice, lease, measured).next_ms > 0
        with pytest.raises(ReportedTooSoon):
            tell(network.alice, lease, measured)


# At the command line


def test_hm_events_prints_a_document_a_line(network: Network) -> None:
    words = ["events", "--since", "0.0", "--kinds", "block", "--output", "jsonl"]
    command = [sys.executable, "-m", "hypermesh.cli.main", *words]
    process = subprocess.Popen(
        [*command, "--data", str(network.bob.data)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    finally:
        process.send_signal(signal.SIGINT)
        _, words_said = process.communicate(timeout=30)
    assert process.returncode == 130, words_said
    assert [each["id"] for each in lines] == ["1.0", "2.0"]
    assert [each["data"]["height"] for each in lines] == [1, 2]
    assert all(each["schema_version"] == 1 for each in lines)


def test_hm_events_refuses_what_is_no_place(network: Network) -> None:
    done = hm("events", "--since", "yesterday", data=network.bob.data)
    assert done.returncode == 2
    assert "HEIGHT.INDEX" in problem(done)


def test_hm_node(network: Network) -> None:
    listed = hm("node", "ls", data=network.bob.data)
    assert listed.returncode == 0, problem(listed)
    text = listed.stdout.decode()
    assert {"alice", "bob", "carol"} <= set(text.split())
    assert "this node" in text
    shown = output(hm("node", "show", "alice", "--output", "json", data=network.bob.data))
    assert shown["node"] == network.alice.id.hex()
    by_prefix = hm("node", "show", network.alice.id.hex()[:10], data=network.bob.data)
    assert "sequencer" in by_prefix.stdout.decode()
    missing = hm("node", "show", "nobody", data=network.bob.data)
    assert missing.returncode == 5
    ids = hm("node", "ls", "--quiet", data=network.bob.data).stdout.decode().split()
    assert ids == sorted(node.id.hex() for node in network.nodes.values())
