"""A wire between a client and a server, which a test can stop in one direction, or move."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .network import DEADLINE_S

TURN_S = 0.005


class Wire:
    """`address` is where the client dials. While `answers` is cleared, nothing comes back. `caught`
    holds what the client has sent."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.caught: list[bytes] = []
        self._server = server
        self._front = _socket()
        self._back = _socket()
        self._moved: socket.socket | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        host, port, *_ = self._front.getsockname()
        self.address: tuple[str, int] = (host, port)

    def move(self) -> None:
        """From now on the server sees the client at another address, as after a NAT rebinding."""
        self._moved = _socket()

    def inject(self, datagram: bytes) -> None:
        """Send something to the server from an address that is not the client's."""
        with _socket() as stranger:
            stranger.sendto(datagram, self._server)

    @contextmanager
    def running(self) -> Iterator[Wire]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(DEADLINE_S)
            assert not self._thread.is_alive()
            self._front.close()
            self._back.close()

    def _run(self) -> None:
        client: tuple[str, int] | None = None
        kept: list[bytes] = []
        while not self._stop.is_set():
            if self._moved is not None:
                # What the server still sends to the old address is lost.
                self._back.close()
                self._back, self._moved = self._moved, None
            readable, _, _ = select.select([self._front, self._back], [], [], TURN_S)
            if self._front in readable:
                datagram, client = self._front.recvfrom(65_536)
                self._back.sendto(datagram, self._server)
                self.caught.append(datagram)
            if self._back in readable:
                kept.append(self._back.recv(65_536))
            if self.answers.is_set() and client is not None:
                for datagram in kept:
                    self._front.sendto(datagram, client)
                kept.clear()


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.bind(("::1", 0))
    return made


@contextmanager
def wire(server: tuple[str, int]) -> Iterator[Wire]:
    """A wire to `server`."""
    with Wire(server).running() as running:
        yield running
