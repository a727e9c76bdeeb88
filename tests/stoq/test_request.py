"""Requests and answers: bounds, errors, concurrency, both ways of waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from itertools import cycle
from typing import Any

import pytest
import uvloop

from hypermesh import _native
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.request import Request
from hypermesh.wire.codec import Undecodable, encode
from hypermesh.wire.errors import Conflict, Overloaded, Problem, UnknownProblem
from hypermesh.wire.rpc import ALPN_ENROL, SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S, Network, eventually, owner_of
from .service import serving

LIMITS = dict(_native.stoq_limits())


def upper(request: Request) -> None:
    request.reply(request.body.upper())


def test_a_service_answers(alice: Endpoint, connection: Connection) -> None:
    with serving(alice, upper):
        assert connection.request(SERVICE_CONTROL, b"hello") == b"HELLO"
        assert connection.request(SERVICE_CONTROL, b"") == b""


def test_a_request_says_whose_it_is(
    alice: Endpoint, connection: Connection, bob_keys: QuantumKeys
) -> None:
    seen: list[tuple[object, ...]] = []

    def answer(request: Request) -> None:
        seen.append((request.peer_id, request.peer_owner, request.alpn, request.service))
        assert request.channel_binding == connection.channel_binding
        assert request.stream is None
        request.reply(b"")

    with serving(alice, answer):
        connection.request(0x1234, b"")
    assert seen == [(bob_keys.id, owner_of(bob_keys), "hm/1", 0x1234)]


def test_the_largest_body_passes_both_ways_and_no_larger_one(
    alice: Endpoint, connection: Connection
) -> None:
    largest = bytes(range(256)) * (LIMITS["body_bytes_max"] // 256)

    def answer(request: Request) -> None:
        if request.body == b"too much":
            with pytest.raises(errors.TooLarge):
                request.reply(largest + b"x")
            request.refuse(errors.TooLarge("the answer"))
        else:
            request.reply(request.body)

    with serving(alice, answer):
        assert connection.request(SERVICE_CONTROL, largest) == largest
        with pytest.raises(errors.TooLarge):
            connection.request(SERVICE_CONTROL, largest + b"x")
        with pytest.raises(errors.TooLarge, match="the answer"):
            connection.request(SERVICE_CONTROL, b"too much")


def test_a_refusal_arrives_as_its_own_class(alice: Endpoint, connection: Connection) -> None:
    error = Conflict("what", why="why", fix="how")
    with (
        serving(alice, lambda request: request.refuse(error)),
        pytest.raises(Conflict) as raised,
    ):
        connection.request(SERVICE_CONTROL, b"")
    assert (raised.value.what, raised.value.why, raised.value.fix) == ("what", "why", "how")


def test_a_refusal_of_another_version_is_kept_as_unknown(
    alice: Endpoint, connection: Connection
) -> None:
    problem = encode(Problem("HM-STOQ-9999", "what", "why", "fix"))
    with (
        serving(alice, lambda request: request.refuse(problem)),
        pytest.raises(UnknownProblem, match="HM-STOQ-9999"),
    ):
        connection.request(SERVICE_CONTROL, b"")


def test_a_refusal_that_is_no_problem_is_said_so(alice: Endpoint, connection: Connection) -> None:
    with (
        serving(alice, lambda request: request.refuse(b"not a problem")),
        pytest.raises(Undecodable),
    ):
        connection.request(SERVICE_CONTROL, b"")


def test_an_answer_is_given_once(alice: Endpoint, connection: Connection) -> None:
    def answer(request: Request) -> None:
        request.reply(b"first")
        with pytest.raises(errors.Unanswered):
            request.reply(b"second")
        with pytest.raises(errors.Unanswered):
            request.refuse(Conflict("third"))

    with serving(alice, answer):
        assert connection.request(SERVICE_CONTROL, b"") == b"first"


def test_a_dropped_request_tells_the_peer(alice: Endpoint, connection: Connection) -> None:
    def forget(request: Request) -> None:
        assert request.service == SERVICE_CONTROL

    with serving(alice, forget), pytest.raises(errors.Unanswered):
        connection.request(SERVICE_CONTROL, b"")


def test_a_slow_service_times_the_call_out_and_the_connection_lives(
    alice: Endpoint, connection: Connection
) -> None:
    with pytest.raises(errors.TimedOut):
        connection.request(SERVICE_CONTROL, b"", timeout_ms=50)
    assert connection.request(SERVICE_ECHO, b"x") == b"x"
    request = alice.next_request(5000)
    assert request is not None
    request.reply(b"too late")


def test_waiting_for_a_request_ends(alice: Endpoint) -> None:
    begin = time.monotonic()
    assert alice.next_request(30) is None
    assert time.monotonic() - begin >= 0.03
    assert alice.next_request(0) is None


def test_enrolment_gets_no_echo(alice: Endpoint, bob: Endpoint) -> None:
    with serving(alice, upper), bob.connect(*alice.address, alpn=ALPN_ENROL) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"X"


@pytest.fixture
def connections(network: Network, alice: Endpoint, bob: Endpoint) -> Iterator[list[Connection]]:
    """More than enough of them to fill the queue of an endpoint, of two peers: one may not."""
    count = LIMITS["pending_requests_max"] // LIMITS["streams_max"] + 1
    identity = network.identity(QuantumKeys.generate())
    with Endpoint.bind(policy=network.policy, identity=identity) as carol:
        peers = zip(range(count), cycle([bob, carol]), strict=False)
        opened = [peer.connect(*alice.address) for _, peer in peers]
        yield opened
        for connection in opened:
            connection.close()


def test_the_count_of_unanswered_requests_is_bounded(
    alice: Endpoint, connections: list[Connection]
) -> None:
    assert LIMITS["streams_max"] < LIMITS["pending_requests_max"]
    last = connections[-1]

    async def scenario() -> None:
        held = [
            asyncio.create_task(connection.request_async(SERVICE_CONTROL, b""))
            for _, connection in zip(
                range(LIMITS["pending_requests_max"]), cycle(connections), strict=False
            )
        ]
        deadline = time.monotonic() + DEADLINE_S
        while alice.stats().requests_waiting < LIMITS["pending_requests_max"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)
        with pytest.raises(Overloaded):
            await last.request_async(SERVICE_CONTROL, b"")
        with serving(alice, upper):
            assert await asyncio.gather(*held) == [b""] * len(held)
            assert await last.request_async(SERVICE_CONTROL, b"x") == b"X"

    asyncio.run(scenario())
    eventually(lambda: alice.stats().requests_unanswered == 0 or None, "all places are free")


def test_the_bytes_of_unanswered_requests_are_bounded(
    network: Network, alice: Endpoint, connection: Connection
) -> None:
    """Of three peers, who together may have them all: each gets two thirds of what is left."""
    body = bytes(LIMITS["body_bytes_max"])
    fitting = LIMITS["pending_bytes_max"] // len(body)

    async def scenario(peers: list[Connection]) -> None:
        held: list[asyncio.Task[bytes]] = []
        for peer in peers:
            # The largest number that is at most twice what is left besides it.
            share = 2 * (fitting - len(held) + 1) // 3
            held += [
                asyncio.create_task(peer.request_async(SERVICE_CONTROL, body)) for _ in range(share)
            ]
            deadline = time.monotonic() + DEADLINE_S
            while alice.stats().requests_waiting < len(held):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.005)
        assert len(held) == fitting
        assert alice.stats().request_bytes_unanswered == LIMITS["pending_bytes_max"]
        with pytest.raises(Overloaded):
            await connection.request_async(SERVICE_CONTROL, b"x")
        with serving(alice, lambda request: request.reply(b"")):
            await asyncio.gather(*held)

    with ExitStack() as stack:
        peers = [connection]
        for _ in range(2):
            identity = network.identity(QuantumKeys.generate())
            other = stack.enter_context(Endpoint.bind(policy=network.policy, identity=identity))
            peers.append(stack.enter_context(other.connect(*alice.address)))
        asyncio.run(scenario(peers))
    eventually(lambda: alice.stats().request_bytes_unanswered == 0 or None, "all is free")


def test_strangers_cannot_fill_the_queue(
    alice: Endpoint, bob: Endpoint, connection: Connection
) -> None:
    async def scenario(stranger: Connection) -> None:
        held = [
            asyncio.create_task(stranger.request_async(SERVICE_CONTROL, b""))
            for _ in range(LIMITS["pending_strangers_max"])
        ]
        deadline = time.monotonic() + DEADLINE_S
        while alice.stats().requests_waiting < len(held):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)
        with pytest.raises(Overloaded):
            await stranger.request_async(SERVICE_CONTROL, b"")
        with serving(alice, upper):
            assert await connection.request_async(SERVICE_CONTROL, b"x") == b"X"
            await asyncio.gather(*held)
            assert await stranger.request_async(SERVICE_CONTROL, b"x") == b"X"

    with bob.connect(*alice.address, alpn=ALPN_ENROL) as stranger:
        asyncio.run(scenario(stranger))
        with pytest.raises(errors.TooLarge):
            stranger.request(SERVICE_CONTROL, bytes(LIMITS["stranger_body_bytes_max"] + 1))


def test_fifty_requests_at_once(alice: Endpoint, connection: Connection) -> None:
    bodies = [b"%d" % number * 1000 for number in range(50)]
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = connection.request(SERVICE_CONTROL, bodies[number])

    with serving(alice, lambda request: request.reply(request.body[::-1])):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
    assert [answers[number] for number in range(50)] == [body[::-1] for body in bodies]


def test_other_threads_run_while_a_call_waits(alice: Endpoint, connection: Connection) -> None:
    count = 0
    done = threading.Event()

    def work() -> None:
        nonlocal count
        while not done.is_set():
            count += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        before = count
        with pytest.raises(errors.TimedOut):
            connection.request(SERVICE_CONTROL, b"", timeout_ms=300)
        during_request = count - before
        before = count
        # The first of these is the request that timed out.
        assert alice.next_request(1000) is not None
        assert alice.next_request(300) is None
        during_next = count - before
    finally:
        done.set()
        worker.join(DEADLINE_S)
    # A call that kept the lock would let the other thread in for no turn at all.
    assert during_request > 10_000
    assert during_next > 10_000


def test_closing_ends_calls_that_wait(alice: Endpoint, connection: Connection) -> None:
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            alice.next_request(60_000)
        except errors.EndpointClosed as error:
            raised.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    alice.close("going home")
    waiter.join(DEADLINE_S)
    assert len(raised) == 1
    with pytest.raises(errors.ConnectionClosed, match="going home"):
        connection.request(SERVICE_ECHO, b"")
    with pytest.raises(errors.EndpointClosed):
        alice.connect("::1", 1)
    alice.close()


def test_closing_the_own_endpoint_ends_calls_that_wait(
    alice: Endpoint, bob: Endpoint, connection: Connection
) -> None:
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            connection.request(SERVICE_CONTROL, b"", timeout_ms=60_000)
        except (errors.EndpointClosed, errors.ConnectionClosed) as error:
            raised.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    unanswered = alice.next_request(5000)
    assert unanswered is not None
    bob.close()
    waiter.join(DEADLINE_S)
    assert len(raised) == 1
    with pytest.raises(errors.EndpointClosed):
        connection.request(SERVICE_ECHO, b"")


class TestAsyncio:
    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
    def test_requests_and_a_service_on_one_loop(
        self,
        alice: Endpoint,
        bob: Endpoint,
        alice_keys: QuantumKeys,
        run: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        async def serve() -> None:
            while True:
                for request in await alice.next_requests():
                    request.reply(request.body + b"!")

        async def scenario() -> None:
            service = asyncio.create_task(serve())
            connection = await bob.connect_async(*alice.address, peer=alice_keys.id)
            with connection:
                answers = await asyncio.gather(
                    *(connection.request_async(SERVICE_CONTROL, b"%d" % n) for n in range(50))
                )
            assert answers == [b"%d!" % n for n in range(50)]
            service.cancel()
            await asyncio.gather(service, return_exceptions=True)

        run(scenario())
        run(scenario())

    def test_errors_are_raised(self, alice: Endpoint, bob: Endpoint) -> None:
        async def scenario() -> None:
            with pytest.raises(errors.WrongPeer):
                await bob.connect_async(*alice.address, peer=bytes(32))
            connection = await bob.connect_async(*alice.address)
            with pytest.raises(errors.TimedOut):
                await connection.request_async(SERVICE_CONTROL, b"", timeout_ms=20)
            with pytest.raises(errors.TooLarge):
                await connection.request_async(SERVICE_CONTROL, bytes(LIMITS["body_bytes_max"] + 1))

        asyncio.run(scenario())

    def test_cancelling_gives_the_request_up(self, connection: Connection) -> None:
        async def scenario() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await connection.request_async(SERVICE_CONTROL, b"", timeout_ms=60_000)
            assert await connection.request_async(SERVICE_ECHO, b"x") == b"x"

        asyncio.run(scenario())

    def test_closing_ends_what_is_awaited(
        self, alice: Endpoint, bob: Endpoint, connection: Connection
    ) -> None:
        async def scenario() -> None:
            call = asyncio.create_task(connection.request_async(SERVICE_CONTROL, b""))
            incoming = asyncio.create_task(alice.next_requests())
            request = (await incoming)[0]
            incoming = asyncio.create_task(alice.next_requests())
            await asyncio.sleep(0)
            await asyncio.to_thread(bob.close)
            with pytest.raises((errors.EndpointClosed, errors.ConnectionClosed)):
                await call
            await asyncio.to_thread(alice.close)
            with pytest.raises(errors.EndpointClosed):
                await incoming
            request.reply(b"to nobody")

        asyncio.run(scenario())
