"""Tunnels: local sockets carried over STOQ. Sockets are opened here; bytes move in Rust.

The side that offers a service connects to the one target that its owner has set. The side that uses
it listens, and carries each connection that it accepts over a stream of its own.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, final

from hypermesh import _native
from hypermesh.crypto.digest import digest
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.errors import BindRefused, TargetRefused
from hypermesh.stoq.request import Request
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.errors import HyperMeshError, Overloaded
from hypermesh.wire.ids import AssetId, Hash, NodeId, asset_id_from
from hypermesh.wire.rpc import SERVICE_ECHO, SERVICE_TUNNEL
from hypermesh.wire.tunnel import Carriage, Family, Opening, Place

LIMIT_DEFAULT = 256
LIMIT_MAX = 1024
"""Connections of one tunnel at a time (`TUNNEL_STREAMS_MAX` in `crates/stoq/src/limits.rs`)."""

STREAMS_OF_ONE = 96
"""Of a connection, below the peer's bound (`STREAMS_MAX`): one more asks for another connection."""
CONNECTIONS_MAX = 11
"""Of one tunnel to one peer: enough for `LIMIT_MAX`."""
QUIET_S = 3.0
"""After so long a connection is tried before a new stream relies on it."""
TRIAL_TIMEOUT_MS = 2_000
RETRY_S = 1.0
"""How long after a failed dial the next connections fail with the same reason at once."""
BACKLOG = LIMIT_MAX
"""All of a tunnel may come at once; the kernel lets at most `net.core.somaxconn` wait."""
POLL_S = 0.5

log = logging.getLogger(__name__)


class TunnelStats(NamedTuple):
    """What a tunnel has done. Bytes go out from the local socket and come in to it. Of UDP packets
    that went out, `datagrams` did in QUIC datagrams and `streamed_datagrams` over a stream;
    `dropped_datagrams`, of either direction, found no room."""

    open: int
    opened: int
    refused: int
    failed: int
    dropped_datagrams: int
    datagrams: int
    streamed_datagrams: int
    bytes_out: int
    bytes_in: int


class Failure(NamedTuple):
    """Why the last connection that did not go well did not."""

    error: HyperMeshError
    at_ms: int


def service_id(network: Hash, node: NodeId, name: str) -> AssetId:
    """The id of the service that `node` offers under `name`: whoever knows these finds it."""
    return asset_id_from(digest("service", network + node + name.encode()))


def service_address(network: Hash, node: NodeId, name: str) -> GlobalAddress:
    """Where that service is."""
    return GlobalAddress.of(network, node, service_id(network, node, name), SERVICE_TUNNEL)


