"""What each requester may have certified, as settings and tokens say at that moment.

server                  the server's own names, for its TLS
token:ID, client:NAME   what the token or the client is permitted, within `permitted`;
                        all of `permitted` where it names nothing of its own
acme:ACCOUNT            `permitted`; the ACME server has seen the control of each name
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import final

from hypermesh.standalone.trust.settings import Settings
from hypermesh.standalone.trust.tokens import Role, Tokens
from hypermesh.trustchain.ca.names import Name, NameForbidden, Permission
from hypermesh.trustchain.ca.profile import Kind

SERVER = "server"
ACME = "acme:"
TOKEN = "token:"
CLIENT = "client:"


@final
class Granting:
    """A `trustchain.ca.policy.Policy` over settings and tokens."""

    def __init__(self, settings: Settings, tokens: Tokens) -> None:
        self._settings = settings
        self._tokens = tokens

    def change(self, settings: Settings) -> None:
        """Grant by other settings from the next request on."""
        self._settings = settings

    def require(self, requester: str, kind: Kind, names: Sequence[Name]) -> None:
        """Raise `NameForbidden` unless `requester` may have `names` certified as `kind`."""
        if requester == SERVER:
            if kind not in (Kind.SERVICE, Kind.RESPONDER) or not set(names) <= set(
                self._settings.own_names
            ):
                raise NameForbidden("The server certifies itself for its own names alone")
            return
        own = self._own(requester)
        if own is None or kind is Kind.RESPONDER:
            raise NameForbidden(f"{requester!r} may have no certificate of the kind {kind}")
        Permission(self._settings.permitted, wildcards=True).require(names)
        if own:
            Permission(own, wildcards=True).require(names)

    def _own(self, requester: str) -> tuple[str, ...] | None:
        """The patterns of `requester`; none of its own: empty; not one who may ask: None."""
        if requester.startswith(ACME):
            return ()
        if requester.startswith(TOKEN):
            wanted = requester.removeprefix(TOKEN)
            for token in self._tokens.listed():
                if token.id == wanted and token.expires_s > time.time():
                    return None if token.role is Role.AUDITOR else token.names
        if requester.startswith(CLIENT):
            for client in self._settings.client:
                if client.name == requester.removeprefix(CLIENT):
                    return None if client.role is Role.AUDITOR else client.names
        return None
