"""One UDP address, over IPv6 unless asked for IPv4 too: it dials peers and serves them, from I/O
threads that run no Python.

Both sides check each other before anything else moves (`crates/stoq/src/admission.rs`): chains
against the `TrustPolicy`, then signatures by both keys over the TLS channel.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, final

from hypermesh import _native
from hypermesh.stoq import completion
from hypermesh.stoq.connection import Connection, ConnectionStats
from hypermesh.stoq.datagram import Datagram, EndpointDatagrams
from hypermesh.stoq.path import Path
from hypermesh.stoq.region import RegionId, Regions
from hypermesh.stoq.request import Request
from hypermesh.stoq.stack import Stack
from hypermesh.stoq.threads import settled
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import GenesisId, Hash, NodeId
from hypermesh.wire.rpc import ALPN_NODE

KEY_EXCHANGE = "X25519MLKEM768"
"""The only key exchange offered and accepted, by its IANA name."""
CONNECT_TIMEOUT_MS = 10_000
"""How long dialling and admission may take unless the caller says otherwise."""


class Refusal(NamedTuple):
    """A connection from elsewhere that was not admitted, or whose peer may not stay.

    `peer` is what is known of it: before admission, what it claims. `error` is of the class that
    the other side raises.
    """

    remote: str
    alpn: str | None
    peer: Hash | None
    error: HyperMeshError


class Admission(NamedTuple):
    """A peer with a certificate that was admitted: `chain` is what it has shown, leaf first, DER;
    `network` what its certificate names, none where it is known by its keys alone. `opened` is
    whether this side has dialled."""

    at_ms: int
    remote: str
    alpn: str
    peer: NodeId
    network: GenesisId | None
    opened: bool
    chain: list[bytes]


class EndpointStats(NamedTuple):
    """What an endpoint holds now, and has seen since it began."""

    connections: int
    handshakes: int
    accepted: int
    refused: int
    requests_waiting: int
    requests_unanswered: int
    request_bytes_unanswered: int
    resumed: int
    """Accepted connections that began from a ticket."""
    early: int
    """Requests served before their connection was admitted: they change nothing, and their peer had
    proven its keys over its first packets."""
    tickets_offered: int
    """Tickets that peers may still use here."""
    tickets_held: int
    """Tickets to use with others."""


class LiveConnection(NamedTuple):
    """A connection of an endpoint, by whomever it was opened. `key` grows from one to the next;
    `peer` is none for those who are nobody; `path` is none before it is known."""

    key: int
    peer: NodeId | None
    remote: tuple[str, int]
    opened: bool
    alpn: str
    negotiated_group: str
    stats: ConnectionStats
    path: Path | None


@final
class Endpoint:
    """An address with its connections, incoming requests and memory regions. Thread-safe.

    It closes with `close`, as a context manager, or with its last reference.
    """

    __slots__ = ("_native", "regions", "stack")

    def __init__(self, native: _native.StoqEndpoint, stack: Stack) -> None:
        self._native = native
        self.stack = stack
        """The versions of IP that it speaks."""
        self.regions = Regions(native.regions)

    @classmethod
    def bind(
        cls,
        host: str = "::1",
        port: int = 0,
        *,
        policy: TrustPolicy,
        identity: Identity | None,
        stack: Stack = Stack.IPV6,
        threads: int = 1,
    ) -> Endpoint:
        """Listen at an IPv6 address; port 0 asks the system for one. IPv4 peers reach a dual stack
        at `::`.

        Without an identity it accepts nobody and dials as nobody, which `hm-enrol/1` allows.
        `threads`: I/O threads, each with a socket of its own at the address; more than one are
        pinned to a core each, and connections are spread over them. 0 means one for each core that
        this process may use. Raises `BindRefused`, `InvalidAddress`, `InvalidInput`.
        """
        native = _native.StoqEndpoint.bind(
            host=host,
            port=port,
            dual_stack=stack is Stack.DUAL,
            policy=policy.native,
            identity=None if identity is None else identity.native,
            threads=settled(threads),
        )
        return cls(native, stack)

    @property
    def address(self) -> tuple[str, int]:
        """Host and UDP port that it listens at."""
        return self._native.address

    @property
    def threads(self) -> int:
        """Its I/O threads."""
        return self._native.threads

    def set_policy(self, policy: TrustPolicy) -> None:
        """Obey `policy` from now on. Live connections end at once, with the reason, where it
        revokes their peer, or where what let the peer's network in is gone or has changed."""
        self._native.set_policy(policy.native)

    def set_identity(self, identity: Identity) -> None:
        """Be `identity` on new connections, as after a renewal; live ones are left alone. Tickets
        given and held under the identity before are good no more."""
        self._native.set_identity(identity.native)

    def connect(
        self,
        host: str,
        port: int,
        *,
        peer: NodeId | None = None,
        alpn: str = ALPN_NODE,
        timeout_ms: int = CONNECT_TIMEOUT_MS,
        root_sha256: Hash | None = None,
    ) -> Connection:
        """Dial, check the peer and be checked. `host` is an IPv6 address or a name that has one;
        for a dual stack, an IPv4 address will do.

        `peer`: which node it must be, compared in all 32 bytes. `root_sha256`: on `hm-enrol/1`, the
        root that its chain must lead to in place of the policy's. Raises a `PeerRefused` with the
        reason, whichever side refused.
        """
        native = self._native.connect(
            host=host,
            port=port,
            alpn=alpn,
            peer=peer,
            root_sha256=root_sha256,
            timeout_ms=timeout_ms,
        )
        return Connection(native)

    async def connect_async(
        self,
        host: str,
        port: int,
        *,
        peer: NodeId | None = None,
        alpn: str = ALPN_NODE,
        timeout_ms: int = CONNECT_TIMEOUT_MS,
        root_sha256: Hash | None = None,
    ) -> Connection:
        """Like `connect`."""
        native = await completion.of_running_loop().call(
            lambda completions: self._native.start_connect(
                completions,
                host=host,
                port=port,
                alpn=alpn,
                peer=peer,
                root_sha256=root_sha256,
                timeout_ms=timeout_ms,
            )
        )
        return Connection(native)

    def connect_and_request(
        self,
        host: str,
        port: int,
        service: int,
        body: bytes,
        *,
        peer: NodeId | None = None,
        alpn: str = ALPN_NODE,
        timeout_ms: int = CONNECT_TIMEOUT_MS,
    ) -> tuple[Connection, bytes]:
        """Dial and ask at once: the connection, and the answer of `service` to `body`.

        Where this endpoint has had a connection there before, a request that changes nothing (echo;
        see `connect_and_read` too) goes out with the first packets and saves a round trip:
        `Connection.early`. It can be read later by whoever gets hold of that connection's secret,
        so put nothing secret into it. The answer is worth what any other is.
        """
        connection, answer = self._native.connect_and_request(
            host=host,
            port=port,
            alpn=alpn,
            peer=peer,
            service=service,
            body=body,
            timeout_ms=timeout_ms,
        )
        return Connection(connection), answer

    def connect_and_read(
        self,
        host: str,
        port: int,
        region: RegionId,
        epoch: int,
        span: slice,
        *,
        peer: NodeId | None = None,
        alpn: str = ALPN_NODE,
        timeout_ms: int = CONNECT_TIMEOUT_MS,
    ) -> tuple[Connection, bytes]:
        """The same for the bytes `span` (with start and stop) of a region of the peer, at most
        4 MiB of them."""
        connection, read = self._native.connect_and_read(
            host=host,
            port=port,
            alpn=alpn,
            peer=peer,
            region=region,
            epoch=epoch,
            offset=span.start,
            length=span.stop - span.start,
            timeout_ms=timeout_ms,
        )
        return Connection(connection), read

    def rebind(self, port: int = 0) -> tuple[str, int]:
        """Move to another port of the same address; 0 asks the system for one. Its new address.

        Connections opened here go on from there. Those that others opened end, because only who
        opened a connection can move it (RFC 9000 section 9). Raises `BindRefused`, and then nothing
        has moved.
        """
        return self._native.rebind(port)

    def drain(self, timeout_ms: int) -> bool:
        """Take no new connections and streams (those who come get `Draining`), and wait until what
        runs here is done. Whether it is; then `close`."""
        return self._native.drain(timeout_ms)

    def next_request(self, timeout_ms: int) -> Request | None:
        """The next request of any peer, waiting up to `timeout_ms` while other threads run.

        Echo (service 7) and remote memory (service 2) are served in Rust and do not come here.
        Raises `EndpointClosed`.
        """
        native = self._native.next_request(timeout_ms)
        return None if native is None else Request(native)

    async def next_requests(self) -> list[Request]:
        """All requests that wait, at least one. For one task at a time. Raises `EndpointClosed`."""
        loop = asyncio.get_running_loop()
        while not (taken := self._native.take_requests()):
            await _readable(loop, self._native.requests_fileno())
        return [Request(native) for native in taken]

    def next_datagrams(self, timeout_ms: int) -> list[Datagram]:
        """Datagrams of any peers, all that wait up to 256, waiting up to `timeout_ms` for the first
        while other threads run; none after that. Raises `EndpointClosed`.

        What finds no room is dropped and counted: `datagram_stats`.
        """
        return [Datagram(native) for native in self._native.next_datagrams(timeout_ms)]

    async def next_datagrams_async(self) -> list[Datagram]:
        """All datagrams that wait up to 256, at least one. For one task at a time. Raises
        `EndpointClosed`."""
        loop = asyncio.get_running_loop()
        while not (taken := self._native.take_datagrams()):
            await _readable(loop, self._native.datagrams_fileno())
        return [Datagram(native) for native in taken]

    def datagram_stats(self) -> EndpointDatagrams:
        """Received, dropped, waiting."""
        return EndpointDatagrams(*self._native.datagram_stats())

    def refusals(self) -> list[Refusal]:
        """Peers refused since the last call, oldest first; the last 256 at most."""
        return [Refusal(*refusal) for refusal in self._native.refusals()]

    def keep_admissions(self, most: int) -> None:
        """Keep note of up to `most` admissions for `admissions`; of none until then."""
        self._native.keep_admissions(most)

    def admissions(self) -> tuple[list[Admission], int]:
        """Peers with certificates that were admitted since the last call, oldest first, and how
        many more there were than were kept."""
        found, missed = self._native.admissions()
        return [Admission(*each) for each in found], missed

    def stats(self) -> EndpointStats:
        """Connections, handshakes, requests."""
        return EndpointStats(*self._native.stats(), *self._native.resumption())

    def connections(self, *, after: int = 0, limit: int = 100) -> list[LiveConnection]:
        """Live connections by ascending key, those above `after`, at most `limit`."""
        return [
            LiveConnection(
                key,
                peer,
                remote,
                opened,
                alpn,
                group,
                ConnectionStats(*stats),
                None if path is None else Path.of(path),
            )
            for key, peer, remote, opened, alpn, group, stats, path in self._native.connections(
                after, limit
            )
        ]

    def close(self, reason: str = "") -> None:
        """End everything here: connections (peers get `reason`), waiting calls, the I/O threads."""
        self._native.close(reason)

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def limits() -> dict[str, int]:
    """Bounds of the transport (`crates/stoq/src/limits.rs`), as far as native code names them."""
    return dict(_native.stoq_limits())


async def _readable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    arrived = loop.create_future()
    loop.add_reader(descriptor, _settle, arrived)
    try:
        await arrived
    finally:
        loop.remove_reader(descriptor)


def _settle(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)
