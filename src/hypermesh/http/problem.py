"""Errors as RFC 9457 problem details."""

from __future__ import annotations

import errno
import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotFound

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
PATH_SHOWN_MAX = 120

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class MethodNotAllowed(HyperMeshError):
    """The path exists, and does not take this method."""

    code = "HM-API-0002"
    status = 405
    exit_code = 2
    title = "The path does not take this method"


class BodyTooLarge(InvalidInput):
    """The request's body is larger than any that this API takes."""

    code = "HM-API-0003"
    status = 413
    title = "The request body is too large"


class NoRoom(HyperMeshError):
    """A file of the node could not be written for want of room."""

    code = "HM-API-0032"
    status = 507
    exit_code = 8
    title = "There is no room on the disk of the data directory"
    remedy = "Make room there, then ask again"


def problem_response(error: HyperMeshError) -> ASGIApp:
    """An ASGI application that answers with `error`."""
    return _response(error).to_asgi_response(None, None)  # type: ignore[arg-type]


def on_error(_: Request[Any, Any, Any], error: HyperMeshError) -> Response[bytes]:
    return _response(error)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework itself refuses: no such route, a body that does not fit its type."""
    path = _path(request)
    if error.status_code == 404:
        return _response(NotFound(f"There is no {request.method} {path}"))
    if error.status_code == 405:
        return _response(MethodNotAllowed(f"{path} does not take {request.method}"))
    if error.status_code == 413:
        return _response(BodyTooLarge())
    if error.status_code >= 500:
        return on_bug(request, error)
    reasons = error.extra if isinstance(error.extra, list) else []
    why = "; ".join(_reason(each) for each in reasons) or error.detail
    return _response(InvalidInput("The request does not fit what this path takes", why=why))


def on_deep_nesting(_: Request[Any, Any, Any], error: RecursionError) -> Response[bytes]:
    """A body nested deeper than the decoder goes."""
    return _response(InvalidInput("The body is nested too deeply", why=str(error)))


def on_disk(request: Request[Any, Any, Any], error: OSError) -> Response[bytes]:
    """What the system refuses."""
    if error.errno in _NO_ROOM:
        return _response(NoRoom(why=str(error)))
    return on_bug(request, error)


def on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("%s %s failed", request.method, _path(request), exc_info=error)
    return _response(
        HyperMeshError("The node failed on this request", fix="Its log says more: node.log")
    )


def _response(error: HyperMeshError) -> Response[bytes]:
    return Response(
        content=msgspec.json.encode(ProblemDetails.of(error)),
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers=_headers(error),
    )


def _headers(error: HyperMeshError) -> dict[str, str]:
    if error.status in (429, 503):
        return {"retry-after": str(getattr(error, "retry_after_s", RETRY_AFTER_S))}
    # RFC 9110 section 11.6.1 wants a challenge beside each 401.
    return {"www-authenticate": "Bearer"} if error.status == 401 else {}


def _path(request: Request[Any, Any, Any]) -> str:
    # Not `request.url`: it fails without a Host header, which HTTP/1.0 need not send.
    return str(request.scope["path"])[:PATH_SHOWN_MAX]


def _reason(extra: Any) -> str:
    if not isinstance(extra, dict):
        return str(extra)
    key, message = extra.get("key"), extra.get("message", "")
    return f"{key}: {message}" if key else str(message)
