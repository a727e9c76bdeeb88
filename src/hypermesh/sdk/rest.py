"""Calls over a node's API: `Rest`, and its twin `AsyncRest` for asyncio.

`Rest` uses the standard library's HTTP client, because what `hm` imports is most of the time that
a command takes. httpx, which `AsyncRest` uses, is loaded by its first call.
"""

from __future__ import annotations

import http.client
import select
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hypermesh.sdk.answer import understood
from hypermesh.sdk.call import TIMEOUT_S, Call
from hypermesh.sdk.retry import ConnectionBroke, drawn, fresh_key, pause_s, retry_after_s
from hypermesh.wire.errors import HyperMeshError, Unreachable

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

CONNECTIONS_MAX = 16
"""Connections that `Rest` keeps open between calls, and that `AsyncRest` has at most."""


class NodeNotRunning(HyperMeshError):
    """No node answers on the socket."""

    code = "HM-SDK-0001"
    status = 503
    exit_code = 7
    title = "No node is running here"
    remedy = "Start one with `hm up`"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Rest:
    """Calls to one node. Any number of threads may use it at once: a call has its connection to
    itself, and idle connections are kept for the next."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._idle: list[_UnixConnection] = []
        self._lock = threading.Lock()
        self._is_open = True

    def run(self, call: Call[T]) -> T:
        """The answer to `call`.

        Raises the error that the node describes, `NodeNotRunning`, `Unreachable` after
        `call.timeout_s`, or `AnswerInvalid`. Repeats what may be repeated (`retry.pause_s`).
        """
        key = fresh_key()
        deadline = time.monotonic() + call.timeout_s
        attempt = 1
        while True:
            after = None
            try:
                status, header, content = self._exchange(call, key, deadline)
                after = retry_after_s(header)
                return understood(call, status, content)
            except HyperMeshError as error:
                pause = pause_s(call, error, attempt, drawn(), after)
                if pause is None or time.monotonic() + pause >= deadline:
                    raise
            time.sleep(pause)
            attempt += 1

    def _exchange(
        self, call: Call[Any], key: str, deadline: float
    ) -> tuple[int, str | None, bytes]:
        """Status, Retry-After and content."""
        connection = self._take(max(0.001, deadline - time.monotonic()))
        try:
            connection.request(
                call.method, call.target, body=call.content, headers=call.headers(key)
            )
            answer = connection.getresponse()
            content = answer.read()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            raise _no_node(self._socket) from error
        except TimeoutError as error:
            connection.close()
            raise _too_late(call, self._socket) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _broke(call, self._socket, error) from error
        except BaseException:
            connection.close()
            raise
        self._give(connection)
        return answer.status, answer.getheader("retry-after"), content

    def _take(self, timeout_s: float) -> _UnixConnection:
        """A connection that is idle, or a new one."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = _UnixConnection(self._socket)
            connection.timeout = timeout_s
            if connection.sock is None:
                return connection
            connection.sock.settimeout(timeout_s)
            # Between calls a node sends nothing: readable means that it has hung up.
            if not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()

    def _give(self, connection: _UnixConnection) -> None:
        with self._lock:
            if self._is_open and len(self._idle) < CONNECTIONS_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection of one's own, for what is no single answer: a stream of events. `timeout_s`
        bounds each wait for the next bytes."""
        connection = _UnixConnection(self._socket)
        connection.timeout = timeout_s
        return connection

    @property
    def place(self) -> Path:
        """The node's socket."""
        return self._socket

    def close(self) -> None:
        """Close the idle connections, and those in use when their call is over."""
        with self._lock:
            self._is_open = False
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class AsyncRest:
    """As `Rest`, for the tasks of one event loop."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._client: httpx.AsyncClient | None = None

    async def run(self, call: Call[T]) -> T:
        """As `Rest.run`. Cancelling it leaves the connection closed."""
        import asyncio

        key = fresh_key()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + call.timeout_s
        attempt = 1
        while True:
            after = None
            try:
                status, header, content = await self._exchange(call, key, deadline)
                after = retry_after_s(header)
                return understood(call, status, content)
            except HyperMeshError as error:
                pause = pause_s(call, error, attempt, drawn(), after)
                if pause is None or loop.time() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)
            attempt += 1

    async def _exchange(
        self, call: Call[Any], key: str, deadline: float
    ) -> tuple[int, str | None, bytes]:
        import asyncio

        import httpx

        client = self.client()
        try:
            async with asyncio.timeout_at(deadline):
                answer = await client.request(
                    call.method, call.target, content=call.content, headers=call.headers(key)
                )
        except TimeoutError as error:
            raise _too_late(call, self._socket) from error
        except httpx.ConnectError as error:
            raise _no_node(self._socket) from error
        except httpx.TransportError as error:
            raise _broke(call, self._socket, error) from error
        return answer.status_code, answer.headers.get("retry-after"), answer.content

    @property
    def place(self) -> Path:
        """As `Rest.place`."""
        return self._socket

    def client(self) -> httpx.AsyncClient:
        """The HTTP client under this, for what is no single answer: a stream of events."""
        import httpx

        if self._client is None:
            limits = httpx.Limits(
                max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX
            )
            self._client = httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=str(self._socket), limits=limits),
                base_url="http://localhost",
                timeout=None,  # noqa: S113 (each call has its own deadline)
                trust_env=False,
            )
        return self._client

    async def close(self) -> None:
        """As `Rest.close`; calls that run fail."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


def _no_node(place: Path) -> NodeNotRunning:
    return NodeNotRunning(why=f"nothing listens on {place}")


def _too_late(call: Call[Any], place: Path) -> Unreachable:
    return Unreachable(
        f"The node did not answer {call.method} {call.path} within {call.timeout_s:g} s",
        fix=f"Its log is {place.with_name('node.log')}",
    )


def _broke(call: Call[Any], place: Path, error: Exception) -> ConnectionBroke:
    return ConnectionBroke(
        f"The node went away during {call.method} {call.path}",
        why=f"{place}: {str(error) or type(error).__name__}",
    )
