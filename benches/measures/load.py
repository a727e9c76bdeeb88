"""HTTP/1.1 as a load: many connections of one process, each with one request under way.

It is made to take little of the machine that it shares with the node: requests are bytes that were
built before, one thread waits for all sockets with epoll, an answer is cut at its Content-Length,
and a check decodes no more than the members that it looks at.
"""

from __future__ import annotations

import heapq
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

RECEIVE_BYTES = 1 << 18
SILENCE_S = 30.0
RETURN_S = 1.0
"""After which a client that was refused its connection opens another."""
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: \d+\r\n", re.IGNORECASE)
STATUS_AT = slice(9, 12)
"""Of `HTTP/1.1 200 OK` (RFC 9112 section 4)."""
REFUSALS = (429, 503)

Place: TypeAlias = "Path | tuple[str, int]"
"""A UNIX socket, or host and port."""
Check: TypeAlias = "Callable[[int, bytes], bool]"
"""Whether an answer (status, body) is the right one."""


class Broken(Exception):
    """A node closed a connection, or fell silent, in the middle of an answer."""


@dataclass(frozen=True)
class Request:
    """`head` and body as they are sent, and what tells a right answer."""

    content: bytes
    check: Check


@dataclass
class Outcome:
    """What came of the requests. Times are in seconds; `answered_s` has those of right answers."""

    began_s: float = 0.0
    ended_s: float = 0.0
    good: int = 0
    refused: int = 0
    without_retry: int = 0
    """Refusals that do not say when to come again."""
    wrong: list[bytes] = field(default_factory=list)
    broken: int = 0
    unsent: int = 0
    """Arrivals that found no free connection: the client's own limit, or a node that takes none."""
    taken_s: list[float] = field(default_factory=list)
    good_at_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Right answers in a second."""
        return self.good / (self.ended_s - self.began_s)

    def rates(self, step_s: float = 1.0) -> list[float]:
        """The same for each whole step of the time."""
        steps = int((self.ended_s - self.began_s) / step_s)
        counts = [0] * steps
        for at in self.good_at_s:
            step = int((at - self.began_s) / step_s)
            if step < steps:
                counts[step] += 1
        return [count / step_s for count in counts]

    def take(self, request: Request, head: bytes, body: bytes, sent_s: float) -> None:
        now = time.monotonic()
        status = int(head[STATUS_AT])
        if status in REFUSALS:
            self.refused += 1
            self.without_retry += _RETRY_AFTER.search(head + b"\r\n") is None
        elif request.check(status, body):
            self.good += 1
            self.taken_s.append(now - sent_s)
            self.good_at_s.append(now)
        else:
            self.wrong.append(head[:200] + b"\r\n\r\n" + body[:500])


class Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._received = b""
        self.request: Request | None = None
        self.sent_s = 0.0

    def send(self, request: Request) -> None:
        self.request, self.sent_s = request, time.monotonic()
        self.socket.sendall(request.content)

    def receive(self) -> tuple[bytes, bytes] | None:
        """Head and body, once all is there. Raises `Broken`."""
        try:
            received = self.socket.recv(RECEIVE_BYTES)
        except OSError as error:
            raise Broken(str(error)) from error
        if not received:
            raise Broken("the connection was closed")
        self._received += received
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return None
        length = _LENGTH.search(head)
        if length is None:
            raise Broken(f"an answer without a length: {head!r:.200}")
        if len(body) < int(length[1]):
            return None
        self._received = b""
        return head, body

    def close(self) -> None:
        self.socket.close()


def connected(place: Place) -> socket.socket:
    if isinstance(place, Path):
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.connect(str(place))
        return opened
    opened = socket.create_connection(place)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def closed_loop(
    place: Place, clients: list[Iterator[Request]], seconds: float | None = None
) -> Outcome:
    """Each client sends its next request when it has the answer to the one before, until `seconds`
    are over or it has no more. Refusals are not sent again. Raises `Broken`."""
    outcome = Outcome()
    with selectors.EpollSelector() as selector, ExitStack() as stack:
        requests_of = {}
        for requests in clients:
            connection = Connection(connected(place))
            stack.callback(connection.close)
            requests_of[connection] = requests
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        outcome.began_s = time.monotonic()
        until = None if seconds is None else outcome.began_s + seconds
        for connection, requests in requests_of.items():
            connection.send(next(requests))
        left = len(requests_of)
        while left:
            ready = selector.select(SILENCE_S)
            if not ready:
                raise Broken(f"no answer within {SILENCE_S:g} s")
            for key, _ in ready:
                connection = key.data
                answer = connection.receive()
                if answer is None:
                    continue
                outcome.take(connection.request, *answer, connection.sent_s)
                following = None
                if until is None or time.monotonic() < until:
                    following = next(requests_of[connection], None)
                if following is None:
                    selector.unregister(connection.socket)
                    left -= 1
                else:
                    connection.send(following)
        outcome.ended_s = time.monotonic()
    return outcome


def open_loop(
    place: tuple[str, int],
    requests: Iterator[Request],
    per_s: float,
    connections_max: int,
    seconds: float,
) -> Outcome:
    """Requests that arrive at a steady rate, whether or not those before have an answer, over TCP.
    Each comes over a connection of its own until there are `connections_max`, then over the one
    that has been free for longest; without one it is `unsent`. A client whose connection was closed
    opens another `RETURN_S` later."""
    flood = _Flood(place, requests, connections_max)
    outcome = flood.outcome
    outcome.began_s = now = time.monotonic()
    until, arrived = now + seconds, 0
    try:
        while now < until:
            due = int((now - outcome.began_s) * per_s)
            flood.come_back(now)
            while arrived < due and flood.arrive():
                arrived += 1
            outcome.unsent += due - arrived
            arrived = due
            flood.listen(now)
            now = time.monotonic()
    finally:
        outcome.ended_s = now
        flood.close()
    return outcome


class _Flood:
    """The connections of `open_loop`: free, opening, or with a request under way."""

    def __init__(
        self, place: tuple[str, int], requests: Iterator[Request], connections_max: int
    ) -> None:
        self.outcome = Outcome()
        self._place = place
        self._requests = requests
        self._connections_max = connections_max
        self._selector = selectors.EpollSelector()
        self._free: deque[Connection] = deque()
        self._opening: set[Connection] = set()
        self._back_s: list[float] = []
        """When clients that lost their connection may open another."""

    def come_back(self, now: float) -> None:
        while self._back_s and self._back_s[0] <= now:
            heapq.heappop(self._back_s)

    def arrive(self) -> bool:
        """Send one request; False where there is no connection for it."""
        if len(self._selector.get_map()) + len(self._back_s) >= self._connections_max:
            if not self._free:
                return False
            connection = self._free.popleft()
            connection.request = next(self._requests)
            self._send(connection)
            return True
        opened = socket.socket()
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.connect_ex(self._place)
        connection = Connection(opened)
        connection.request = next(self._requests)
        connection.sent_s = time.monotonic()
        self._opening.add(connection)
        self._selector.register(opened, selectors.EVENT_WRITE, connection)
        return True

    def listen(self, now: float) -> None:
        """Take what came."""
        for key, _ in self._selector.select(0.001):
            connection: Connection = key.data
            if connection in self._opening:
                self._opening.discard(connection)
                self._selector.modify(connection.socket, selectors.EVENT_READ, connection)
                self._send(connection)
                continue
            try:
                answer = connection.receive()
            except Broken:
                self._lose(connection, now)
                continue
            if answer is None:
                continue
            head, body = answer
            asked, connection.request = connection.request, None
            if asked is not None:
                self.outcome.take(asked, head, body, connection.sent_s)
            if b"connection: close" in head.lower():
                self._drop(connection, now)
            else:
                self._free.append(connection)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.close()
        self._selector.close()

    def _send(self, connection: Connection) -> None:
        try:
            connection.send(connection.request)
        except OSError:
            self._lose(connection, time.monotonic())

    def _lose(self, connection: Connection, now: float) -> None:
        """The node has closed it: with a request under way that one has no answer."""
        if connection.request is None:
            self._free.remove(connection)
        else:
            self.outcome.broken += 1
        self._drop(connection, now)

    def _drop(self, connection: Connection, now: float) -> None:
        self._selector.unregister(connection.socket)
        connection.close()
        heapq.heappush(self._back_s, now + RETURN_S)
