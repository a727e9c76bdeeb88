"""Calls to other nodes: one kept connection a node, dialled by its locator, made anew once when it
turns out to be dead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import ConnectionClosed, ConnectionLost, EndpointClosed
from hypermesh.wire.asset import Locator
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import ALPN_NODE, SERVICE_CONTROL, Call

T = TypeVar("T")

CONNECT_TIMEOUT_MS = 5_000
CALL_TIMEOUT_MS = 20_000


class Peers:
    """The other nodes, as seen from this one."""

    def __init__(self, endpoint: Endpoint, locate: Callable[[NodeId], Locator]) -> None:
        self._endpoint = endpoint
        self._locate = locate
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
            answer = self._connection(node).request(SERVICE_CONTROL, body, timeout_ms=timeout_ms)
        except (ConnectionClosed, ConnectionLost):
            self._forget(node)
            answer = self._connection(node).request(SERVICE_CONTROL, body, timeout_ms=timeout_ms)
        return decode(kind, answer)

    def close(self) -> None:
        """End every call that waits; none is made from now on."""
        with self._lock:
            self._closed = True
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()

    def _connection(self, node: NodeId) -> Connection:
        with self._lock:
            if self._closed:
                raise EndpointClosed
            known = self._connections.get(node)
        if known is not None and known.ended is None:
            return known
        self._forget(node)
        locator = self._locate(node)
        made = self._endpoint.connect(
            locator.host,
            locator.port,
            peer=node,
            alpn=ALPN_NODE,
            timeout_ms=CONNECT_TIMEOUT_MS,
        )
        with self._lock:
            self._connections[node] = made
        return made

    def _forget(self, node: NodeId) -> None:
        with self._lock:
            lost = self._connections.pop(node, None)
        if lost is not None:
            lost.close()
