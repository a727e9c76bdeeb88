"""Bundles: spread, live connections only, one surface for errors."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.bundle import CONNECTIONS_MAX, Bundle
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.wire.errors import Conflict, InvalidInput
from hypermesh.wire.rpc import SERVICE_CONTROL, SERVICE_ECHO

from .network import Network, eventually
from .service import serving


@pytest.fixture
def bundle(alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys) -> Iterator[Bundle]:
    with Bundle.connect(bob, *alice.address, count=4, peer=alice_keys.id) as bundle:
        yield bundle


def test_streams_and_requests_are_spread_evenly(bundle: Bundle) -> None:
    streams = [bundle.open_stream(SERVICE_ECHO) for _ in range(8)]
    assert bundle.loads() == [2, 2, 2, 2]
    for n, stream in enumerate(streams):
        data = secrets.token_bytes(100_000 + n)
        stream.write(data)
        stream.finish()
        buffer = bytearray(len(data))
        assert stream.fill(buffer) == len(data)
        assert buffer == data
    before = [stats.bytes_sent for stats in bundle.stats()]
    assert min(before) > 200_000
    del streams[0::4], stream
    assert sum(bundle.loads()) == len(streams)
    bundle.open_stream(SERVICE_ECHO)
    for n in range(40):
        assert bundle.request(SERVICE_ECHO, b"%d" % n) == b"%d" % n
    assert sum(bundle.loads()) == len(streams)


def test_the_least_loaded_is_taken(bundle: Bundle) -> None:
    held = [bundle.open_stream(SERVICE_ECHO) for _ in range(4)]
    del held[2]
    held.append(bundle.open_stream(SERVICE_ECHO))
    assert bundle.loads() == [1, 1, 1, 1]


def test_an_event_loop_uses_all(alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys) -> None:
    async def scenario() -> None:
        bundle = await Bundle.connect_async(bob, *alice.address, count=4, peer=alice_keys.id)
        with bundle:
            assert bundle.peer_id == alice_keys.id
            bodies = [b"%d" % n for n in range(100)]
            answers = [bundle.request_async(SERVICE_ECHO, body) for body in bodies]
            assert await asyncio.gather(*answers) == bodies
            stream = await bundle.open_stream_async(SERVICE_ECHO)
            await stream.write_async(b"x" * 10)
            assert await stream.fill_async(bytearray(10)) == 10

    asyncio.run(scenario())


def test_an_ended_connection_gets_nothing_new(bundle: Bundle) -> None:
    for connection in bundle.connections[:3]:
        connection.close()
    for _ in range(10):
        assert bundle.request(SERVICE_ECHO, b"x") == b"x"
    assert sum(bundle.loads()) == 0
    bundle.connections[3].close()
    with pytest.raises(errors.ConnectionClosed):
        bundle.request(SERVICE_ECHO, b"x")
    with pytest.raises(errors.ConnectionClosed):
        bundle.open_stream(SERVICE_ECHO)


def test_errors_come_as_from_one_connection(
    alice: Endpoint, bob: Endpoint, bundle: Bundle, network: Network, alice_keys: QuantumKeys
) -> None:
    with (
        serving(alice, lambda request: request.refuse(Conflict("taken"))),
        pytest.raises(Conflict, match="taken"),
    ):
        bundle.request(SERVICE_CONTROL, b"x")
    with pytest.raises(errors.WrongPeer):
        Bundle.connect(bob, *alice.address, count=2, peer=bytes(32))
    assert eventually(
        lambda: True if alice.stats().connections <= 4 else None, "no connection left behind"
    )


@pytest.mark.parametrize("count", [0, CONNECTIONS_MAX + 1])
def test_a_bundle_has_its_bounds(alice: Endpoint, bob: Endpoint, count: int) -> None:
    with pytest.raises(InvalidInput):
        Bundle.connect(bob, *alice.address, count=count)
    with pytest.raises(InvalidInput):
        Bundle([])
