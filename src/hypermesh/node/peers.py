"""Calls to other nodes: one kept connection a node, dialled by its locator, made anew once when it
turns out to be dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hypermesh.node.dialling import dial
from hypermesh.node.waiting import refuse_on_event_loop
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
from hypermesh.wire.rpc import ALPN_NODE, SERVICE_CONTROL, SERVICE_ECHO, Call

T = TypeVar("T")

CALL_TIMEOUT_MS = 20_000
QUIET_S = 3.0
"""After so long without an answer a connection is tried before a call relies on it."""
TRIAL_TIMEOUT_MS = 2_000


@dataclass(slots=True)
class _Link:
    """A connection, when it last brought an answer, and since when it is there."""

    connection: Connection
    heard: float
    since_ms: int


@dataclass(frozen=True, slots=True)
class Link:
    """How a connection that this node dialled fares; `heard_ms_ago` is since its last answer,
    `since_ms` when it was made."""

    heard_ms_ago: int
    rtt_us: int
    bytes_sent: int
    bytes_received: int
    alpn: str
    since_ms: int


class Peers:
    """The other nodes, as seen from this one."""

    def __init__(
        self,
        endpoint: Endpoint,
        locate: Callable[[NodeId], Locator],
        relocate: Callable[[NodeId], Locator],
        reached: Callable[[Locator], None],
    ) -> None:
        """`relocate` looks anew where `locate` turned out to be wrong; `reached` is told of each
        node that answered, its address that did first."""
        self._endpoint = endpoint
        self._locate = locate
        self._relocate = relocate
        self._reached = reached
        self._links: dict[NodeId, _Link] = {}
        self._left: list[Connection] = []
        """Silent ones, on which other calls may still wait."""
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
        refuse_on_event_loop()
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

    def dial(self, node: NodeId) -> Connection:
        """A new connection to `node`, apart from the kept one, for bytes in bulk. It is the
        caller's."""
        refuse_on_event_loop()
        with self._lock:
            if self._closed:
                raise EndpointClosed
        return self._connected(node)

    def link(self, node: NodeId) -> Link | None:
        """How the kept connection to `node` fares; None where there is none."""
        with self._lock:
            link = self._links.get(node)
        return None if link is None else _shown(link)

    def links(self) -> dict[NodeId, Link]:
        """How every kept connection fares."""
        with self._lock:
            kept = list(self._links.items())
        shown = ((node, _shown(link)) for node, link in kept)
        return {node: link for node, link in shown if link is not None}

    def close(self) -> None:
        """End every call that waits; none is made from now on."""
        with self._lock:
            self._closed = True
            for connection in [link.connection for link in self._links.values()] + self._left:
                connection.close()
            self._links.clear()
            self._left.clear()

    def _ask(self, node: NodeId, body: bytes, timeout_ms: int) -> bytes:
        link = self._link(node)
        try:
            answer = link.connection.request(SERVICE_CONTROL, body, timeout_ms=timeout_ms)
        except (ConnectionClosed, ConnectionLost, TimedOut):
            self._leave(node, link)
            raise
        link.heard = time.monotonic()
        return answer

    def _link(self, node: NodeId) -> _Link:
        with self._lock:
            if self._closed:
                raise EndpointClosed
            known = self._links.get(node)
        if known is not None:
            if self._is_alive(known):
                return known
            self._leave(node, known)
        return self._keep(node, self._connected(node))

    def _is_alive(self, link: _Link) -> bool:
        """QUIC takes half a minute to miss a peer that died; a call shall not."""
        if link.connection.ended is not None:
            return False
        if time.monotonic() - link.heard < QUIET_S:
            return True
        try:
            link.connection.request(SERVICE_ECHO, b"", timeout_ms=TRIAL_TIMEOUT_MS)
        except HyperMeshError:
            return False
        link.heard = time.monotonic()
        return True

    def _connected(self, node: NodeId) -> Connection:
        locator = self._locate(node)
        try:
            return self._dial(locator)
        except (HandshakeTimeout, WrongPeer):
            moved = self._moved(node)
            if moved is None or _places(moved) == _places(locator):
                raise
            return self._dial(moved)

    def _keep(self, node: NodeId, made: Connection) -> _Link:
        with self._lock:
            if self._closed:
                made.close()
                raise EndpointClosed
            kept = self._links.get(node)
            if kept is not None and kept.connection.ended is None:
                # Another thread dialled at the same time. One link is kept, or `close` would not
                # end the calls on the other.
                made.close()
                return kept
            link = self._links[node] = _Link(made, time.monotonic(), time.time_ns() // 1_000_000)
        return link

    def _moved(self, node: NodeId) -> Locator | None:
        try:
            return self._relocate(node)
        except HyperMeshError:
            return None

    def _dial(self, locator: Locator) -> Connection:
        connection, found = dial(self._endpoint, locator, ALPN_NODE)
        self._reached(found)
        return connection

    def _leave(self, node: NodeId, link: _Link) -> None:
        with self._lock:
            if self._links.get(node) is link:
                del self._links[node]
            self._left = [each for each in self._left if each.ended is None]
            if link.connection.ended is None and not self._closed:
                self._left.append(link.connection)


def _shown(link: _Link) -> Link | None:
    """None where it has ended."""
    connection = link.connection
    if connection.ended is not None:
        return None
    stats = connection.stats()
    return Link(
        heard_ms_ago=int((time.monotonic() - link.heard) * 1000),
        rtt_us=stats.rtt_us,
        bytes_sent=stats.bytes_sent,
        bytes_received=stats.bytes_received,
        alpn=connection.alpn,
        since_ms=link.since_ms,
    )


def _places(locator: Locator) -> tuple[set[str], int]:
    return set(locator.hosts), locator.port
