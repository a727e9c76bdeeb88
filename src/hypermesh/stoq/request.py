"""A request of a peer, for a service of this node."""

from __future__ import annotations

from typing import final

from hypermesh import _native
from hypermesh.stoq.stream import Stream
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import GenesisId, Hash, OwnerId


@final
class Request:
    """One request. Answer it once, with `reply` or `refuse`; neither waits for the peer.

    Dropped without an answer, it tells the peer so (`Unanswered`). Unanswered requests are bounded
    for each endpoint, so keep none for long.
    """

    __slots__ = ("native",)

    def __init__(self, native: _native.StoqRequest) -> None:
        self.native = native

    @property
    def peer_id(self) -> Hash | None:
        """NodeId, or SessionId on `hm-session/1`: keys the peer has proven. `None` only on
        `hm-enrol/1`, for a client that has none yet."""
        return self.native.peer_id

    @property
    def peer_owner(self) -> OwnerId | None:
        """The owner that the peer's certificate names; on `hm/1` and `hm-partner/1` only."""
        return self.native.peer_owner

    @property
    def peer_network(self) -> GenesisId | None:
        """The network that the peer's certificate names; on `hm/1` and `hm-partner/1` only."""
        return self.native.peer_network

    @property
    def alpn(self) -> str:
        """`hm/1`, `hm-enrol/1`, `hm-session/1` or `hm-partner/1`."""
        return self.native.alpn

    @property
    def channel_binding(self) -> Hash:
        """32 bytes of the TLS exporter of its connection."""
        return self.native.channel_binding

    @property
    def service(self) -> int:
        """The STOQ service number that the peer asked for."""
        return self.native.service

    @property
    def body(self) -> bytes:
        """What the peer sent, a new copy each time; empty where it opens a stream."""
        return self.native.body

    @property
    def stream(self) -> Stream | None:
        """The byte stream that the peer opens; `None` for a request with a body. The first bytes
        sent on it accept it; until then `refuse` is possible."""
        native = self.native.stream
        return None if native is None else Stream(native)

    @property
    def is_unidirectional(self) -> bool:
        """Whether `stream` goes one way, from the peer to here. To refuse it stops the peer, which
        then raises `Unanswered`, whatever the reason."""
        return self.native.is_unidirectional

    def reply(self, body: bytes) -> None:
        """Send the answer, at most 4 MiB. Raises `TooLarge` (and then one may still refuse) or
        `Unanswered` where this request has its answer."""
        self.native.reply(body)

    def refuse(self, problem: bytes | HyperMeshError) -> None:
        """Send a problem, encoded (`wire.errors.Problem`) or as the error it describes. The peer's
        call raises it."""
        if isinstance(problem, HyperMeshError):
            problem = encode(problem.problem)
        self.native.refuse(problem)
