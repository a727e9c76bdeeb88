"""Who may do what: decided here, purely, for every route and whoever asks.

A request comes from a principal, which the listener has recognised (`guard`), and each route names
one permission (`permissions`). A role has rights by the table below; a bearer of a token has those
of its scopes. What no table grants is refused.

| role    | who                                       | may                                  |
|---------|-------------------------------------------|--------------------------------------|
| owner   | whoever opens the UNIX socket (mode 0600) | everything                           |
| session | loopback, with the session token          | everything but `secret`              |
| token   | loopback or TLS, with a token `hm_...`    | `open`, and what its scopes say      |
| local   | loopback, without a token                 | `open`, `read`                       |
| remote  | TLS, without a token                      | `open`                               |
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from hypermesh.wire.api.token import Scope
from hypermesh.wire.errors import Forbidden, HyperMeshError


class TokenMissing(HyperMeshError):
    """No token, or one that is not known (any more), where the request needs one."""

    code = "HM-API-0001"
    status = 401
    exit_code = 4
    title = "The request needs a token"
    remedy = (
        "Send `Authorization: Bearer ...`: on this machine the session token, which stands in "
        "`api-token` in the data directory; from elsewhere one of `hm token create`"
    )


class ScopeMissing(Forbidden):
    """The token is good, and not for this."""

    code = "HM-API-0008"
    title = "The token does not have the scope"


class Permission(enum.StrEnum):
    """What a route asks of whoever calls it."""

    OPEN = "open"
    """Nothing: whether the node lives."""
    READ = "read"
    LEASE = "lease"
    JOBS = "jobs"
    MANAGE = "manage"
    """These four are the scopes that a token can have."""
    OWNER = "owner"
    """Make and end tokens, let in the owner's own machines, attack the network: no token makes
    another or something like it, or its end would not be one."""
    SECRET = "secret"
    """Read key material. Only over the UNIX socket: it never crosses TCP."""


class Role(enum.StrEnum):
    """How a principal was recognised."""

    OWNER = "owner"
    SESSION = "session"
    TOKEN = "token"
    LOCAL = "local"
    REMOTE = "remote"


RIGHTS: Final[dict[Role, frozenset[Permission]]] = {
    Role.OWNER: frozenset(Permission),
    Role.SESSION: frozenset(Permission) - {Permission.SECRET},
    Role.TOKEN: frozenset({Permission.OPEN}),
    Role.LOCAL: frozenset({Permission.OPEN, Permission.READ}),
    Role.REMOTE: frozenset({Permission.OPEN}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `id` tells principals apart: their rates and their idempotency keys."""

    role: Role
    id: str
    scopes: frozenset[Scope] = frozenset()


def may(principal: Principal, action: Permission) -> bool:
    """Whether `principal` may do what needs `action`."""
    return action in RIGHTS[principal.role] or action.value in principal.scopes


def authorize(principal: Principal, action: Permission | None, resource: str) -> None:
    """Return where `principal` may do `action` on `resource` (a method and a path, for the words of
    the refusal). `action` is None for a route that names no permission: nobody may.

    Raises `TokenMissing`, `ScopeMissing` or `Forbidden`.
    """
    if action is None:
        raise Forbidden(f"{resource} names no permission", why="what is not granted is refused")
    if may(principal, action):
        return
    if action is Permission.SECRET:
        raise Forbidden(
            "Keys are given out over the owner's UNIX socket only",
            fix="Use the CLI or the SDK on this machine",
        )
    if principal.role is not Role.TOKEN:
        raise TokenMissing(why=f"{resource} needs the right `{action.value}`")
    if action is Permission.OWNER:
        raise ScopeMissing(
            f"No token may {resource}",
            fix="Use `hm` on the node's machine",
        )
    has = ", ".join(sorted(principal.scopes)) or "none"
    raise ScopeMissing(
        f"{resource} needs the scope `{action.value}`",
        why=f"the token has {has}",
        fix=f"hm token create NAME --scope {action.value}",
    )
