"""What a node's answer means: a value, or the typed error that it describes."""

from __future__ import annotations

from typing import TypeVar

from hypermesh.sdk.call import Call
from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.decoding import NOT_DECODED, json_decoder
from hypermesh.wire.errors import HyperMeshError, Problem, error_from

T = TypeVar("T")


class AnswerInvalid(HyperMeshError):
    """The node's answer is not what this version of the SDK expects."""

    code = "HM-SDK-0002"
    status = 502
    exit_code = 9
    title = "The node answered something that this version does not understand"
    remedy = "Use the same version of hypermesh for the node and for what asks it"


def understood(call: Call[T], status: int, content: bytes) -> T:
    """The answer to `call`. A problem is raised as the error it describes."""
    if status >= 400:
        raise _error(status, content)
    try:
        answer: T = json_decoder(call.kind).decode(content or b"null")
    except NOT_DECODED as error:
        raise AnswerInvalid(why=f"{call.method} {call.path}: {error}") from error
    return answer


def _error(status: int, content: bytes) -> HyperMeshError:
    try:
        details = json_decoder(ProblemDetails).decode(content)
    except NOT_DECODED:
        return AnswerInvalid(why=f"{status}: {content[:200].decode('utf-8', 'replace')}")
    error = error_from(Problem(details.code, details.detail, details.cause, details.fix))
    error.status, error.exit_code = details.status, details.exit_code
    if details.failures:
        error.why = "; ".join([*([error.why] if error.why else []), *details.failures])
    return error
