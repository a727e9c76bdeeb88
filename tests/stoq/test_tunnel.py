"""A local socket that is forwarded: listening no more, and ending what is open."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import EndpointClosed
from hypermesh.stoq.tunnel import Forwarding, Tunnel, bound_place, listen
from hypermesh.wire.rpc import SERVICE_TUNNEL
from hypermesh.wire.tunnel import Place

from .network import DEADLINE_S, eventually

SERVICE = bytes(16)


@contextmanager
def offering(alice: Endpoint, target: Place) -> Iterator[Tunnel]:
    """Whatever comes to `alice` is carried to `target`."""
    tunnel, ended = Tunnel(4), threading.Event()

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
