"""Certificates as other QUIC stacks know them, an echo, and aioquic on either side."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import HandshakeCompleted, QuicEvent, StreamDataReceived
from aioquic.tls import SessionTicket
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hypermesh.stoq.errors import ConnectionClosed, ConnectionLost, EndpointClosed, TimedOut
from hypermesh.stoq.open import AcceptedStream, Certificate, OpenConnection, OpenEndpoint

from .network import DEADLINE_S

ALPN = "interop/1"
NAME = "peer.example"
STREAM_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class Authority:
    """A root and one server's certificate under it, both P-256."""

    root: bytes
    leaf: bytes
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def found(cls) -> Authority:
        root_key = ec.generate_private_key(ec.SECP256R1())
        key = ec.generate_private_key(ec.SECP256R1())
        root = _certificate("root", root_key, "root", root_key, authority=True)
        leaf = _certificate(NAME, key, "root", root_key, authority=False)
        return cls(root, leaf, key)

    @property
    def certificate(self) -> Certificate:
        """For an open endpoint of ours."""
        return Certificate(
            (self.leaf,),
            self.key.private_bytes(
                serialization.Encoding.DER,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    @property
    def root_pem(self) -> bytes:
        return x509.load_der_x509_certificate(self.root).public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> bytes:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.DER)


@dataclass
class Echo:
    """What an echo of ours has seen."""

    connections: list[OpenConnection] = field(default_factory=list)
    streams: int = 0
    early: int = 0


@contextmanager
def echoing(endpoint: OpenEndpoint) -> Iterator[Echo]:
    """Every stream of every client gets back what it sends."""
    stop = threading.Event()
    seen = Echo()
    failures: list[BaseException] = []
    threads: list[threading.Thread] = []

    def run(work: Any, *arguments: Any) -> None:
        def guarded() -> None:
            try:
                work(*arguments)
            except (ConnectionClosed, ConnectionLost, EndpointClosed):
                pass
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

        thread = threading.Thread(target=guarded)
        threads.append(thread)
        thread.start()

    def clients() -> None:
        while not stop.is_set():
            try:
                connection = endpoint.accept(timeout_ms=50)
            except TimedOut:
                continue
            seen.connections.append(connection)
            run(streams, connection)

    def streams(connection: OpenConnection) -> None:
        while not stop.is_set() and connection.ended is None:
            try:
                accepted = connection.accept_stream(timeout_ms=50)
            except TimedOut:
                continue
            seen.streams += 1
            seen.early += accepted.early
            run(echo, accepted)

    def echo(accepted: AcceptedStream) -> None:
        while data := accepted.stream.read():
            accepted.stream.write(data)
        accepted.stream.finish()

    run(clients)
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in threads)
        assert not failures, failures


def asked(connection: OpenConnection, payload: bytes) -> bytes:
    """What comes back on one stream for `payload`, sent and read at the same time."""
    stream = connection.open_stream()

    def send() -> None:
        stream.write(payload)
        stream.finish()

    sender = threading.Thread(target=send)
    sender.start()
    back = bytearray()
    while data := stream.read():
        back += data
    sender.join(DEADLINE_S)
    return bytes(back)


class Client(QuicConnectionProtocol):
    """aioquic, remembering how its handshake ended."""

    handshake: HandshakeCompleted | None = None
    is_deaf = False
    """It reads no stream."""

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.handshake = event
        if self.is_deaf and isinstance(event, StreamDataReceived):
            return
        super().quic_event_received(event)

    async def asked(self, payload: bytes) -> bytes:
        """What comes back on one stream for `payload`."""
        reader, writer = await self.create_stream()
        writer.write(payload)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), DEADLINE_S)


@asynccontextmanager
async def dialled(
    address: tuple[str, int],
    authority: Authority,
    *,
    alpn: str = ALPN,
    tickets: list[SessionTicket] | None = None,
    wait: bool = True,
    **settings: Any,
) -> AsyncIterator[Client]:
    """aioquic as client. `tickets` collects those of the server; `settings` go to aioquic."""
    configuration = QuicConfiguration(
        alpn_protocols=[alpn],
        cadata=authority.root_pem,
        server_name=NAME,
        max_data=STREAM_BYTES_MAX,
        max_stream_data=STREAM_BYTES_MAX,
        **settings,
    )
    async with connect(
        *address,
        configuration=configuration,
        create_protocol=Client,
        session_ticket_handler=None if tickets is None else tickets.append,
        wait_connected=wait,
    ) as client:
        assert isinstance(client, Client)
        yield client


class _EchoProtocol(QuicConnectionProtocol):
    served: Served

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.served.handshakes.append(event)
        if isinstance(event, StreamDataReceived):
            self._quic.send_stream_data(event.stream_id, event.data, event.end_stream)
            self.transmit()


@dataclass
class Served:
    """aioquic as server: where it listens, and what it has seen."""

    address: tuple[str, int] = ("", 0)
    handshakes: list[HandshakeCompleted] = field(default_factory=list)
    protocols: list[QuicConnectionProtocol] = field(default_factory=list)
    tickets: dict[bytes, SessionTicket] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop | None = None


@contextmanager
def aioquic_server(
    authority: Authority, *, retry: bool = False, **settings: Any
) -> Iterator[Served]:
    """An echo by aioquic, in a thread of its own."""
    configuration = QuicConfiguration(
        is_client=False,
        alpn_protocols=[ALPN],
        max_data=STREAM_BYTES_MAX,
        max_stream_data=STREAM_BYTES_MAX,
        **settings,
    )
    configuration.certificate = x509.load_der_x509_certificate(authority.leaf)
    configuration.private_key = authority.key
    served = Served()
    ready: Future[None] = Future()

    def made(*arguments: Any, **keywords: Any) -> _EchoProtocol:
        protocol = _EchoProtocol(*arguments, **keywords)
        protocol.served = served
        served.protocols.append(protocol)
        return protocol

    async def run() -> None:
        served.loop = asyncio.get_running_loop()
        server = await serve(
            "::1",
            0,
            configuration=configuration,
            create_protocol=made,
            retry=retry,
            session_ticket_fetcher=lambda label: served.tickets.pop(label, None),
            session_ticket_handler=lambda ticket: served.tickets.update({ticket.ticket: ticket}),
        )
        transport = server._transport
        host, port, *_ = transport.get_extra_info("sockname")
        served.address = (host, port)
        ready.set_result(None)
        await stop.wait()
        server.close()

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        ready.result(DEADLINE_S)
        yield served
    finally:
        assert served.loop is not None
        served.loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
