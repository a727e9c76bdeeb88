"""Calls over a node's API: `Rest`, and its twin `AsyncRest` for asyncio.

`Rest` uses the standard library's HTTP client, because what `hm` imports is most of the time that
a command takes. httpx, which `AsyncRest` uses, is loaded by its first call.
"""

from __future__ import annotations

import http.client
import select
import shlex
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from hypermesh.sdk.answer import understood
from hypermesh.sdk.call import TIMEOUT_S, Call
from hypermesh.sdk.location import data_directory, socket_path
from hypermesh.sdk.remote import NotTrusted, Remote
from hypermesh.sdk.retry import ConnectionBroke, drawn, fresh_key, pause_s, retry_after_s
from hypermesh.sdk.threads import Threads
from hypermesh.wire.errors import HyperMeshError, Unreachable

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

Place: TypeAlias = "Path | Remote"
"""Where a node answers: its UNIX socket, or over TLS."""

CONNECTIONS_MAX = 16
"""Connections that `Rest` keeps open between calls, and that `AsyncRest` has at most."""


class NodeNotRunning(HyperMeshError):
    """No node answers there."""

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


class _TlsConnection(http.client.HTTPSConnection):
    """HTTP/1.1 over TLS, every request with the token."""

    def __init__(self, remote: Remote, context: ssl.SSLContext) -> None:
        super().__init__(remote.server_name, remote.port, timeout=TIMEOUT_S, context=context)
        self._remote = remote
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection((self._remote.host, self._remote.port), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._remote.server_name)

    def putrequest(self, *arguments: Any, **options: Any) -> None:
        super().putrequest(*arguments, **options)
        self.putheader("authorization", f"Bearer {self._remote.token}")


class Rest:
    """Calls to one node. Any number of threads may use it at once: a call has its connection to
    itself, and idle connections are kept for the next."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._tls = None if isinstance(place, Path) else place.context()
        self._idle: list[http.client.HTTPConnection] = []
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
            if connection.sock is None:
                self._connect(connection)
            connection.request(
                call.method, call.target, body=call.content, headers=call.headers(key)
            )
            answer = connection.getresponse()
            content = answer.read()
        except BaseException as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise _too_late(call, self._place) from error
            if isinstance(error, (OSError, http.client.HTTPException)):
                raise _broke(call, self._place, error) from error
            raise
        self._give(connection)
        return answer.status, answer.getheader("retry-after"), content

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except TimeoutError:
            raise
        except OSError as error:
            raise _unconnected(self._place, error) from error

    def _take(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection that is idle, or a new one."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._new()
            connection.timeout = timeout_s
            if connection.sock is None:
                return connection
            connection.sock.settimeout(timeout_s)
            # Between calls a node sends nothing: readable means that it has hung up.
            if not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()

    def _new(self) -> http.client.HTTPConnection:
        if isinstance(self._place, Path):
            return _UnixConnection(self._place)
        if self._tls is None:
            raise AssertionError("a remote place has a context")
        return _TlsConnection(self._place, self._tls)

    def _give(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if self._is_open and len(self._idle) < CONNECTIONS_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection of one's own, for what is no single answer: a stream of events. `timeout_s`
        bounds each wait for the next bytes."""
        connection = self._new()
        connection.timeout = timeout_s
        return connection

    @property
    def place(self) -> Place:
        """Where the node answers."""
        return self._place

    def close(self) -> None:
        """Close the idle connections, and those in use when their call is over."""
        with self._lock:
            self._is_open = False
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class AsyncRest:
    """As `Rest`, for the tasks of one event loop."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.threads = Threads()
        """Where what blocks runs: the bytes of leased memory."""
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
            raise _too_late(call, self._place) from error
        except httpx.ConnectError as error:
            raise _unconnected(self._place, _cause(error)) from error
        except httpx.TransportError as error:
            raise _broke(call, self._place, error) from error
        return answer.status_code, answer.headers.get("retry-after"), answer.content

    @property
    def place(self) -> Place:
        """As `Rest.place`."""
        return self._place

    def client(self) -> httpx.AsyncClient:
        """The HTTP client under this, for what is no single answer: a stream of events."""
        import httpx

        if self._client is None:
            limits = httpx.Limits(
                max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX
            )
            if isinstance(self._place, Path):
                transport = httpx.AsyncHTTPTransport(uds=str(self._place), limits=limits)
                base, headers = "http://localhost", {}
            else:
                transport = _named(self._place, limits)
                base = str(self._place)
                headers = {
                    "authorization": f"Bearer {self._place.token}",
                    "host": f"{self._place.server_name}:{self._place.port}",
                }
            self._client = httpx.AsyncClient(
                transport=transport,
                base_url=base,
                headers=headers,
                timeout=None,  # noqa: S113 (each call has its own deadline)
                trust_env=False,
            )
        return self._client

    async def close(self) -> None:
        """As `Rest.close`; calls that run fail."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()
        self.threads.close()


def _named(remote: Remote, limits: httpx.Limits) -> httpx.AsyncHTTPTransport:
    """A transport that asks for the name in the certificate, whatever the host is called."""
    import httpx

    class Named(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.extensions = {**request.extensions, "sni_hostname": remote.server_name}
            return await super().handle_async_request(request)

    return Named(verify=remote.context(), limits=limits)


def _cause(error: BaseException) -> BaseException:
    """The first of the errors that led to `error`."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def _unconnected(place: Place, error: BaseException) -> HyperMeshError:
    """Why there is no connection; nothing was sent."""
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return NodeNotRunning(why=f"nothing listens on {place}", fix=_start(place))
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotTrusted(f"What answers at {place} is not the node", why=str(error))
    return Unreachable(f"{place} cannot be reached", why=str(error) or type(error).__name__)


def _start(place: Place) -> str:
    """The command that starts the node that should answer at `place`; as the class has it, where
    that is this user's own."""
    if not isinstance(place, Path) or place == socket_path(data_directory()):
        return ""
    return f"Start one with `hm up --data {shlex.quote(str(place.parent))}`"


def _too_late(call: Call[Any], place: Place) -> Unreachable:
    where = place.with_name("node.log") if isinstance(place, Path) else f"at {place}"
    return Unreachable(
        f"The node did not answer {call.method} {call.path} within {call.timeout_s:g} s",
        fix=f"Its log is {where}",
    )


def _broke(call: Call[Any], place: Place, error: Exception) -> ConnectionBroke:
    return ConnectionBroke(
        f"The node went away during {call.method} {call.path}",
        why=f"{place}: {str(error) or type(error).__name__}",
    )
