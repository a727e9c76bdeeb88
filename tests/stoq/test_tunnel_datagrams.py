"""UDP through tunnels: packets in QUIC datagrams, and over the stream where they do not fit."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benches.impairment import Relay

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import EndpointClosed
from hypermesh.stoq.tunnel import Tunnel
from hypermesh.wire.rpc import SERVICE_TUNNEL
from hypermesh.wire.tunnel import Place

from .network import DEADLINE_S, eventually

SERVICE = bytes(16)
PACKETS = 200
LONG = 65_470
"""Bytes; fits no QUIC datagram, not even over loopback."""


@dataclass
class Carried:
    """A program, a service, and the tunnel between."""

    program: socket.socket
    service: socket.socket
    using: Tunnel
    offering: Tunnel

    def ask(self, packet: bytes) -> bytes:
        """What the service hears when the program says `packet`."""
        self.program.send(packet)
        heard, self.there = self.service.recvfrom(65535)
        return heard

    def answer(self, packet: bytes) -> bytes:
        """What the program hears when the service answers `packet`."""
        self.service.sendto(packet, self.there)
        return self.program.recv(65535)


def plain() -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.bind(("::1", 0))
    made.settimeout(DEADLINE_S)
    return made


@contextmanager
def carried(alice: Endpoint, connection: Connection) -> Iterator[Carried]:
    """A tunnel from bob, who opened `connection`, to a service beside alice."""
    using, offering, listener = Tunnel(4), Tunnel(4), plain()
    with plain() as program, plain() as service, listener:
        target = Place.parse(f"udp:[::1]:{service.getsockname()[1]}")
        program.connect(listener.getsockname())

        def serve() -> None:
            with contextlib.suppress(EndpointClosed):
                while not ended.is_set():
                    request = alice.next_request(50)
                    if request is not None:
                        assert request.service == SERVICE_TUNNEL
                        offering.serve(request, target)

        ended, serving = threading.Event(), threading.Thread(target=serve)
        serving.start()
        listener.setblocking(False)
        using.forward_datagrams(connection, listener, SERVICE)
        try:
            yield Carried(program, service, using, offering)
        finally:
            ended.set()
            serving.join(DEADLINE_S)
            using.close()
            offering.close()


def agreed(world: Carried) -> None:
    """Until the far side has answered, and so takes datagrams."""
    assert world.ask(b"first") == b"first"
    assert world.answer(b"back") == b"back"
    eventually(lambda: world.using.stats().opened or None, "an agreement")


def went(world: Carried, count: int) -> bool | None:
    """Whether so many have gone out in datagrams."""
    return world.using.stats().datagrams >= count or None


def test_packets_go_in_datagrams_and_those_that_do_not_fit_over_the_stream(
    alice: Endpoint, connection: Connection
) -> None:
    with carried(alice, connection) as world:
        agreed(world)
        # What comes first goes the sure way; the answer need not.
        assert (world.using.stats().datagrams, world.using.stats().streamed_datagrams) == (0, 1)
        assert world.offering.stats().datagrams == 1
        for size in (0, 1, 1200, 60_000):
            assert world.ask(bytes(size)) == bytes(size)
            assert world.answer(bytes(size)) == bytes(size)
        assert (world.using.stats().datagrams, world.using.stats().streamed_datagrams) == (4, 1)
        assert world.ask(bytes(LONG)) == bytes(LONG)
        assert world.answer(bytes(LONG)) == bytes(LONG)
        for tunnel in (world.using, world.offering):
            stats = tunnel.stats()
            assert stats.datagrams + stats.streamed_datagrams == 6
            assert (stats.dropped_datagrams, stats.failed, stats.open) == (0, 0, 1)
        assert world.using.stats().streamed_datagrams == 2
        assert world.offering.stats().streamed_datagrams == 1


def test_a_lost_packet_holds_up_none_behind_it(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    """Over a stream all would arrive, in order: each lost one would be waited for."""
    with (
        Relay(*alice.address, "delay 20ms") as relay,
        bob.connect(*relay.address, peer=alice_keys.id) as connection,
        carried(alice, connection) as world,
    ):
        agreed(world)
        relay.set("up loss 0.2")
        heard: list[int] = []

        def hear() -> None:
            with contextlib.suppress(TimeoutError):
                while (packet := world.service.recv(2000)) != b"end":
                    heard.append(int.from_bytes(packet[:4], "big"))

        hearing = threading.Thread(target=hear)
        hearing.start()
        for number in range(PACKETS):
            # One after the other, so that QUIC does not join them in one packet of its own.
            world.program.send(number.to_bytes(4, "big") + bytes(1000))
            sent = functools.partial(went, world, number + 1)
            eventually(sent, "a packet that is on its way")
        relay.set("up loss 0")
        world.program.send(b"end")
        hearing.join(DEADLINE_S)
        stats = world.using.stats()
        assert (stats.datagrams, stats.dropped_datagrams) == (PACKETS + 1, 0)
    lost = set(range(PACKETS)) - set(heard)
    assert lost
    assert max(heard) > min(lost)


def test_what_floods_a_tunnel_is_dropped_and_counted(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    with (
        Relay(*alice.address, "delay 100ms") as relay,
        bob.connect(*relay.address, peer=alice_keys.id) as connection,
        carried(alice, connection) as world,
    ):
        agreed(world)

        def dropped() -> int | None:
            for _ in range(100):
                world.program.send(bytes(30_000))
            return world.using.stats().dropped_datagrams or None

        assert eventually(dropped, "a packet that found no room")
