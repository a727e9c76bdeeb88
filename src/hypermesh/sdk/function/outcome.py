"""What became of a function's call: its value, or the error that says why there is none."""

from __future__ import annotations

from typing import Any, NoReturn

from hypermesh.sdk.function.code import Code, ValueUnsendable
from hypermesh.sdk.function.data import Malformed, unpack
from hypermesh.wire.api.job import JobView
from hypermesh.wire.errors import HyperMeshError


class RemoteError(HyperMeshError):
    """The function raised an exception where it ran.

    `remote_type` and `remote_message` are the exception's, `remote_traceback` is its text: only
    text comes back, so the exception's own class cannot. The traceback is a note of this error
    too, and so is shown where this is.
    """

    code = "HM-SDK-0008"
    status = 500
    title = "The function raised an exception"

    remote_type = ""
    remote_message = ""
    remote_traceback = ""


class ResultInvalid(HyperMeshError):
    """The provider sent something that is no result."""

    code = "HM-SDK-0009"
    status = 502
    exit_code = 9
    title = "The provider sent something that is no result"
    remedy = "Run it at another provider, and do not trust this one"


class VersionMismatch(HyperMeshError):
    """The provider's Python or cloudpickle cannot run this function; nothing was run."""

    code = "HM-SDK-0010"
    status = 409
    exit_code = 3
    title = "The provider has other versions than this function needs"


def value_of(code: Code, job: JobView) -> Any:
    """What the function returned. Raises `RemoteError` where it raised, `VersionMismatch`,
    `ValueUnsendable` for a result that is no data, `ResultInvalid`, or why the job failed."""
    if not job.result:
        raise job.failure or ResultInvalid(
            f"{code.name} ended without a result", why=f"at {_host(job)}"
        )
    try:
        answer = unpack(job.result)
    except Malformed as error:
        raise _invalid(code, job, str(error)) from error
    if type(answer) is not dict or len(answer) != 1:
        raise _invalid(code, job, "it is no answer of ours")
    ((kind, content),) = answer.items()
    if kind == "value":
        return content
    if kind == "unsendable" and type(content) is str:
        raise ValueUnsendable(
            f"The result of {code.name} cannot come back",
            why=content[:400],
            fix="Return None, bool, int, float, complex, str, bytes, list, tuple, set, dict or an "
            "array, of at most 1 MiB",
        )
    if type(content) is not dict or not all(type(each) is str for each in content.values()):
        raise _invalid(code, job, "it is no answer of ours")
    if kind == "raised":
        _raised(code, job, content)
    if kind == "mismatch" and content:
        _mismatched(code, job, content)
    raise _invalid(code, job, "it is no answer of ours")


def _raised(code: Code, job: JobView, told: dict[str, str]) -> NoReturn:
    kind, message = told.get("type", ""), told.get("message", "")
    error = RemoteError(
        f"{code.name} raised {kind}: {message}" if message else f"{code.name} raised {kind}",
        why=f"at {_host(job)}",
    )
    error.remote_type, error.remote_message = kind, message
    error.remote_traceback = told.get("traceback", "")
    error.add_note(f"There:\n{error.remote_traceback}")
    raise error


def _mismatched(code: Code, job: JobView, there: dict[str, str]) -> NoReturn:
    found = ", ".join(f"{name} {version}" for name, version in sorted(there.items()))
    fix = "Run it at a provider with the same versions"
    if code.how == "cloudpickle":
        fix += ', or let its source travel: @hm.function(travels="source")'
    raise VersionMismatch(
        f"{code.name} was not run: {_host(job)} has {found}", why=f"it needs {code.needs}", fix=fix
    )


def _invalid(code: Code, job: JobView, why: str) -> ResultInvalid:
    return ResultInvalid(f"The result of {code.name} is none", why=f"{why}; from {_host(job)}")


def _host(job: JobView) -> str:
    identity = (job.provider or "")[:16]
    return f"{job.provider_name} ({identity})" if job.provider_name else identity or "no provider"