@final
class Tunnel:
    """The streams of one service, or of one socket that is forwarded. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._native = _native.StoqTunnel(limit)
        self._refused = 0
        self._last: Failure | None = None

    def serve(self, request: Request, target: Place) -> None:
        """Carry the stream that `request` opens to and from `target`. Whether the target takes the
        connection, the peer learns later. Raises `TargetRefused`, `Overloaded`; the request is then
        still to be refused."""
        try:
            connecting = connect(target)
        except TargetRefused as error:
            self.refused(error)
            raise
        datagrams = target.carriage is Carriage.DATAGRAMS
        self._native.serve(request.native, connecting.detach(), datagrams)

    def forward(self, connection: Connection, accepted: socket.socket, service: AssetId) -> None:
        """Carry `accepted` over a new stream of `connection`. Raises `Overloaded`."""
        opening = Opening(Carriage.BYTES, service).pack()
        self._native.forward(connection.native, accepted.detach(), opening)

    def forward_datagrams(
        self, connection: Connection, bound: socket.socket, service: AssetId
    ) -> None:
        """Carry the datagrams that reach `bound`, until the connection or the tunnel ends."""
        opening = Opening(Carriage.DATAGRAMS, service).pack()
        self._native.forward_datagrams(connection.native, os.dup(bound.fileno()), opening)

    def refused(self, error: HyperMeshError) -> None:
        """Count a connection that did not come about for `error`."""
        self._refused += 1
        self._last = Failure(error, time.time_ns() // 1_000_000)

    def stats(self) -> TunnelStats:
        stats = TunnelStats(*self._native.stats())
        return stats._replace(refused=stats.refused + self._refused)

    @property
    def last(self) -> Failure | None:
        """The last failure."""
        native = self._native.last()
        found = [each for each in (self._last, Failure(*native) if native else None) if each]
        return max(found, key=lambda each: each.at_ms, default=None)

    def close(self) -> None:
        """End all its streams with a reset; none begins from now on."""
        self._native.close()


def connect(target: Place) -> socket.socket:
    """A socket on its way to `target`; it does not wait. Raises `TargetRefused`."""
    made = _socket(target)
    try:
        made.setblocking(False)
        number = made.connect_ex(_address(target))
    except OSError as error:
        number = error.errno or errno.EINVAL
    if number not in (0, errno.EINPROGRESS):
        made.close()
        raise TargetRefused(why=os.strerror(number))
    return made


def listen(place: Place) -> socket.socket:
    """A socket that accepts at `place`, or takes datagrams there. A UNIX socket has mode 0600, and
    takes the place of one that nobody serves any more. Raises `BindRefused`."""
    made = _socket(place)
    try:
        if place.family is Family.UNIX:
            _bind_unix(made, Path(place.host))
        else:
            if place.family is Family.TCP:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if made.family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(_address(place))
        if place.family is not Family.UDP:
            made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise BindRefused(
            f"The node cannot listen at {place}",
            why=error.strerror or str(error),
            fix="Choose another place, or stop whoever has it",
        ) from error
    return made


def bound_place(asked: Place, listener: socket.socket) -> Place:
    """Where `listener` is: `asked`, with the port that the system chose where it was 0."""
    if asked.family is Family.UNIX or asked.port:
        return asked
    return Place(asked.family, asked.host, listener.getsockname()[1])


@final
class Bundle:
    """Connections to one peer for the streams of a tunnel; more where the peer's bound on streams
    asks for it. Used by one thread."""

    def __init__(self, dial: Callable[[], Connection]) -> None:
        self._dial = dial
        self._connections: dict[Connection, float] = {}
        """With when each last answered."""
        self._failed: tuple[float, HyperMeshError] | None = None

    def connection(self) -> Connection:
        """One that lives and has room. Raises what kept it from being dialled."""
        for connection, heard in list(self._connections.items()):
            if connection.ended is not None:
                del self._connections[connection]
            elif connection.tunnelled < STREAMS_OF_ONE and self._answers(connection, heard):
                return connection
        if len(self._connections) >= CONNECTIONS_MAX:
            raise Overloaded("Too many connections to this peer")
        now = time.monotonic()
        if self._failed is not None and now - self._failed[0] < RETRY_S:
            raise self._failed[1]
        try:
            made = self._dial()
        except HyperMeshError as error:
            self._failed = (time.monotonic(), error)
            raise
        self._connections[made] = time.monotonic()
        return made

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _answers(self, connection: Connection, heard: float) -> bool:
        """QUIC takes half a minute to miss a peer that died; a new stream shall not."""
        if time.monotonic() - heard < QUIET_S:
            return True
        try:
            connection.request(SERVICE_ECHO, b"", timeout_ms=TRIAL_TIMEOUT_MS)
        except HyperMeshError:
            # What still moves on it goes on; when nothing does, it ends by itself.
            del self._connections[connection]
            return False
        self._connections[connection] = time.monotonic()
        return True


@final
class Forwarding:
    """A thread that accepts at a local socket and forwards to one service."""

    def __init__(
        self,
        tunnel: Tunnel,
        listener: socket.socket,
        place: Place,
        service: AssetId,
        dial: Callable[[], Connection],
    ) -> None:
        """It takes `listener`, which listens at `place`."""
        self._tunnel = tunnel
        self._listener = listener
        self._place = place
        self._service = service
        self._bundle = Bundle(dial)
        self._inode = _inode(place)
        self._woken, self._wake = socket.socketpair()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="tunnel", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def retire(self) -> None:
        """Accept no more. What is open goes on until `stop`."""
        self._wake.close()
        if self._inode is not None and _inode(self._place) == self._inode:
            Path(self._place.host).unlink(missing_ok=True)

    @property
    def is_busy(self) -> bool:
        """Whether a connection is open. Datagrams have no end that could be waited for."""
        return self._place.family is not Family.UDP and self._tunnel.stats().open > 0

    def stop(self) -> None:
        """Accept no more, and end what is open with a reset."""
        self.retire()
        self._tunnel.close()
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(POLL_S)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _waits(self, selector: selectors.BaseSelector, timeout_s: float | None = None) -> bool:
        """Whether the listener has something; it has nothing more once this is to stop."""
        ready = selector.select(timeout_s)
        return bool(ready) and all(key.fileobj is self._listener for key, _ in ready)

    def _stopping(self) -> bool:
        return self._wake.fileno() < 0

    def _serve(self) -> None:
        try:
            if self._place.family is Family.UDP:
                self._datagrams()
            else:
                self._connections()
            self._ended.wait()
        finally:
            self._bundle.close()

    def _connections(self) -> None:
        with self._listener, self._woken, selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopping():
                if self._waits(selector):
                    self._accept()

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # Out of descriptors, as a rule: what is waiting can wait.
            log.warning("a tunnel at %s cannot accept: %s", self._place, error)
            time.sleep(POLL_S)
            return
        _prepare(accepted)
        try:
            connection = self._bundle.connection()
        except HyperMeshError as error:
            self._tunnel.refused(error)
            reset(accepted)
            return
        with contextlib.suppress(Overloaded):  # It is counted, and the socket closed.
            self._tunnel.forward(connection, accepted, self._service)

    def _datagrams(self) -> None:
        """Dials when somebody sends something and no connection lives."""
        carrying: Connection | None = None
        with self._listener, self._woken, selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            listening = False
            while not self._stopping():
                idle = carrying is None or carrying.ended is not None
                if idle and not listening:
                    selector.register(self._listener, selectors.EVENT_READ)
                    listening = True
                elif not idle and listening:
                    selector.unregister(self._listener)
                    listening = False
                if not self._waits(selector, None if idle else POLL_S):
                    continue
                try:
                    carrying = self._bundle.connection()
                except HyperMeshError as error:
                    self._tunnel.refused(error)
                    self._drain()
                else:
                    self._tunnel.forward_datagrams(carrying, self._listener, self._service)

    def _drain(self) -> None:
        """Lose what waits, as a network does whose other end is away."""
        with contextlib.suppress(BlockingIOError):
            while self._listener.recv(1, socket.MSG_TRUNC):
                pass


def reset(accepted: socket.socket) -> None:
    """Close so that the other end sees a reset, where its kind of socket has one."""
    with contextlib.suppress(OSError):
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    accepted.close()


def _socket(place: Place) -> socket.socket:
    if place.family is Family.UNIX:
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    if place.family is Family.UDP:
        return socket.socket(family, socket.SOCK_DGRAM)
    made = socket.socket(family, socket.SOCK_STREAM)
    _prepare(made)
    return made


def _prepare(stream: socket.socket) -> None:
    """What a program sends leaves at once, and a machine that is gone is missed in the end."""
    if stream.family != socket.AF_UNIX:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _address(place: Place) -> str | tuple[str, int]:
    return place.host if place.family is Family.UNIX else (place.host, place.port)


def _bind_unix(made: socket.socket, path: Path) -> None:
    if path.is_socket():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            trial.settimeout(1)
            try:
                trial.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
    # On Linux a socket has the mode of its descriptor before it is bound: no moment for others.
    os.fchmod(made.fileno(), 0o600)
    made.bind(str(path))


def _inode(place: Place) -> int | None:
    if place.family is not Family.UNIX:
        return None
    try:
        return Path(place.host).stat().st_ino
    except OSError:
        return None
