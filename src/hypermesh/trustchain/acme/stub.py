"""A stub resolver (RFC 1034 section 5.3.1): one question at a time to one configured server.

Each question goes out on a socket of its own, so port and id are both to be guessed by who would
answer in the server's place (RFC 5452 section 9.2). What does not answer the question is not looked
at, and the wait goes on. Messages are written and read in Rust.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from dataclasses import dataclass

from hypermesh._native import dns_answer, dns_query

TRY_S = 2.0
"""From one datagram to the next with the same question, and of one answer over TCP."""
TRIES = 3
NO_ERROR, NO_SUCH_NAME = 0, 3
"""Response codes (RFC 1035 section 4.1.1) that say what there is."""
_MESSAGE_BYTES_MAX = 65_535
_TOGETHER_MAX = 64
"""Datagrams that are read before others have their turn."""


class NotAnswered(Exception):
    """The server did not say what there is; the text says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """`data` of the records of the type asked for, in wire form, at the end of aliases; `ttl_s`
    says for how long that there are these, or none, may be remembered."""

    data: list[bytes]
    ttl_s: int | None


class Stub:
    """Asks the server at `address`, in one event loop."""

    def __init__(self, address: str, port: int) -> None:
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._server = (address, port)

    async def ask(self, name: str, kind: int) -> Found:
        """The records of the type `kind` that the name `name`, in text, has. Raises `NotAnswered`
        and `OSError`."""
        try:
            query = dns_query(secrets.randbits(16), name, kind)
        except ValueError as error:
            raise NotAnswered(str(error)) from error
        rcode, truncated, data, ttl_s = await self._by_datagrams(query)
        if truncated:
            rcode, truncated, data, ttl_s = await self._by_stream(query)
        if truncated or rcode not in (NO_ERROR, NO_SUCH_NAME):
            raise NotAnswered(f"the server answers with code {rcode}")
        return Found(data, ttl_s)

    async def _by_datagrams(self, query: bytes) -> _Answer:
        loop = asyncio.get_running_loop()
        with socket.socket(self._family, socket.SOCK_DGRAM) as opened:
            opened.setblocking(False)
            # A connected socket takes nothing from others, and hears that nobody is there.
            opened.connect(self._server)
            exchange = _Exchange(opened, query, loop)
            loop.add_reader(opened, exchange.read)
            try:
                exchange.send()
                return await exchange.answer
            finally:
                loop.remove_reader(opened)
                exchange.end()

    async def _by_stream(self, query: bytes) -> _Answer:
        try:
            async with asyncio.timeout(TRY_S):
                reader, writer = await asyncio.open_connection(*self._server)
                try:
                    writer.write(len(query).to_bytes(2, "big") + query)
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    message = await reader.readexactly(size)
                finally:
                    writer.transport.abort()
        except TimeoutError as error:
            raise NotAnswered(f"no answer over TCP within {TRY_S:g} s") from error
        except asyncio.IncompleteReadError as error:
            raise NotAnswered("the answer over TCP is cut off") from error
        found = dns_answer(query, message)
        if found is None:
            raise NotAnswered("what came over TCP is no answer")
        return found


_Answer = tuple[int, bool, list[bytes], int | None]


class _Exchange:
    """One question over datagrams until it is answered, `TRIES` times at most."""

    def __init__(
        self, opened: socket.socket, query: bytes, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.answer: asyncio.Future[_Answer] = loop.create_future()
        self._socket = opened
        self._query = query
        self._loop = loop
        self._tries = 0
        self._again: asyncio.TimerHandle | None = None

    def send(self) -> None:
        """Ask, and once more if nothing comes."""
        if self.answer.done():
            return
        if self._tries == TRIES:
            self._fail(NotAnswered(f"no answer within {TRIES * TRY_S:g} s"))
            return
        self._tries += 1
        self._again = self._loop.call_later(TRY_S, self.send)
        try:
            self._socket.send(self._query)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)

    def read(self) -> None:
        """Take what came."""
        for _ in range(_TOGETHER_MAX):
            if self.answer.done():
                return
            try:
                message = self._socket.recv(_MESSAGE_BYTES_MAX)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._fail(error)
                return
            found = dns_answer(self._query, message)
            if found is not None:
                self.answer.set_result(found)

    def end(self) -> None:
        """Ask no more."""
        if self._again is not None:
            self._again.cancel()

    def _fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
