"""The socket that CometBFT connects to: ABCI over a UNIX socket, four ordered connections.

A message is an unsigned varint with its length, then its bytes; a request's response comes back in
the order of the requests (CometBFT v0.39.3, abci/client/socket_client.go). The engine opens four
connections, for queries, snapshots, transactions and blocks, and says nowhere which is which: the
one for blocks shows itself by what it asks.

What goes wrong stays where it is: malformed input closes its connection, with the reason logged.
Two things end the engine, and both are reported once through `ended`: the connection for blocks is
lost, or the application cannot answer.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from hypermesh.ledger.engines.comet import messages as abci
from hypermesh.ledger.engines.comet.errors import AbciMalformed, EngineStopped
from hypermesh.ledger.engines.comet.protobuf import (
    VARINT_BYTES_MAX,
    decode_one,
    encode_one,
    varint,
)

CONNECTIONS_MAX: Final = 8
"""The engine needs four; some more for the moment when old ones have not closed yet."""
MESSAGE_BYTES_MAX: Final = 8 << 20
"""Twice what a block and its votes can be."""
WRITE_S_MAX: Final = 30
"""How long the engine may leave a response unread."""
STOP_S_MAX: Final = 5.0

log = logging.getLogger(__name__)


class Answering(Protocol):
    """What answers requests, one at a time."""

    def answer(self, request: object) -> object:
        """The response to a request; an exception where there is none and there will be none."""
        ...


class Server:
    """Serves one application to one engine."""

    def __init__(
        self, path: Path, application: Answering, ended: Callable[[BaseException], None]
    ) -> None:
        """`ended` is called from a thread of the server; it must not call `stop`."""
        self._path = path
        self._application = application
        self._ended = ended
        self._turn = threading.Lock()
        self._stopping = False
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen. The socket is open to its owner alone, in a directory that is, too."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener = listener
        listener.bind(str(self._path))
        self._path.chmod(0o600)
        listener.listen(CONNECTIONS_MAX)
        self._thread = threading.Thread(
            target=self._accept, args=(listener,), name="abci-accept", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close every connection, after the request in work."""
        self._stopping = True
        if self._listener is None or self._thread is None:
            return
        _shut(self._listener)
        with self._lock:
            serving = dict(self._connections)
        for connection in serving:
            _shut(connection)
        for thread in (self._thread, *serving.values()):
            thread.join(STOP_S_MAX)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                if self._stopping or len(self._connections) >= CONNECTIONS_MAX:
                    log.warning("an ABCI connection is closed: %d are open", CONNECTIONS_MAX)
                    connection.close()
                    continue
                thread = threading.Thread(
                    target=self._serve, args=(connection,), name="abci", daemon=True
                )
                self._connections[connection] = thread
                # Under the lock, so that `stop` joins no thread that has not started.
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        ordering = False
        reason = "the engine closed it"
        try:
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", WRITE_S_MAX, 0)
            )
            with connection.makefile("rb") as stream:
                while (data := read_message(stream)) is not None:
                    request = decode_one(abci.REQUESTS, data)
                    if isinstance(request, abci.ORDERING):
                        ordering = True
                    connection.sendall(self._response(request))
        except AbciMalformed as error:
            reason = str(error)
            log.warning("an ABCI connection is closed: %s", reason)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
        except Exception as failure:
            log.exception("the application cannot answer the engine")
            self._end(failure)
            self._say(connection, failure)
        finally:
            with self._lock:
                del self._connections[connection]
            connection.close()
        if ordering:
            self._end(EngineStopped(why=f"the connection for blocks is lost: {reason}"))

    def _response(self, request: object) -> bytes:
        with self._turn:
            return frame(encode_one(abci.RESPONSE_NUMBERS, self._application.answer(request)))

    def _say(self, connection: socket.socket, failure: Exception) -> None:
        """Tell the engine, which stops at an exception of its application."""
        exception = abci.ResponseException(f"{type(failure).__name__}: {failure}")
        try:
            connection.sendall(frame(encode_one(abci.RESPONSE_NUMBERS, exception)))
        except OSError:
            log.warning("the engine is gone before it heard why")

    def _end(self, failure: BaseException) -> None:
        if not self._stopping:
            self._ended(failure)


class Readable(Protocol):
    def read(self, size: int) -> bytes: ...


def frame(message: bytes) -> bytes:
    """`message` with its length before it."""
    return varint(len(message)) + message


def read_message(stream: Readable) -> bytes | None:
    """The next message; None where the stream ends between two. Raises `AbciMalformed`."""
    size = shift = 0
    while True:
        byte = stream.read(1)
        if not byte:
            if shift == 0:
                return None
            raise AbciMalformed(why="the stream ends within a length")
        size |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            break
        shift += 7
        if shift >= 7 * VARINT_BYTES_MAX:
            raise AbciMalformed(why="a length is longer than a number can be")
    if size > MESSAGE_BYTES_MAX:
        raise AbciMalformed(why=f"a message of {size} bytes, at most {MESSAGE_BYTES_MAX} are taken")
    data = stream.read(size)
    if len(data) < size:
        raise AbciMalformed(why=f"the stream ends {size - len(data)} bytes before its message")
    return data


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        connection.close()
