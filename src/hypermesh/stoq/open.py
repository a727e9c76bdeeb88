"""Plain QUIC, for programs that know nothing of the mesh.

TLS as other stacks do it: the server shows a certificate, the client none, and the key exchange may
be classic. No protocol of the mesh can be spoken this way (names that begin with `hm` are refused),
and nothing of the mesh is behind it: no node's identity, no services, no regions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, final

from hypermesh import _native
from hypermesh.stoq.endpoint import CONNECT_TIMEOUT_MS
from hypermesh.stoq.stream import TIMEOUT_MS, Stream
from hypermesh.wire.errors import HyperMeshError


class Certificate(NamedTuple):
    """A chain, leaf first, and the secret key of the leaf in PKCS #8; all DER."""

    chain: Sequence[bytes]
    key: bytes


class Handshake(NamedTuple):
    """What TLS has negotiated so far. `group`: the key exchange, by its IANA name."""

    alpn: str | None
    group: str | None
    resumed: bool
    key_updates: int


class AcceptedStream(NamedTuple):
    """A stream of the peer. `early`: it came before the handshake was done, so it may have been
    played again by someone else, and must change nothing."""

    stream: Stream
    early: bool


@final
class OpenConnection:
    """A connection of an open protocol. Thread-safe. It closes with its last reference."""

    __slots__ = ("_native",)

    def __init__(self, native: _native.OpenConnection) -> None:
        self._native = native

    @property
    def remote(self) -> tuple[str, int]:
        """Address and UDP port of the peer."""
        return self._native.remote

    @property
    def handshake(self) -> Handshake:
        """Protocol, key exchange, resumption, key changes."""
        return Handshake(*self._native.handshake())

    @property
    def ended(self) -> HyperMeshError | None:
        """Why the connection has ended; `None` while it lives."""
        return self._native.ended()

    def early_accepted(self, *, timeout_ms: int = TIMEOUT_MS) -> bool:
        """Whether the server took what was sent before the handshake; waits until it is known.
        Where it did not, those streams raise `StreamReset`, and are to be opened again."""
        return self._native.early_accepted(timeout_ms)

    def open_stream(self, *, timeout_ms: int = TIMEOUT_MS) -> Stream:
        """A stream both ways. The peer learns of it with its first bytes."""
        return Stream(self._native.open_stream(timeout_ms))

    def accept_stream(self, *, timeout_ms: int = TIMEOUT_MS) -> AcceptedStream:
        """The next stream of the peer. Raises `TimedOut`, or what ended the connection."""
        stream, early = self._native.accept_stream(timeout_ms)
        return AcceptedStream(Stream(stream), early)

    def update_keys(self) -> None:
        """Change the keys with the next packet."""
        self._native.update_keys()

    def close(self, code: int = 0, reason: str = "") -> None:
        """End the connection and everything on it."""
        self._native.close(code, reason)

    def __enter__(self) -> OpenConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@final
class OpenEndpoint:
    """A socket for connections of one open protocol. Thread-safe."""

    __slots__ = ("_native",)

    def __init__(self, native: _native.OpenEndpoint) -> None:
        self._native = native

    @classmethod
    def bind(
        cls,
        host: str = "::1",
        port: int = 0,
        *,
        alpn: str,
        roots: Iterable[bytes] = (),
        certificate: Certificate | None = None,
        retry: bool = False,
    ) -> OpenEndpoint:
        """Listen at an IPv6 address. `roots` (DER): whom it believes as client; `certificate`:
        who it is as server, without which it accepts nobody; `retry`: each client must first show
        that it receives at its address.

        Raises `ProtocolMismatch` for a name of the mesh, `InvalidIdentity`, `BindRefused`.
        """
        service = None if certificate is None else (*certificate, retry)
        native = _native.OpenEndpoint.bind(
            host=host, port=port, alpn=alpn, roots=tuple(roots), service=service
        )
        return cls(native)

    @property
    def address(self) -> tuple[str, int]:
        """Host and UDP port that it listens at."""
        return self._native.address

    def connect(
        self,
        host: str,
        port: int,
        name: str,
        *,
        early: bool = False,
        timeout_ms: int = CONNECT_TIMEOUT_MS,
    ) -> OpenConnection:
        """Dial an IPv6 address whose certificate must be for `name`.

        `early`: where a ticket of an earlier connection allows it, returns before the handshake,
        and what is written goes out with the first packets. Others can play those again, so they
        must ask for nothing that changes anything.
        """
        native = self._native.connect(
            host=host, port=port, name=name, early=early, timeout_ms=timeout_ms
        )
        return OpenConnection(native)

    def accept(self, *, timeout_ms: int = TIMEOUT_MS) -> OpenConnection:
        """The next client, whose handshake may still be under way. Raises `TimedOut`,
        `EndpointClosed`."""
        return OpenConnection(self._native.accept(timeout_ms))

    def close(self, reason: str = "") -> None:
        """End everything here."""
        self._native.close(reason)

    def __enter__(self) -> OpenEndpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
