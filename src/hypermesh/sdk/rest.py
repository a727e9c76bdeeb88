"""Typed requests to a node's API over its UNIX socket."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from hypermesh.wire.api import ProblemDetails
from hypermesh.wire.errors import HyperMeshError, Problem, error_from

T = TypeVar("T")

TIMEOUT_S = 30.0


class NodeNotRunning(HyperMeshError):
    """No node answers on the socket."""

    code = "HM-SDK-0001"
    status = 503
    exit_code = 7
    title = "No node is running here"
    remedy = "Start one with `hm up`"


class Rest:
    """One keep-alive connection to a node."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)),
            base_url="http://localhost",
            timeout=TIMEOUT_S,
        )

    def request(
        self,
        kind: type[T],
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        query: dict[str, str] | None = None,
    ) -> T:
        """The answer as `kind`. A problem is raised as the error it describes."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            answer = self._http.request(
                method, path, content=content, headers=headers, params=query, timeout=timeout_s
            )
        except httpx.TimeoutException as error:
            raise NodeNotRunning(
                f"The node did not answer {method} {path} within {timeout_s:g} s",
                fix="See its log with `hm status`, or restart it with `hm up`",
            ) from error
        except httpx.TransportError as error:
            raise NodeNotRunning(why=f"{self._socket}: {error}") from error
        if answer.status_code >= 400:
            raise _error(answer)
        return msgspec.json.decode(answer.content or b"null", type=kind)

    def close(self) -> None:
        self._http.close()


def _error(answer: httpx.Response) -> HyperMeshError:
    try:
        details = msgspec.json.decode(answer.content, type=ProblemDetails)
    except msgspec.DecodeError:
        return HyperMeshError(f"The node answered {answer.status_code}", why=answer.text[:200])
    error = error_from(Problem(details.code, details.detail, details.cause, details.fix))
    if details.failures:
        error.why = "; ".join([*([error.why] if error.why else []), *details.failures])
    return error
