"""Typed requests to a node's API over its UNIX socket.

The standard library's HTTP client, because what `hm` imports is most of the time that a command
takes.
"""

from __future__ import annotations

import http.client
import select
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.errors import HyperMeshError, Problem, Unreachable, error_from

T = TypeVar("T")

TIMEOUT_S = 30.0


class NodeNotRunning(HyperMeshError):
    """No node answers on the socket."""

    code = "HM-SDK-0001"
    status = 503
    exit_code = 7
    title = "No node is running here"
    remedy = "Start one with `hm up`"


class AnswerInvalid(HyperMeshError):
    """The node's answer is not what this version of the SDK expects."""

    code = "HM-SDK-0002"
    status = 502
    exit_code = 9
    title = "The node answered something that this version does not understand"
    remedy = "Use the same version of hypermesh for the node and for what asks it"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def prepare(self, timeout_s: float) -> None:
        """Use `timeout_s` from now on, and leave a connection that the node has closed."""
        self.timeout = timeout_s
        if self.sock is None:
            return
        self.sock.settimeout(timeout_s)
        if select.select([self.sock], [], [], 0)[0]:
            # Between requests a node sends nothing: readable means that it has hung up.
            self.close()


class Rest:
    """One keep-alive connection to a node."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._http = _UnixConnection(socket)

    def request(
        self,
        kind: type[T],
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        query: Mapping[str, str] | None = None,
    ) -> T:
        """The answer as `kind`. A problem is raised as the error it describes."""
        target = f"{path}?{urlencode(query)}" if query else path
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            self._http.prepare(timeout_s)
            self._http.request(method, target, body=content, headers=headers)
            answer = self._http.getresponse()
            text = answer.read()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            self._http.close()
            raise NodeNotRunning(why=f"{self._socket}: {error.strerror}") from error
        except TimeoutError as error:
            self._http.close()
            raise Unreachable(
                f"The node did not answer {method} {path} within {timeout_s:g} s",
                fix=f"Its log is {self._socket.with_name('node.log')}",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise Unreachable(
                f"The node went away during {method} {path}",
                why=f"{self._socket}: {str(error) or type(error).__name__}",
                fix="What it had acknowledged is kept; see `hm status`, then ask again",
            ) from error
        if answer.status >= 400:
            raise _error(answer.status, text)
        try:
            return msgspec.json.decode(text or b"null", type=kind)
        except msgspec.DecodeError as error:
            raise AnswerInvalid(why=f"{method} {path}: {error}") from error

    def close(self) -> None:
        self._http.close()


def _error(status: int, text: bytes) -> HyperMeshError:
    try:
        details = msgspec.json.decode(text, type=ProblemDetails)
    except msgspec.DecodeError:
        return AnswerInvalid(why=f"{status}: {text[:200].decode('utf-8', 'replace')}")
    error = error_from(Problem(details.code, details.detail, details.cause, details.fix))
    error.status, error.exit_code = details.status, details.exit_code
    if details.failures:
        error.why = "; ".join([*([error.why] if error.why else []), *details.failures])
    return error
