"""A connection to a peer: requests, byte streams, remote memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, final

from hypermesh import _native
from hypermesh.stoq import completion
from hypermesh.stoq.datagram import ConnectionDatagrams, Received
from hypermesh.stoq.path import Path
from hypermesh.stoq.region import RegionId, RemoteRegion
from hypermesh.stoq.stream import Stream
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import Hash, NodeId, OwnerId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer

TIMEOUT_MS = 30_000
"""How long a request may take unless the caller says otherwise."""


class ConnectionStats(NamedTuple):
    """How a connection fares. Times in microseconds, sizes in bytes; `window_bytes` is what
    congestion control lets be in flight."""

    rtt_us: int
    bytes_sent: int
    bytes_received: int
    packets_sent: int
    packets_lost: int
    datagram_bytes: int
    window_bytes: int


@final
class Connection:
    """An admitted peer: its certificate and both its keys have been checked. Thread-safe.

    It closes with `close`, as a context manager, or with its last reference.
    """

    __slots__ = ("native",)

    def __init__(self, native: _native.StoqConnection) -> None:
        self.native = native

    @property
    def peer_id(self) -> NodeId:
        """The node at the other end, all 32 bytes, proven."""
        return self.native.peer_id

    @property
    def peer_owner(self) -> OwnerId | None:
        """The owner that the peer's certificate names."""
        return self.native.peer_owner

    @property
    def alpn(self) -> str:
        """`hm/1`, `hm-enrol/1` or `hm-session/1`."""
        return self.native.alpn

    @property
    def channel_binding(self) -> Hash:
        """32 bytes of the TLS exporter: the same at both ends, and on no other connection."""
        return self.native.channel_binding

    @property
    def negotiated_group(self) -> str:
        """The key exchange that TLS negotiated, by its IANA name: `X25519MLKEM768`."""
        return self.native.negotiated_group

    @property
    def resumed(self) -> bool:
        """Whether TLS began from a ticket of an earlier connection. Both sides have checked chains
        and proven both keys on this connection all the same."""
        return self.native.resumed

    @property
    def early(self) -> bool:
        """Whether its first request went out in the first flight, and the peer took it there."""
        return self.native.early

    @property
    def key_updates(self) -> int:
        """How often its keys have changed since the handshake, by either side's wish."""
        return self.native.key_updates

    def update_keys(self) -> None:
        """Change the keys with the next packet. It happens by itself too, after an hour or 16 GiB.
        Nothing happens where the peer has not confirmed the change before."""
        self.native.update_keys()

    @property
    def remote(self) -> tuple[str, int]:
        """Address and UDP port of the peer."""
        return self.native.remote

    @property
    def tunnelled(self) -> int:
        """Streams of tunnels on it."""
        return self.native.tunnelled()

    @property
    def ended(self) -> HyperMeshError | None:
        """Why the connection has ended; `None` while it lives."""
        return self.native.ended()

    def request(self, service: int, body: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """The answer of `service` to `body`; both have at most 4 MiB. Other threads run meanwhile.

        Raises the error that the service answered with, as its own class; `TimedOut`;
        `ConnectionLost`; or what ended the connection, such as `PeerRevoked`.
        """
        return self.native.request(service, body, timeout_ms)

    async def request_async(
        self, service: int, body: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS
    ) -> bytes:
        """Like `request`. Cancelling the task gives the request up."""
        answer: bytes = await completion.of_running_loop().call(
            lambda completions: self.native.start_request(completions, service, body, timeout_ms)
        )
        return answer

    def request_many(
        self, service: int, bodies: Sequence[ReadableBuffer], *, timeout_ms: int = TIMEOUT_MS
    ) -> list[bytes]:
        """The answers of `service` to all `bodies`, in their order, within `timeout_ms` for all.
        At most 128 are in flight, so a slow service holds the others back.

        The first failure, of whichever body, is raised and ends the whole: what is in flight is
        given up, though the service may have acted on it, and the rest is not sent.
        """
        return self.native.request_many(service, bodies, timeout_ms)

    async def request_many_async(
        self, service: int, bodies: Sequence[ReadableBuffer], *, timeout_ms: int = TIMEOUT_MS
    ) -> list[bytes]:
        """Like `request_many`. One wake-up of the event loop for all answers."""
        answers: list[bytes] = await completion.of_running_loop().call(
            lambda calls: self.native.start_request_many(calls, service, bodies, timeout_ms)
        )
        return answers

    def open_stream(self, service: int, *, timeout_ms: int = TIMEOUT_MS) -> Stream:
        """A byte stream to `service`. Waits only where too many streams are open."""
        return Stream(self.native.open_stream(service, timeout_ms))

    async def open_stream_async(self, service: int, *, timeout_ms: int = TIMEOUT_MS) -> Stream:
        """Like `open_stream`."""
        native = await completion.of_running_loop().call(
            lambda completions: self.native.start_open_stream(completions, service, timeout_ms)
        )
        return Stream(native)

    def open_unidirectional(self, service: int, *, timeout_ms: int = TIMEOUT_MS) -> Stream:
        """A stream one way, to `service`: nothing comes back. Where the service refuses it, a write
        raises. Waits only where too many streams are open."""
        return Stream(self.native.open_unidirectional(service, timeout_ms))

    async def open_unidirectional_async(
        self, service: int, *, timeout_ms: int = TIMEOUT_MS
    ) -> Stream:
        """Like `open_unidirectional`."""
        native = await completion.of_running_loop().call(
            lambda calls: self.native.start_open_unidirectional(calls, service, timeout_ms)
        )
        return Stream(native)

    @property
    def datagram_bytes_max(self) -> int | None:
        """Bytes; the longest datagram on the present path. `None`: the peer takes none."""
        return self.native.datagram_bytes_max

    def send_datagram(
        self, service: int, body: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS
    ) -> None:
        """Send `body` to `service` in one packet (RFC 9221); it may be lost. Waits while earlier
        ones fill the way out, which holds back a sender that is faster than the path. Raises
        `TooLarge` beyond `datagram_bytes_max`. Service 7 sends it back."""
        self.native.send_datagram(service, body, timeout_ms)

    async def send_datagram_async(
        self, service: int, body: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS
    ) -> None:
        """Like `send_datagram`."""
        await completion.of_running_loop().call(
            lambda calls: self.native.start_send_datagram(calls, service, body, timeout_ms)
        )

    def datagrams(self, *, timeout_ms: int = TIMEOUT_MS) -> list[Received]:
        """What services have sent back, at least one, all that wait up to 256. The newest MiB of
        what nobody takes is kept. Raises `TimedOut`."""
        return [Received(*taken) for taken in self.native.datagrams(timeout_ms)]

    async def datagrams_async(self, *, timeout_ms: int = TIMEOUT_MS) -> list[Received]:
        """Like `datagrams`."""
        taken: list[tuple[int, bytes]] = await completion.of_running_loop().call(
            lambda calls: self.native.start_datagrams(calls, timeout_ms)
        )
        return [Received(*one) for one in taken]

    def datagram_stats(self) -> ConnectionDatagrams:
        """Sent, received, dropped."""
        return ConnectionDatagrams(*self.native.datagram_stats())

    def region(self, region: RegionId, epoch: int) -> RemoteRegion:
        """A region of the peer. Nothing is asked of the peer before the first operation."""
        return RemoteRegion(self, region, epoch)

    def stats(self) -> ConnectionStats:
        """Round-trip time, bytes, losses, path."""
        return ConnectionStats(*self.native.stats())

    def why(self) -> Path:
        """The kind of its path, and what it has been waiting for: why it is not faster."""
        return Path.of(self.native.path())

    def close(self, code: int = 0, reason: str = "") -> None:
        """End the connection and everything on it. The peer gets code and reason."""
        self.native.close(code, reason)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
