"""Calls to other nodes: one kept connection a node, dialled by its locator, made anew once when it
turns out to be dead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import (
    ConnectionClosed,
    ConnectionLost,
    EndpointClosed,
    HandshakeTimeout,
    PeerRefused,
    TimedOut,
    WrongPeer,
)
from hypermesh.wire.asset import Locator
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError, Unreachable
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import ALPN_NODE, SERVICE_CONTROL, Call

T = TypeVar("T")

CONNECT_TIMEOUT_MS = 5_000
CALL_TIMEOUT_MS = 20_000


class Peers:
    """The other nodes, as seen from this one."""

    def __init__(
        self,
        endpoint: Endpoint,
        locate: Callable[[NodeId], Locator],
        relocate: Callable[[NodeId], Locator],
    ) -> None:
        """`relocate` looks anew where `locate` turned out to be wrong."""
        self._endpoint = endpoint
        self._locate = locate
        self._relocate = relocate
        self._connections: dict[NodeId, Connection] = {}
        self._lock = threading.Lock()
        self._closed = False

    def call(
        self,
        node: NodeId,
        method: str,
        argument: object,
        kind: type[T],
        *,
        timeout_ms: int = CALL_TIMEOUT_MS,
    ) -> T:
        """The answer of `node` to `method`; its refusal is raised as its own error.

        A call whose connection breaks is made once more on a new one. So methods that change
        something are idempotent.
        """
        body = encode(Call(method, encode(argument)))
        try:
            try:
                answer = self._ask(node, body, timeout_ms)
            except (ConnectionClosed, ConnectionLost):
                answer = self._ask(node, body, timeout_ms)
        except (PeerRefused, Unreachable) as error:
            error.why = f"{method} of node {node.hex()[:16]}: {error.why or error.what}"
            raise
        return decode(kind, answer)

    def close(self) -> None:
        """End every call that waits; none is made from now on."""
        with self._lock:
            self._closed = True
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()

    def _ask(self, node: NodeId, body: bytes, timeout_ms: int) -> bytes:
        connection = self._connection(node)
        try:
            return connection.request(SERVICE_CONTROL, body, timeout_ms=timeout_ms)
        except (ConnectionClosed, ConnectionLost, TimedOut):
            # After a silence the next call tries a new one; other calls may still wait on this.
            self._forget(node, connection)
            raise

    def _connection(self, node: NodeId) -> Connection:
        with self._lock:
            if self._closed:
                raise EndpointClosed
            known = self._connections.get(node)
        if known is not None:
            if known.ended is None:
                return known
            self._forget(node, known)
        locator = self._locate(node)
        try:
            made = self._dial(locator)
        except (HandshakeTimeout, WrongPeer):
            moved = self._moved(node)
            if moved is None or (moved.host, moved.port) == (locator.host, locator.port):
                raise
            made = self._dial(moved)
        return self._keep(node, made)

    def _keep(self, node: NodeId, made: Connection) -> Connection:
        with self._lock:
            if self._closed:
                made.close()
                raise EndpointClosed
            self._connections[node] = made
        return made

    def _moved(self, node: NodeId) -> Locator | None:
        try:
            return self._relocate(node)
        except HyperMeshError:
            return None

    def _dial(self, locator: Locator) -> Connection:
        return self._endpoint.connect(
            locator.host,
            locator.port,
            peer=locator.node,
            alpn=ALPN_NODE,
            timeout_ms=CONNECT_TIMEOUT_MS,
        )

    def _forget(self, node: NodeId, connection: Connection) -> None:
        with self._lock:
            if self._connections.get(node) is connection:
                del self._connections[node]
