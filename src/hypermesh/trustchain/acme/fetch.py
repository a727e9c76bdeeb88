"""One GET over HTTP/1.1 (RFC 9112) on a connection of its own, of whose answer a bounded part is
read.

A challenge is looked at once and by address, so nothing of a general client is of use here: no
pool, no cookies, no redirects of its own. The parser is that of the server (llhttp, strict).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httptools

HEAD_BYTES_MAX = 64 * 1024
READ_BYTES = 16 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_INTERIM = range(100, 200)


class NotHttp(Exception):
    """What came is no answer that can be read, or not all of one."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer. Of the body there is as much as was asked for, and a piece more at most; none of a
    redirect's."""

    status: int
    location: str | None
    body: bytes


async def fetch(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, target: str, most: int
) -> Fetched:
    """GET `target` of `host`; more than `most` bytes of the body are not waited for. Both are ASCII
    without white space. Raises `NotHttp` and `OSError`."""
    writer.write(
        b"GET %b HTTP/1.1\r\nhost: %b\r\nuser-agent: hypermesh-acme\r\naccept: */*\r\n"
        b"accept-encoding: identity\r\nconnection: close\r\n\r\n"
        % (target.encode("ascii"), host.encode("ascii"))
    )
    answer = _Answer()
    read = 0
    while not answer.is_whole:
        data = await reader.read(READ_BYTES)
        if not data:
            if answer.is_whole_at_end:
                break
            raise NotHttp("the connection ended before the answer did")
        answer.feed(data)
        if answer.has_head and (answer.is_redirect or len(answer.body) > most):
            break
        read += len(data)
        if read > HEAD_BYTES_MAX + most:
            raise NotHttp("the answer is too long")
    return Fetched(answer.status, answer.location, bytes(answer.body))


class _Answer:
    """The final answer (RFC 9110 section 15.2 has others before it), as the parser tells it."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.location: str | None = None
        self.body = bytearray()
        self.has_head = False
        self.is_whole = False
        self._is_framed = False

    def feed(self, data: bytes) -> None:
        """Raises `NotHttp`."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_whole:
                raise NotHttp(str(error)) from error

    @property
    def is_redirect(self) -> bool:
        return self.status in REDIRECTS and self.location is not None

    @property
    def is_whole_at_end(self) -> bool:
        """Whether the end of the connection is that of the answer (RFC 9112 section 6.3)."""
        return self.has_head and not self._is_framed

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"location":
                self.location = value.decode("latin-1")
            case b"content-length" | b"transfer-encoding":
                self._is_framed = True

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.has_head = self.status not in _INTERIM

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        if not self.has_head:
            self._begin()
            return
        self.is_whole = True
        # What follows is not asked for; the parser ends on an exception in a callback.
        raise NotHttp("the answer is over")
