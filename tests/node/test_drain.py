"""A node that goes down while others use it: what they began is finished, nothing new begins."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from hypermesh.stoq.connection import Connection
from hypermesh.stoq.errors import Draining
from hypermesh.stoq.tunnel import Tunnel
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.api.tunnel import Who
from hypermesh.wire.rpc import SERVICE_ECHO

from .network import Network, dial, eventually, stoq

WAIT_S = 20.0
FIRST = b"x" * 70_000
REST = b"y" * 200_000
CUT_OFF = "is cut off"
STOP_S = 5.0


def refuses(connection: Connection) -> bool:
    try:
        connection.request(SERVICE_ECHO, b"")
    except Draining:
        return True
    return False


def received(end: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count and (part := end.recv(65536)):
        parts += part
    return bytes(parts)


def test_what_a_tunnel_carries_arrives_although_the_node_goes_down(pair: Network) -> None:
    """Bob, who follows, polls it for blocks meanwhile; that does not keep it up."""
    pair.revive()
    before = pair.alice.log.count(CUT_OFF)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as service:
        service.settimeout(WAIT_S)
        to = f"tcp:[::1]:{service.getsockname()[1]}"
        offered = pair.alice.ask(lambda m: m.tunnels.offer("slow", to, Who.NETWORK))
        with stoq(pair.bob.membership) as endpoint:
            connection = dial(endpoint, pair.alice)
            near, far = socket.socketpair()
            near.settimeout(WAIT_S)
            tunnel = Tunnel(1)
            tunnel.forward(connection, far, GlobalAddress.parse(offered.address).asset_id)
            serving, _ = service.accept()
            with near, serving:
                serving.sendall(FIRST)
                assert received(near, len(FIRST)) == FIRST
                pair.alice.signal(signal.SIGTERM)
                eventually(lambda: refuses(connection), "a refusal that says why")
                with pytest.raises(Draining):
                    dial(endpoint, pair.alice)
                serving.sendall(REST)
                serving.shutdown(socket.SHUT_WR)
                near.shutdown(socket.SHUT_WR)
                assert received(near, len(REST) + 1) == REST
    assert pair.alice.process is not None
    assert pair.alice.process.wait(WAIT_S) == 0
    assert pair.alice.log.count(CUT_OFF) == before


def test_a_poll_for_blocks_does_not_keep_a_node_up(pair: Network) -> None:
    pair.revive()
    pair.await_agreed()
    before = pair.alice.log.count(CUT_OFF)
    assert pair.alice.stop() == 0
    assert pair.alice.log.count(CUT_OFF) == before


def test_what_does_not_end_is_cut_off(pair: Network) -> None:
    pair.revive()
    before = pair.alice.log.count(CUT_OFF)
    with stoq(pair.bob.membership) as endpoint:
        stream = dial(endpoint, pair.alice).open_stream(SERVICE_ECHO)
        stream.write(b"here")
        assert stream.read(4) == b"here"
        assert pair.alice.stop() == 0
    assert pair.alice.log.count(CUT_OFF) == before + 1


def test_a_follower_whose_sequencer_is_away_goes_down_in_time(pair: Network) -> None:
    pair.revive()
    assert pair.alice.stop() == 0
    # He dials her again and again, and each dial takes as long as he may.
    began = time.monotonic()
    assert pair.bob.stop() == 0
    assert time.monotonic() - began < STOP_S
