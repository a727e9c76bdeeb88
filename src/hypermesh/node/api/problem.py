"""Errors as RFC 9457 problem details."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from hypermesh.wire.api import ProblemDetails
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotFound

log = logging.getLogger(__name__)

RETRY_AFTER_S = "1"


def details(error: HyperMeshError) -> ProblemDetails:
    return ProblemDetails(
        type=f"urn:hypermesh:error:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.what,
        code=error.code,
        cause=error.why,
        fix=error.fix,
        failures=list(getattr(error, "failures", ())),
    )


def problem_response(error: HyperMeshError) -> Any:
    """An ASGI application that answers with `error`."""
    headers = {"retry-after": RETRY_AFTER_S} if error.status == 503 else {}
    return Response(
        content=msgspec.json.encode(details(error)),
        status_code=error.status,
        media_type="application/problem+json",
        headers=headers,
    ).to_asgi_response(None, None)  # type: ignore[arg-type]


def on_error(_: Request[Any, Any, Any], error: HyperMeshError) -> Response[bytes]:
    headers = {"retry-after": RETRY_AFTER_S} if error.status == 503 else {}
    return Response(
        content=msgspec.json.encode(details(error)),
        status_code=error.status,
        media_type="application/problem+json",
        headers=headers,
    )


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework itself refuses: no such route, a body that does not fit its type."""
    known: HyperMeshError
    if error.status_code == 404:
        known = NotFound(f"There is no {request.method} {request.url.path}")
    else:
        reasons = error.extra if isinstance(error.extra, list) else []
        why = "; ".join(str(each.get("message", each)) for each in reasons) or error.detail
        known = InvalidInput("The request does not fit what this path takes", why=why)
    answer = on_error(request, known)
    answer.status_code = error.status_code
    return answer


def on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return on_error(request, HyperMeshError("The node failed on this request"))
