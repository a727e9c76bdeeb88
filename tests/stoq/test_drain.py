"""Going down in order: what runs is finished, what comes is told to go elsewhere."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.wire.errors import Overloaded
from hypermesh.wire.rpc import SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S, eventually

DRAIN_MS = DEADLINE_S * 1000


def refuses(connection: Connection) -> bool | None:
    try:
        connection.request(SERVICE_ECHO, b"x")
    except errors.Draining:
        return True
    return None


def test_what_runs_is_finished_and_what_comes_is_refused(
    alice: Endpoint, bob: Endpoint, connection: Connection
) -> None:
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(connection.request, SERVICE_CONTROL, b"long")
        request = alice.next_request(DRAIN_MS)
        assert request is not None
        stream = connection.open_stream(SERVICE_CONTROL)
        stream.write(b"first")
        streaming = alice.next_request(DRAIN_MS)
        assert streaming is not None
        taken = streaming.stream
        assert taken is not None
        draining = pool.submit(alice.drain, DRAIN_MS)
        eventually(lambda: refuses(connection), "a refusal")
        with pytest.raises(errors.Draining):
            bob.connect(*alice.address)
        assert not draining.done()
        # What began before goes on, both ways.
        stream.write(b" second")
        before_and_since = bytearray(len(b"first second"))
        assert taken.fill(before_and_since) == len(before_and_since)
        assert before_and_since == b"first second"
        taken.write(b"answer")
        taken.finish()
        assert stream.read() == b"answer"
        assert not draining.done()
        request.reply(b"done")
        assert asked.result(DEADLINE_S) == b"done"
        del taken, streaming
        assert draining.result(DEADLINE_S) is True
    assert connection.ended is None


def test_a_drain_that_runs_out_of_time_says_so(alice: Endpoint, connection: Connection) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(connection.request, SERVICE_CONTROL, b"for ever")
        request = alice.next_request(DRAIN_MS)
        assert request is not None
        assert alice.drain(100) is False
        alice.close("going down")
        with pytest.raises(errors.ConnectionClosed, match="going down"):
            asked.result(DEADLINE_S)


def test_an_idle_endpoint_drains_at_once(alice: Endpoint, connection: Connection) -> None:
    assert connection.request(SERVICE_ECHO, b"x") == b"x"
    assert alice.drain(DRAIN_MS) is True


def test_the_last_answers_arrive(alice: Endpoint, bob: Endpoint) -> None:
    """Answers that were given while the endpoint drained, and the close right behind them."""
    connections = [bob.connect(*alice.address) for _ in range(8)]
    body = bytes(500_000)
    with ThreadPoolExecutor(len(connections)) as pool:
        asked = [
            pool.submit(connection.request, SERVICE_CONTROL, b"x") for connection in connections
        ]
        requests = [alice.next_request(DRAIN_MS) for _ in connections]

        def answer() -> None:
            for request in requests:
                assert request is not None
                request.reply(body)

        answering = threading.Thread(target=answer)
        answering.start()
        assert alice.drain(DRAIN_MS) is True
        alice.close()
        answering.join(DEADLINE_S)
        assert all(each.result(DEADLINE_S) == body for each in asked)


def test_what_goes_one_way_is_refused_too(alice: Endpoint, connection: Connection) -> None:
    connection.send_datagram(SERVICE_CONTROL, b"before")
    eventually(lambda: alice.datagram_stats().waiting or None, "a datagram")
    assert alice.drain(DRAIN_MS) is True
    stream = connection.open_unidirectional(SERVICE_CONTROL)

    def refused() -> errors.Draining | None:
        try:
            stream.write(b"x")
        except errors.Draining as error:
            return error
        return None

    assert eventually(refused, "a refusal")
    connection.send_datagram(SERVICE_CONTROL, b"since")
    eventually(lambda: alice.datagram_stats().dropped or None, "a datagram that was dropped")
    assert [each.body for each in alice.next_datagrams(0)] == [b"before"]
    assert alice.next_request(0) is None


def test_draining_is_worth_another_try() -> None:
    assert issubclass(errors.Draining, Overloaded)
