"""Who asks, and what a role may do. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from hypermesh.standalone.trust.errors import PlainRefused, PrincipalMissing, RoleMissing
from hypermesh.standalone.trust.tokens import Role


class Access(enum.Enum):
    """What a route asks of who uses it."""

    PUBLIC = "public"
    MEMBER = "member"
    REQUEST = "request"
    AUDIT = "audit"
    OPERATE = "operate"


ROLES: dict[Access, frozenset[Role]] = {
    Access.MEMBER: frozenset(Role),
    Access.REQUEST: frozenset({Role.OPERATOR, Role.REQUESTER}),
    Access.AUDIT: frozenset({Role.OPERATOR, Role.AUDITOR}),
    Access.OPERATE: frozenset({Role.OPERATOR}),
}
"""Who may; everybody where the access is public."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: `id` names it in the audit log and in rates (`token:...`, `client:...`,
    `address:...`); without a role it is a stranger."""

    id: str
    role: Role | None = None


def authorize(principal: Principal, access: Access, *, is_plain: bool, may_be_plain: bool) -> None:
    """Let pass, or raise `PlainRefused`, `PrincipalMissing`, `RoleMissing`."""
    if is_plain and not may_be_plain:
        raise PlainRefused
    if access is Access.PUBLIC:
        return
    if principal.role is None:
        raise PrincipalMissing
    if principal.role not in ROLES[access]:
        wanted = ", ".join(sorted(ROLES[access]))
        raise RoleMissing(why=f"it is for: {wanted}; you are {principal.role}")
