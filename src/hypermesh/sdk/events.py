"""What happens, as it happens: `mesh.events`.

The stream outlives its connections: when one breaks it connects again and goes on after the last
event, which the node reads back from its ledger. What it cannot read back it says with an event of
kind `reset`.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable
from contextlib import aclosing
from typing import Any, Final

import msgspec

from hypermesh.sdk.answer import AnswerInvalid, understood
from hypermesh.sdk.call import Call, given
from hypermesh.sdk.rest import AsyncRest, NodeNotRunning, Rest
from hypermesh.sdk.retry import ConnectionBroke, drawn
from hypermesh.wire.api.event import (
    AccountEvent,
    AssetEvent,
    BlockEvent,
    EventKind,
    JobEvent,
    LeaseStateEvent,
    LiveEvent,
    NameEvent,
    NodeEvent,
    PhaseEvent,
    ResetEvent,
)
from hypermesh.wire.decoding import NOT_DECODED, json_decoder
from hypermesh.wire.errors import HyperMeshError, Overloaded, Unreachable

SILENCE_S: Final = 45.0
"""A node says something every 15 s; after three times that long the connection is dead."""
LOST_S_MAX: Final = 60.0
"""How long a node that answered before may be away; a restart is well within."""
PAUSE_S: Final = 0.1
PAUSE_S_MAX: Final = 2.0
LINE_BYTES_MAX: Final = 16 << 20

Said = (
    BlockEvent
    | AssetEvent
    | LeaseStateEvent
    | JobEvent
    | NodeEvent
    | AccountEvent
    | NameEvent
    | PhaseEvent
    | LiveEvent
    | ResetEvent
)

_KINDS: Final[dict[str, type[Any]]] = {
    EventKind.BLOCK: BlockEvent,
    EventKind.ASSET: AssetEvent,
    EventKind.PRIVACY: AssetEvent,
    EventKind.LEASE: LeaseStateEvent,
    EventKind.JOB: JobEvent,
    EventKind.NODE: NodeEvent,
    EventKind.ACCOUNT: AccountEvent,
    EventKind.NAME: NameEvent,
    EventKind.PHASE: PhaseEvent,
    EventKind.LIVE: LiveEvent,
    EventKind.RESET: ResetEvent,
}


class Event(msgspec.Struct, frozen=True):
    """One event. `id` is its place on the ledger, by which a later stream can go on after it; None
    for what stands on no ledger."""

    id: str | None
    kind: EventKind
    data: Said


class Parser:
    """Server-sent events from their lines (HTML Living Standard, section 9.2.6). Pure."""

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        """The place that the stream has come to."""
        self._id: str | None = None
        self._kind = ""
        self._data: list[str] = []

    def feed(self, line: bytes) -> Event | None:
        """As `line`, for what came over the wire."""
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise AnswerInvalid(why=f"an event is not UTF-8: {error}") from error
        return self.line(text.rstrip("\r\n"))

    def line(self, line: str) -> Event | None:
        """The event that `line` completes. Raises `AnswerInvalid`."""
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self._id = self.last_id = value
            elif name == "event":
                self._kind = value
            elif name == "data":
                self._data.append(value)
            return None
        place, kind, data = self._id, self._kind, self._data
        self._id, self._kind, self._data = None, "", []
        if not data or kind not in _KINDS:
            # A heartbeat, or an event of a newer node.
            return None
        try:
            said = json_decoder(_KINDS[kind]).decode("\n".join(data).encode())
        except NOT_DECODED as error:
            raise AnswerInvalid(why=f"an event of kind {kind}: {error}") from error
        return Event(place, EventKind(kind), said)


class Events:
    """`mesh.events`.

    for event in mesh.events(kinds=["block", "lease"]):
        print(event.kind, event.data)
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def __call__(
        self, since: str | None = None, kinds: Iterable[str] | None = None
    ) -> Generator[Event]:
        """Events of `kinds` (all of them by default) after `since`, an event's id ("0.0" is all
        that is kept), or from now on. It goes on for ever, over restarts of the node; one that is
        away for longer than a minute is raised as `Unreachable`."""
        parser = Parser(since)
        pauses = _Pauses()
        while True:
            try:
                yield from self._connected(parser, kinds, pauses)
                # The node has ended the stream: it goes down, or this client was too slow.
                pause = pauses.after(ConnectionBroke())
            except HyperMeshError as error:
                pause = pauses.after(error)
            time.sleep(pause)

    def _connected(
        self, parser: Parser, kinds: Iterable[str] | None, pauses: _Pauses
    ) -> Generator[Event]:
        call = _call(kinds)
        connection = self._rest.connection(SILENCE_S)
        try:
            connection.request("GET", call.target, headers=_headers(parser.last_id))
            answer = connection.getresponse()
            if answer.status >= 400:
                understood(call, answer.status, answer.read())
            pauses.connected()
            while line := answer.readline(LINE_BYTES_MAX):
                event = parser.feed(line)
                if event is not None:
                    yield event
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NodeNotRunning(why=str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionBroke(why=str(error) or type(error).__name__) from error
        finally:
            connection.close()


class AsyncEvents:
    """As `Events`, for asyncio.

    async for event in mesh.events(kinds=["block"]):
        print(event.data)
    """

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def __call__(
        self, since: str | None = None, kinds: Iterable[str] | None = None
    ) -> AsyncGenerator[Event]:
        """As `Events.__call__`."""
        parser = Parser(since)
        pauses = _Pauses()
        while True:
            try:
                async with aclosing(self._connected(parser, kinds, pauses)) as events:
                    async for event in events:
                        yield event
                pause = pauses.after(ConnectionBroke())
            except HyperMeshError as error:
                pause = pauses.after(error)
            await asyncio.sleep(pause)

    async def _connected(
        self, parser: Parser, kinds: Iterable[str] | None, pauses: _Pauses
    ) -> AsyncGenerator[Event]:
        import httpx

        call = _call(kinds)
        try:
            async with self._rest.client().stream(
                "GET", call.target, headers=_headers(parser.last_id), timeout=SILENCE_S
            ) as answer:
                if answer.status_code >= 400:
                    understood(call, answer.status_code, await answer.aread())
                pauses.connected()
                async for line in lines_of(answer.aiter_bytes()):
                    event = parser.feed(line)
                    if event is not None:
                        yield event
        except httpx.ConnectError as error:
            raise NodeNotRunning(why=str(error)) from error
        except httpx.TransportError as error:
            raise ConnectionBroke(why=str(error) or type(error).__name__) from error


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines that end with a line feed, as the node writes them. A text may hold other characters
    that Unicode calls ends of lines."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > LINE_BYTES_MAX:
            raise AnswerInvalid(why=f"a line of more than {LINE_BYTES_MAX} bytes")


class _Pauses:
    """How long to wait before the next connection, and when to give up."""

    def __init__(self) -> None:
        self._lost: float | None = None
        self._failures = 0
        self._was_connected = False

    def connected(self) -> None:
        self._lost, self._failures, self._was_connected = None, 0, True

    def after(self, error: HyperMeshError) -> float:
        """Seconds; raises `error` where it does not pass, or not soon enough."""
        now = time.monotonic()
        self._lost = now if self._lost is None else self._lost
        may_pass = isinstance(error, (Unreachable, NodeNotRunning, Overloaded))
        if not self._was_connected or not may_pass or now - self._lost > LOST_S_MAX:
            raise error
        self._failures += 1
        bound = min(PAUSE_S_MAX, PAUSE_S * float(2 ** min(self._failures, 10)))
        return bound * (0.5 + drawn() / 2)


def _call(kinds: Iterable[str] | None) -> Call[object]:
    named = None if kinds is None else ",".join(str(kind) for kind in kinds)
    return Call(object, "GET", "/events", query=given(kinds=named))


def _headers(last_id: str | None) -> dict[str, str]:
    headers = {"accept": "text/event-stream"}
    return headers if last_id is None else {**headers, "last-event-id": last_id}
