"""Typed errors that keep their meaning across processes.

Every error a user can meet is a subclass of `HyperMeshError` with a stable `code`. It says three
things: what happened, why, and how to fix it. `Problem` is its form on the wire (RFC 9457 members
in the API, MessagePack over STOQ); `error_from` turns a received problem back into the same class.
"""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec


class ExitCode(enum.IntEnum):
    """What `hm` ends with; every error has the one of its class as `exit_code`."""

    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    PERMISSION = 4
    NOT_FOUND = 5
    CONFLICT = 6
    UNREACHABLE = 7
    """Or not in time."""
    INSUFFICIENT = 8
    """Money, room or quota."""
    INTEGRITY = 9
    """Something does not check out."""


class Problem(msgspec.Struct, frozen=True, array_like=True):
    """A `HyperMeshError` as it crosses a process boundary."""

    code: str
    what: str
    why: str
    fix: str


class HyperMeshError(Exception):
    """Base of all errors with a place in the catalogue.

    `code` is stable and unique, `status` is the HTTP status, `exit_code` one of `ExitCode`. All
    three belong to the class, except where an error came from elsewhere and this process does not
    know its class.
    """

    code: str = "HM-0000"
    status: int = 500
    exit_code: int = 1
    title: ClassVar[str] = "Something failed"
    remedy: ClassVar[str] = ""

    catalogue: ClassVar[dict[str, type[HyperMeshError]]] = {}

    def __init__(self, what: str = "", *, why: str = "", fix: str = "") -> None:
        self.what = what or self.title
        self.why = why
        self.fix = fix or self.remedy
        super().__init__(self.what)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            return
        taken = HyperMeshError.catalogue.get(cls.code)
        if taken is not None and taken.__qualname__ != cls.__qualname__:
            raise TypeError(f"error code {cls.code} is used by {taken.__name__} and {cls.__name__}")
        HyperMeshError.catalogue[cls.code] = cls

    def __str__(self) -> str:
        return ". ".join(part for part in (self.what, self.why, self.fix) if part)

    @property
    def problem(self) -> Problem:
        """This error as a value that can be sent."""
        return Problem(self.code, self.what, self.why, self.fix)


def error_from(problem: Problem) -> HyperMeshError:
    """The error that `problem` describes, as its own class where this process knows the code."""
    cls = HyperMeshError.catalogue.get(problem.code, UnknownProblem)
    error = cls(problem.what, why=problem.why, fix=problem.fix)
    error.code = problem.code
    return error


class UnknownProblem(HyperMeshError):
    """The other side reported an error whose class this process does not have; the code it gave is
    kept."""

    code = "HM-0001"
    status = 502
    title = "The other side reported an unknown error"

    def __str__(self) -> str:
        return f"{super().__str__()} [{self.code}]"


class InvalidInput(HyperMeshError):
    """A value from outside is malformed, out of range or too large."""

    code = "HM-0002"
    status = 400
    exit_code = 2
    title = "The input is not valid"


class NotAvailable(HyperMeshError):
    """The design promises this and it does not exist yet; see STATUS.md."""

    code = "HM-0003"
    status = 501
    title = "This part does not exist yet"
    remedy = "See STATUS.md for what works today"


class NotFound(HyperMeshError):
    """No such thing, or none that the caller may see."""

    code = "HM-0004"
    status = 404
    exit_code = 5
    title = "Not found"


class Forbidden(HyperMeshError):
    """The caller is known and has no right to this."""

    code = "HM-0005"
    status = 403
    exit_code = 4
    title = "Not allowed"


class Conflict(HyperMeshError):
    """The request contradicts the present state."""

    code = "HM-0006"
    status = 409
    exit_code = 6
    title = "The request conflicts with the present state"


class Unreachable(HyperMeshError):
    """The other side did not answer in time."""

    code = "HM-0007"
    status = 504
    exit_code = 7
    title = "The other side did not answer"


class Overloaded(HyperMeshError):
    """A bounded queue is full; the request was not taken."""

    code = "HM-0008"
    status = 503
    exit_code = 7
    title = "Too many requests are waiting"
    remedy = "Try again in a moment"
