"""Datagrams (RFC 9221): each arrives whole, once or not at all, and in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, final

from hypermesh import _native
from hypermesh.wire.ids import Hash, OwnerId

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

TIMEOUT_MS = 30_000
"""How long one may wait to be sent, or for one to come."""


class Received(NamedTuple):
    """What a service has sent back to whoever dialled it."""

    service: int
    body: bytes


class ConnectionDatagrams(NamedTuple):
    """Datagrams of a connection since it began. `dropped`: those that came faster than they were
    taken, as known when last none was left to take."""

    sent: int
    received: int
    dropped: int


class EndpointDatagrams(NamedTuple):
    """Datagrams of all peers of an endpoint since it began. `dropped`: among those received, those
    without room, of which one peer has a part only."""

    received: int
    dropped: int
    waiting: int


@final
class Datagram:
    """One datagram of a peer, for a service of this node. Thread-safe."""

    __slots__ = ("_native",)

    def __init__(self, native: _native.StoqDatagram) -> None:
        self._native = native

    @property
    def peer_id(self) -> Hash | None:
        """NodeId, or SessionId on `hm-session/1`: keys the peer has proven."""
        return self._native.peer_id

    @property
    def peer_owner(self) -> OwnerId | None:
        """The owner that the peer's certificate names; on `hm/1` only."""
        return self._native.peer_owner

    @property
    def alpn(self) -> str:
        """`hm/1` or `hm-session/1`."""
        return self._native.alpn

    @property
    def service(self) -> int:
        """The STOQ service number that the peer sent it to."""
        return self._native.service

    @property
    def body(self) -> bytes:
        """What the peer sent, a new copy each time."""
        return self._native.body

    def reply(self, body: ReadableBuffer) -> bool:
        """Send a datagram back from the same service, without waiting. Whether there was room for
        it; it may be lost on its way all the same. Raises `TooLarge` beyond the path's size."""
        return self._native.reply(body)
