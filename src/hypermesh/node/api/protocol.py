"""HTTP/1.1 as uvicorn speaks it, with a bound on what comes before a body."""

from __future__ import annotations

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hypermesh.node.api.problem import MEDIA_TYPE
from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.errors import InvalidInput

HEAD_BYTES_MAX = 64 * 1024
"""Request line and headers of one request."""


class HttpProtocol(HttpToolsProtocol):
    """Refuses a head without end, and says every refusal of its own as problem details."""

    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The head of the request is too long")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        if self._head_bytes > HEAD_BYTES_MAX:
            # The parser ends on an exception in a callback, and uvicorn answers 400.
            raise ValueError("the head is too long")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        error = InvalidInput("This is not an HTTP request that can be read here", why=msg)
        body = msgspec.json.encode(ProblemDetails.of(error))
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: %b\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (MEDIA_TYPE.encode(), len(body), body)
        )
        self.transport.close()
