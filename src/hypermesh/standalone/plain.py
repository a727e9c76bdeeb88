"""An echo for programs that speak plain QUIC and know nothing of the mesh.

It shows the certificate that it is given and lets everybody in: what comes on a stream goes back on
it. Nothing else of the server can be reached this way, and no tunnel.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from hypermesh.standalone.errors import SettingsInvalid
from hypermesh.standalone.peers import Server
from hypermesh.stoq.errors import TimedOut
from hypermesh.stoq.open import Certificate, OpenConnection, OpenEndpoint
from hypermesh.stoq.stream import Stream
from hypermesh.wire.errors import HyperMeshError

ALPN = "stoq-echo"
CONNECTIONS_MAX = 32
STREAMS_MAX = 64
"""Of all connections together. One more is left alone until its peer gives up or one ends."""
POLL_MS = 200
BUSY = 1
"""The code of a connection that is closed for being one too many."""
FILE_BYTES_MAX = 1 << 20


def read_certificate(chain: Path, key: Path) -> Certificate:
    """A chain, leaf first, and the leaf's secret key, from PEM files. Raises `SettingsInvalid`."""
    try:
        found = x509.load_pem_x509_certificates(_bytes(chain))
        secret = load_pem_private_key(_bytes(key), password=None)
    except (ValueError, TypeError) as error:
        raise SettingsInvalid(f"{chain} and {key} are no certificates and key") from error
    return Certificate(
        tuple(each.public_bytes(Encoding.DER) for each in found),
        secret.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    )


class PlainEcho:
    """The echo at one place: from `start` until `close`."""

    def __init__(self, place: Server, certificate: Certificate) -> None:
        """Raises `BindRefused`, `InvalidIdentity`."""
        self._endpoint = OpenEndpoint.bind(*place, alpn=ALPN, certificate=certificate)
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._streams = threading.BoundedSemaphore(STREAMS_MAX)
        self._pool = ThreadPoolExecutor(CONNECTIONS_MAX + STREAMS_MAX, thread_name_prefix="echo")
        self._accepting = threading.Thread(target=self._accept, name="echo", daemon=True)
        self._stopping = threading.Event()

    @property
    def address(self) -> tuple[str, int]:
        return self._endpoint.address

    def start(self) -> None:
        self._accepting.start()

    def close(self) -> None:
        """End everything here."""
        self._stopping.set()
        self._endpoint.close("the server goes down")
        if self._accepting.is_alive():
            self._accepting.join()
        self._pool.shutdown()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection = self._endpoint.accept(timeout_ms=POLL_MS)
            except TimedOut:
                continue
            except HyperMeshError:
                return
            if self._places.acquire(blocking=False):
                self._pool.submit(self._serve, connection)
            else:
                connection.close(BUSY, "too many connections")

    def _serve(self, connection: OpenConnection) -> None:
        try:
            while not self._stopping.is_set() and connection.ended is None:
                if not self._streams.acquire(timeout=POLL_MS / 1000):
                    continue
                try:
                    stream = connection.accept_stream(timeout_ms=POLL_MS).stream
                except HyperMeshError:
                    # None has come, or none will: then it has ended.
                    self._streams.release()
                else:
                    self._pool.submit(self._echo, stream)
        finally:
            connection.close()
            self._places.release()

    def _echo(self, stream: Stream) -> None:
        try:
            while data := stream.read():
                stream.write(data)
            stream.finish()
        except HyperMeshError:
            pass  # Its peer or its connection has gone, or nothing came for long.
        finally:
            self._streams.release()


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(FILE_BYTES_MAX)
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be read", why=error.strerror or "") from error
