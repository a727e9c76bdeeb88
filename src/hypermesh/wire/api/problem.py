"""How the API says that something failed (RFC 9457)."""

from __future__ import annotations

import msgspec

from hypermesh.wire.errors import HyperMeshError


class ProblemDetails(msgspec.Struct, frozen=True):
    """RFC 9457 problem details with the three parts of every HyperMesh error: `detail` says what
    happened, `cause` why, `fix` what to do. `exit_code` is what `hm` ends with on it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    cause: str
    fix: str
    exit_code: int
    failures: list[str] = []

    @classmethod
    def of(cls, error: HyperMeshError) -> ProblemDetails:
        return cls(
            type=f"urn:hypermesh:error:{error.code}",
            title=error.title,
            status=error.status,
            detail=error.what,
            code=error.code,
            cause=error.why,
            fix=error.fix,
            exit_code=error.exit_code,
            failures=list(getattr(error, "failures", ())),
        )
