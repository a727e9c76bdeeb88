"""A relay between the two ends of a transfer that cuts it after a number of bytes.

It has the keys of both: to the sender it is the receiver, to the receiver it is the sender.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import EndpointClosed
from hypermesh.stoq.stream import Stream
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.rpc import SERVICE_TRANSFER

READ_BYTES = 16 * 1024


@dataclass
class Budget:
    """Bytes that still pass in one direction; at zero everything is cut."""

    left: int
    passed: int = 0


@dataclass
class Relay:
    """`facing_sender` accepts in the receiver's name, `onward` dials it in the sender's."""

    facing_sender: Endpoint
    onward: Endpoint
    address: tuple[str, int]
    peer: bytes
    there: Budget = field(default_factory=lambda: Budget(1 << 60))
    back: Budget = field(default_factory=lambda: Budget(1 << 60))
    _inbound: list[Connection] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[Relay]:
        thread = threading.Thread(target=self._serve)
        thread.start()
        try:
            yield self
        finally:
            self.facing_sender.close()
            thread.join()

    def cut_after(self, there: int, back: int) -> None:
        self.there, self.back = Budget(there), Budget(back)

    def dial(self, bob: Endpoint) -> Connection:
        """The sender's connection, which a cut closes."""
        connection = bob.connect(*self.facing_sender.address, peer=self.peer)
        self._inbound.append(connection)
        return connection

    def _serve(self) -> None:
        try:
            while True:
                request = self.facing_sender.next_request(1000)
                if request is not None:
                    assert request.stream is not None
                    self._join(request.stream)
        except EndpointClosed:
            pass

    def _join(self, near: Stream) -> None:
        connection = self.onward.connect(*self.address, peer=self.peer)
        far = connection.open_stream(SERVICE_TRANSFER)
        # Not those that are made once it is cut.
        inbound = list(self._inbound)

        def pump(source: Stream, sink: Stream, budget: Budget) -> None:
            try:
                while data := source.read(READ_BYTES):
                    part = data[: budget.left]
                    budget.left -= len(part)
                    budget.passed += len(part)
                    if part:
                        sink.write(part)
                    if not budget.left:
                        connection.close(0, "cut")
                        for each in inbound:
                            each.close(0, "cut")
                        return
                sink.finish()
            except HyperMeshError:
                return

        threads = [
            threading.Thread(target=pump, args=(near, far, self.there)),
            threading.Thread(target=pump, args=(far, near, self.back)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        connection.close()
