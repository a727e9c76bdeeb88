"""A local socket that is forwarded: listening no more, and ending what is open."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import EndpointClosed
from hypermesh.stoq.tunnel import LIMIT_DEFAULT, Forwarding, Tunnel, bound_place, listen
from hypermesh.wire.rpc import SERVICE_TUNNEL
from hypermesh.wire.tunnel import Place

from .network import DEADLINE_S, eventually

SERVICE = bytes(16)


@contextmanager
def offering(alice: Endpoint, target: Place, limit: int = 4) -> Iterator[Tunnel]:
    """Whatever comes to `alice` is carried to `target`."""
    tunnel, ended = Tunnel(limit), threading.Event()

    def serve() -> None:
        with contextlib.suppress(EndpointClosed):
            while not ended.is_set():
                request = alice.next_request(50)
                if request is not None:
                    assert request.service == SERVICE_TUNNEL
                    tunnel.serve(request, target)

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        yield tunnel
    finally:
        ended.set()
        serving.join(DEADLINE_S)
        tunnel.close()


def refused(place: Place) -> bool | None:
    """Whether nobody listens at `place`."""
    try:
        socket.create_connection((place.host, place.port), DEADLINE_S).close()
    except ConnectionRefusedError:
        return True
    return None


def test_what_is_open_goes_on_after_the_listener_and_is_reset_at_the_end(
    alice: Endpoint, connection: Connection
) -> None:
    with contextlib.ExitStack() as held:
        service = held.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        service.settimeout(DEADLINE_S)
        held.enter_context(offering(alice, Place.parse(f"tcp:[::1]:{service.getsockname()[1]}")))
        asked, tunnel = Place.parse("tcp:[::1]:0"), Tunnel(4)
        listener = listen(asked)
        place = bound_place(asked, listener)
        forwarding = Forwarding(tunnel, listener, place, SERVICE, lambda: connection)
        forwarding.start()
        held.callback(forwarding.stop)
        near = held.enter_context(socket.create_connection((place.host, place.port), DEADLINE_S))
        far, _ = service.accept()
        held.enter_context(far)
        far.settimeout(DEADLINE_S)
        near.sendall(b"before")
        assert far.recv(6, socket.MSG_WAITALL) == b"before"

        forwarding.retire()
        eventually(lambda: refused(place), "it listens no more")
        assert forwarding.is_busy
        near.sendall(b"after")
        assert far.recv(5, socket.MSG_WAITALL) == b"after"
        far.sendall(b"back")
        assert near.recv(4, socket.MSG_WAITALL) == b"back"

        forwarding.stop()
        for end in (near, far):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        eventually(lambda: None if forwarding.is_busy else True, "nothing is open")


def test_a_connection_counts_a_stream_as_soon_as_it_is_given_one(
    alice: Endpoint, connection: Connection
) -> None:
    """Whoever gives them reads in the count when the next one needs another connection. Counted
    later, more come to one connection than the peer takes, and those wait until they fail."""
    many = 64
    with contextlib.ExitStack() as held:
        # It accepts nothing, so no stream ends before all are counted.
        service = held.enter_context(
            socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=many)
        )
        target = Place.parse(f"tcp:[::1]:{service.getsockname()[1]}")
        held.enter_context(offering(alice, target, many))
        tunnel, counted = Tunnel(many), []
        held.callback(tunnel.close)
        for _ in range(many):
            near, far = socket.socketpair()
            held.enter_context(near)
            tunnel.forward(connection, far, SERVICE)
            counted.append(connection.tunnelled)
        assert counted == list(range(1, many + 1))
        eventually(lambda: tunnel.stats().opened == many or None, "all are taken", 30.0)
        tunnel.close()
        eventually(lambda: connection.tunnelled == 0 or None, "none is left", 30.0)


def test_as_many_as_a_tunnel_carries_can_wait_to_be_accepted(tmp_path: Path) -> None:
    """Beyond, a program is sent away (UNIX) or tries again after a second (TCP)."""
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    if allowed < LIMIT_DEFAULT:
        pytest.skip(f"the kernel lets {allowed} connections wait")
    with contextlib.ExitStack() as held:
        held.enter_context(listen(Place.parse(f"unix:{tmp_path}/s")))
        for _ in range(LIMIT_DEFAULT):
            each = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            each.setblocking(False)
            each.connect(f"{tmp_path}/s")
