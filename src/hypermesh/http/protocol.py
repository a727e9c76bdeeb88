"""HTTP/1.1 as uvicorn speaks it, with a bound on all that a client can take: the bytes before a
body, the time until a request is whole, the requests under way.

Too many requests are refused before anything is made of them, and the connection that brought one
is not read again until Retry-After has passed. So a client that does not wait costs the node one
refusal a second, whatever it sends, and those whom the node serves hardly notice it.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle, Transport

import msgspec
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from hypermesh.http.problem import MEDIA_TYPE, RETRY_AFTER_S
from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.errors import HyperMeshError, InvalidInput, Overloaded

HEAD_BYTES_MAX = 64 * 1024
"""Request line and headers of one request."""
REQUEST_S = 30.0
"""From a connection's first instant, or a request's first byte, until the request is whole."""
UNDER_WAY_MAX = 256
"""Requests of one listener that have no answer yet; streams of events are among them."""
CONNECTIONS_MAX = 512
"""Of one listener."""


class TooSlow(HyperMeshError):
    """The request did not come within the time for it."""

    code = "HM-API-0010"
    status = 408
    exit_code = 7
    title = f"The request was not whole within {REQUEST_S:g} s"


_TOO_MANY = Overloaded(f"{UNDER_WAY_MAX} requests are under way already")


class HttpProtocol(HttpToolsProtocol):
    """Refuses a head without end, a request that does not come, and what is too much; and says
    every refusal of its own as problem details."""

    _in_head = True
    _head_bytes = 0
    _whole = False
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_rest()
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse(Overloaded("Too many connections are open"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The head of the request is too long")
        if self._whole:
            self._drop_deadline()
        else:
            self._await_rest()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._whole = True, 0, False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        if self._head_bytes > HEAD_BYTES_MAX:
            # The parser ends on an exception in a callback, and uvicorn answers 400.
            raise ValueError("the head is too long")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        # Its task begins after this, so it has written nothing yet.
        self.cycle.transport = _Joined(self.transport, self.loop)  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        self._whole = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidInput("This is not an HTTP request that can be read here", why=msg))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if len(self.tasks) < UNDER_WAY_MAX:
            super()._start_asgi_task(cycle, app)
            return
        cycle.response_started = cycle.response_complete = True
        if self.pipeline or not cycle.keep_alive:
            self._refuse(_TOO_MANY)
            return
        self.transport.write(_answer(_TOO_MANY, b""))
        self.on_response_complete()
        self.flow.pause_reading()
        self.loop.call_later(RETRY_AFTER_S, self._read_again)

    def _read_again(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def _await_rest(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self._give_up)

    def _drop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if not self._in_head:
            # The route waits for the body, and finds the connection gone.
            self.transport.close()
        else:
            self._refuse(TooSlow())

    def _refuse(self, error: HyperMeshError) -> None:
        self.transport.write(_answer(error, b"connection: close\r\n"))
        self.transport.close()


class _Joined:
    """The transport of one answer: its head waits for its body, as long as that is there before the
    event loop turns, and both go to the kernel together. What the two system calls cost is a large
    part of a small answer, for the client too, whom each of them wakes."""

    __slots__ = ("_held", "_is_first", "_loop", "_transport")

    def __init__(self, transport: Transport, loop: AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._is_first = True

    def write(self, data: bytes) -> None:
        if self._is_first:
            self._is_first = False
            self._held = data
            self._loop.call_soon(self._flush)
        elif self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)


def _answer(error: HyperMeshError, header: bytes) -> bytes:
    body = msgspec.json.encode(ProblemDetails.of(error))
    if error.status == 503:
        header += b"retry-after: %d\r\n" % RETRY_AFTER_S
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        STATUS_LINE[error.status],
        MEDIA_TYPE.encode(),
        len(body),
        header,
        body,
    )
