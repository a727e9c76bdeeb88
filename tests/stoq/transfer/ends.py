"""The two ends of transfers, as tests join them."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import EndpointClosed
from hypermesh.stoq.transfer.progress import Progress, Watcher, unwatched
from hypermesh.stoq.transfer.receiver import Policy, Receiver
from hypermesh.stoq.transfer.sender import Parties, Source, send
from hypermesh.stoq.transfer.store import Store
from hypermesh.wire.delivery import DeliveryProof
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import OwnerId
from hypermesh.wire.rpc import SERVICE_TRANSFER
from hypermesh.wire.transfer import Offer

TRANSFER = bytes(range(16))
STALL_MS = 5_000


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes without structure, the same each time."""
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(size)


def numbers(seed: int) -> Callable[[int], int]:
    """A function that gives one number after the other below its argument, the same each time."""
    place = itertools.count()

    def below(limit: int) -> int:
        return int.from_bytes(noise(8, (seed << 32) + next(place))) % limit

    return below


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def anybody(owner: OwnerId, offer: Offer) -> None:
    del owner, offer


@dataclass
class Taking:
    """An endpoint that takes files into a store, until it is closed."""

    endpoint: Endpoint
    genesis: bytes
    keys: QuantumKeys
    store: Store
    policy: Policy = anybody
    watcher: Watcher = unwatched
    failures: list[Exception] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[Taking]:
        thread = threading.Thread(target=self._serve)
        thread.start()
        try:
            yield self
        finally:
            self.endpoint.close()
            thread.join()

    def _serve(self) -> None:
        taking: list[threading.Thread] = []
        try:
            while True:
                request = self.endpoint.next_request(1000)
                if request is None:
                    continue
                stream, peer, owner = request.stream, request.peer_id, request.peer_owner
                assert stream is not None
                assert peer is not None
                assert owner is not None
                parties = Parties(self.genesis, self.keys, peer)
                taking.append(threading.Thread(target=self._take, args=(stream, owner, parties)))
                taking[-1].start()
                del request, stream
        except EndpointClosed:
            pass
        for each in taking:
            each.join()

    def _take(self, stream: object, owner: OwnerId, parties: Parties) -> None:
        receiver = Receiver(self.store, self.policy, now_ms)
        try:
            receiver.receive(
                stream,  # type: ignore[arg-type]
                owner,
                parties,
                watcher=self.watcher,
                stall_ms=STALL_MS,
            )
        except HyperMeshError as error:
            self.failures.append(error)


@dataclass(frozen=True)
class Giving:
    """The sending end of a connection."""

    connection: Connection
    genesis: bytes
    keys: QuantumKeys
    since_ms: int = field(default_factory=now_ms)

    def send(
        self, path: Path, transfer: bytes = TRANSFER, watcher: Watcher = unwatched
    ) -> DeliveryProof:
        with Source(path) as source:
            return send(
                self.connection.open_stream(SERVICE_TRANSFER),
                source,
                transfer,
                Parties(self.genesis, self.keys, self.connection.peer_id),
                since_ms=self.since_ms,
                watcher=watcher,
                stall_ms=STALL_MS,
            )


class Moved:
    """Watches how much goes over the stream."""

    def __init__(self) -> None:
        self.last = Progress(0, 0, 0)

    def __call__(self, progress: Progress) -> None:
        assert progress.moved >= self.last.moved
        assert progress.done >= self.last.done
        assert progress.moved <= progress.done <= progress.size
        self.last = progress
