"""Several connections to one peer, used as one: each has its own packet numbers, congestion window
and order of loss, so that a lost packet holds up only the streams of its connection."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from hypermesh.stoq.connection import TIMEOUT_MS, Connection, ConnectionStats
from hypermesh.stoq.endpoint import CONNECT_TIMEOUT_MS, Endpoint
from hypermesh.stoq.errors import ConnectionClosed
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import ALPN_NODE

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from hypermesh.stoq.stream import Stream

CONNECTIONS_MAX = 32
"""The most connections of one bundle."""


@final
class Bundle:
    """Connections to one peer. Thread-safe.

    A request or stream goes to the live connection with the fewest of them, and stays there; among
    equals they take turns. It raises what `Connection` raises; a connection that has ended gets
    nothing new, and where all have ended, the reason is raised. None is dialled again.
    """

    def __init__(self, connections: Sequence[Connection]) -> None:
        """Of connections that lead to one peer. They are closed with the bundle."""
        peers = {connection.peer_id for connection in connections}
        if not 1 <= len(connections) <= CONNECTIONS_MAX or len(peers) != 1:
            raise InvalidInput(
                f"{len(connections)} connections to {len(peers)} peers are no bundle",
                fix=f"bundle 1 to {CONNECTIONS_MAX} connections to one peer",
            )
        self.connections = tuple(connections)
        self._lock = threading.Lock()
        self._turn = 0
        self._requests = [0] * len(connections)
        self._streams: list[weakref.WeakSet[Stream]] = [weakref.WeakSet() for _ in connections]

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        host: str,
        port: int,
        *,
        count: int,
        peer: NodeId | None = None,
        alpn: str = ALPN_NODE,
        timeout_ms: int = CONNECT_TIMEOUT_MS,
    ) -> Bundle:
        """Dial `count` connections, one after the other, `timeout_ms` for each. Raises what
        `Endpoint.connect` raises, and then keeps none."""
        _checked(count)
        return cls(
            [
                endpoint.connect(host, port, peer=peer, alpn=alpn, timeout_ms=timeout_ms)
                for _ in range(count)
            ]
        )

    @classmethod
    async def connect_async(
        cls,
        endpoint: Endpoint,
        host: str,
        port: int,
        *,
        count: int,
        peer: NodeId | None = None,
        alpn: str = ALPN_NODE,
        timeout_ms: int = CONNECT_TIMEOUT_MS,
    ) -> Bundle:
        """Like `connect`, all at once."""
        _checked(count)
        dialled = (
            endpoint.connect_async(host, port, peer=peer, alpn=alpn, timeout_ms=timeout_ms)
            for _ in range(count)
        )
        return cls(await asyncio.gather(*dialled))

    @property
    def peer_id(self) -> NodeId:
        """The node at the other end of all of them, all 32 bytes, proven."""
        return self.connections[0].peer_id

    def loads(self) -> list[int]:
        """Requests and streams under way, by connection."""
        with self._lock:
            return [self._load(place) for place in range(len(self.connections))]

    def request(self, service: int, body: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """Like `Connection.request`."""
        with self._requesting() as connection:
            return connection.request(service, body, timeout_ms=timeout_ms)

    async def request_async(
        self, service: int, body: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS
    ) -> bytes:
        """Like `Connection.request_async`."""
        with self._requesting() as connection:
            return await connection.request_async(service, body, timeout_ms=timeout_ms)

    def open_stream(self, service: int, *, timeout_ms: int = TIMEOUT_MS) -> Stream:
        """Like `Connection.open_stream`. It counts until it is dropped."""
        with self._requesting() as connection:
            stream = connection.open_stream(service, timeout_ms=timeout_ms)
        return self._counted(connection, stream)

    async def open_stream_async(self, service: int, *, timeout_ms: int = TIMEOUT_MS) -> Stream:
        """Like `open_stream`."""
        with self._requesting() as connection:
            stream = await connection.open_stream_async(service, timeout_ms=timeout_ms)
        return self._counted(connection, stream)

    def stats(self) -> list[ConnectionStats]:
        """How each connection fares."""
        return [connection.stats() for connection in self.connections]

    def close(self, code: int = 0, reason: str = "") -> None:
        """End all connections and everything on them. The peer gets code and reason."""
        for connection in self.connections:
            connection.close(code, reason)

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self, place: int) -> int:
        return self._requests[place] + len(self._streams[place])

    @contextmanager
    def _requesting(self) -> Iterator[Connection]:
        """The connection to use now, with one more under way on it meanwhile."""
        with self._lock:
            place = self._least_loaded()
            self._requests[place] += 1
        try:
            yield self.connections[place]
        finally:
            with self._lock:
                self._requests[place] -= 1

    def _least_loaded(self) -> int:
        count = len(self.connections)
        turns = [(self._turn + step) % count for step in range(count)]
        live = [place for place in turns if self.connections[place].ended is None]
        if not live:
            raise self.connections[turns[0]].ended or ConnectionClosed("all of the bundle")
        place = min(live, key=self._load)
        self._turn = (place + 1) % count
        return place

    def _counted(self, connection: Connection, stream: Stream) -> Stream:
        with self._lock:
            self._streams[self.connections.index(connection)].add(stream)
        return stream


def _checked(count: int) -> None:
    if not 1 <= count <= CONNECTIONS_MAX:
        raise InvalidInput(
            f"a bundle of {count} connections", fix=f"ask for 1 to {CONNECTIONS_MAX} of them"
        )
