"""The invitations that are out: one use each, but as often as that use needs repeating.

A secret is stored as its digest only. The first request that shows it binds it, durably, before
anything else happens; from then on it is good for that request alone, so a joining node whose
answer was lost asks again and a second reader of the token gets nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from hypermesh.crypto.digest import digest
from hypermesh.trustchain.ca.database import Database
from hypermesh.trustchain.invitation import LIFETIME_S, SECRET_BYTES, InvitationExpired
from hypermesh.wire.errors import Forbidden, Overloaded
from hypermesh.wire.ids import Hash, OwnerId

OPEN_MAX = 64
"""Invitations that are neither used nor expired."""

KEPT_S = 24 * 60 * 60
"""Seconds after its end that an invitation is remembered, to say why it is refused and to repeat
the answer to its request."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS invitations (
    secret_digest BLOB PRIMARY KEY,
    owner BLOB,
    expires_s INTEGER NOT NULL,
    request BLOB
) STRICT, WITHOUT ROWID;
"""


class InvitationUnknown(Forbidden):
    """No invitation of this node has this secret, or it ended more than a day ago."""

    code = "HM-TRUST-0012"
    title = "The invitation is not known here"
    remedy = "Ask for a new one: `hm invite`"


class InvitationUsed(Forbidden):
    """Another machine, or the same one with other keys, has used it."""

    code = "HM-TRUST-0013"
    title = "The invitation was used by another request"
    remedy = "Ask for a new one, and ask who used this one: `hm invite`, `hm status`"


class InvitationsFull(Overloaded):
    """Too many invitations are open at once."""

    code = "HM-TRUST-0014"
    title = f"{OPEN_MAX} invitations are open"
    remedy = "Wait until some are used or an hour old"


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """The bearer secret, seen once, and its end in seconds since 1970."""

    secret: bytes
    expires_s: int


class Invitations:
    """The durable list of invitations of one certificate authority."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(directory / "invitations.sqlite", _SCHEMA)

    def create(self, owner: OwnerId | None, now_s: int) -> NewInvitation:
        """A new invitation, durable. With `owner`, who uses it becomes a machine of that owner
        (`hm invite --mine`). Raises `InvitationsFull`."""
        secret = secrets.token_bytes(SECRET_BYTES)
        expires_s = now_s + LIFETIME_S
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM invitations WHERE expires_s < ?", (now_s - KEPT_S,))
            (count,) = connection.execute(
                "SELECT count(*) FROM invitations WHERE request IS NULL AND expires_s >= ?",
                (now_s,),
            ).fetchone()
            if count >= OPEN_MAX:
                raise InvitationsFull
            connection.execute(
                "INSERT INTO invitations VALUES (?, ?, ?, NULL)",
                (secret_digest(secret), owner, expires_s),
            )
        return NewInvitation(secret, expires_s)

    def owner(self, secret: bytes) -> OwnerId | None:
        """The owner who takes in the machine that uses `secret`; None where it brings its own.
        Binds nothing. Raises `InvitationUnknown`."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT owner FROM invitations WHERE secret_digest = ?", (secret_digest(secret),)
            ).fetchone()
        if row is None:
            raise InvitationUnknown
        owner: OwnerId | None = row[0]
        return owner

    def bind(self, secret: bytes, request: Hash, now_s: int) -> None:
        """Use the invitation for `request`; durable when this returns. Again for the same request
        it changes nothing, even after the invitation's end.

        Raises `InvitationUnknown`, `InvitationUsed` or `InvitationExpired`.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT expires_s, request FROM invitations WHERE secret_digest = ?",
                (secret_digest(secret),),
            ).fetchone()
            if row is None:
                raise InvitationUnknown
            expires_s, bound = row
            if bound is not None:
                if bound != request:
                    raise InvitationUsed
                return
            if now_s > expires_s:
                raise InvitationExpired
            connection.execute(
                "UPDATE invitations SET request = ? WHERE secret_digest = ?",
                (request, secret_digest(secret)),
            )

    def close(self) -> None:
        """Release the file. Nothing is lost without it."""
        self._database.close()


def secret_digest(secret: bytes) -> Hash:
    """What stands for `secret` where others may read it."""
    # The secret is 128 random bits, so a plain digest is as hard to invert as the secret to guess.
    return digest("invitation-secret", secret)
