"""Who may have what certified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, final

from hypermesh.trustchain.ca.names import Name, NameForbidden, Permission
from hypermesh.trustchain.ca.profile import Kind


class Policy(Protocol):
    """Judges orders. Pure: the same question has the same answer."""

    def require(self, requester: str, kind: Kind, names: Sequence[Name]) -> None:
        """Raise `NameForbidden` unless `requester` may have `names` certified as `kind`."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one requester may have certified."""

    kinds: frozenset[Kind]
    permission: Permission


@final
class Grants:
    """A policy that is a table of requesters; who is not in it gets nothing."""

    def __init__(self, grants: Mapping[str, Grant]) -> None:
        self._grants = dict(grants)

    def require(self, requester: str, kind: Kind, names: Sequence[Name]) -> None:
        grant = self._grants.get(requester)
        if grant is None or kind not in grant.kinds:
            raise NameForbidden(f"{requester!r} may have no certificate of the kind {kind}")
        grant.permission.require(names)
