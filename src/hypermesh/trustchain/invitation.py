"""The invitation: what a machine must know to join a network, as text to copy and paste.

    hm1-  base32, lower case, of   length u16 | encoded Invitation | checksum 4 B

The length tells a text that was cut short from one that was mistyped; the checksum (the first
bytes of the digest `invitation` over what stands before it) finds every typing mistake but one in
2^32. The secret in it is a bearer secret: whoever has the text first may join.
"""

from __future__ import annotations

import base64
import datetime as dt
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.crypto.digest import digest
from hypermesh.wire.asset import Locator
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.errors import Forbidden, InvalidInput
from hypermesh.wire.ids import GenesisId, Hash

LIFETIME_S = 60 * 60
"""Seconds from `hm invite` until the invitation is void."""

VERSION = 2
SECRET_BYTES = 16
LOCATORS_MAX = 4
TEXT_CHARACTERS_MAX = 4096

_PREFIX = "hm1-"
_LENGTH_BYTES = 2
_CHECKSUM_BYTES = 4
_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz234567")


class InvitationUnreadable(InvalidInput):
    """The text is not an invitation, was cut short, or was mistyped."""

    code = "HM-TRUST-0010"
    title = "This is not an invitation"
    remedy = "Copy the whole token that `hm invite` printed"


class InvitationExpired(Forbidden):
    """Its hour has passed."""

    code = "HM-TRUST-0011"
    title = "The invitation has expired"
    remedy = "Ask for a new one: `hm invite`"


class Invitation(msgspec.Struct, frozen=True, array_like=True):
    """Which network, by which root (SHA-256 of its certificate), where, with which secret, until
    when (seconds since 1970), and whether the machine becomes the issuer's own (`mine`) or brings
    an owner. The locators name the NodeId of the certificate authority's node, so no other node of
    the network can take its place."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    genesis: GenesisId
    root_sha256: Hash
    secret: Annotated[bytes, Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
    expires_s: Annotated[int, Meta(ge=0, le=2**40)]
    mine: bool
    locators: Annotated[list[Locator], Meta(min_length=1, max_length=LOCATORS_MAX)]

    def __str__(self) -> str:
        payload = encode(self)
        body = len(payload).to_bytes(_LENGTH_BYTES, "big") + payload
        text = base64.b32encode(body + _checksum(body)).decode("ascii")
        return _PREFIX + text.rstrip("=").lower()

    def check_time(self, now_s: int) -> None:
        """Raise `InvitationExpired` at `now_s` seconds since 1970 and later, if it is."""
        if now_s > self.expires_s:
            end = dt.datetime.fromtimestamp(self.expires_s, dt.UTC)
            raise InvitationExpired(why=f"it was good until {end:%Y-%m-%d %H:%M} UTC")


def parse(text: str) -> Invitation:
    """The invitation that `text` is; white space, as a wrapped terminal line adds, does not count.

    Raises `InvitationUnreadable`, saying whether the text is something else, incomplete, has too
    much, or was mistyped. One invitation has one text: upper case or padding are refused.
    """
    compact = "".join(text.split())
    if len(compact) > TEXT_CHARACTERS_MAX:
        raise InvitationUnreadable(why=f"it is longer than {TEXT_CHARACTERS_MAX} characters")
    if not compact.startswith(_PREFIX):
        raise InvitationUnreadable(why=f"an invitation begins with {_PREFIX}")
    data = _base32(compact.removeprefix(_PREFIX))
    size = int.from_bytes(data[:_LENGTH_BYTES], "big")
    whole = _LENGTH_BYTES + size + _CHECKSUM_BYTES
    if len(data) < whole:
        known = len(data) >= _LENGTH_BYTES
        of_all = f" of {_characters(whole)}" if known else ""
        raise InvitationUnreadable(
            "The invitation is incomplete", why=f"{len(compact)}{of_all} characters are there"
        )
    if len(data) > whole:
        raise InvitationUnreadable(
            "The invitation is followed by something else",
            why=f"it has {_characters(whole)} characters and {len(compact)} are there",
        )
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if _checksum(body) != checksum:
        raise InvitationUnreadable(
            "The invitation was mistyped", why="its checksum does not match the rest"
        )
    try:
        invitation = decode(Invitation, body[_LENGTH_BYTES:])
    except Undecodable as error:
        raise InvitationUnreadable(
            "The invitation is from another version of HyperMesh", why=error.why
        ) from error
    if str(invitation) != compact:
        raise InvitationUnreadable("The invitation was mistyped", why="its last character is wrong")
    return invitation


def _base32(text: str) -> bytes:
    if text != text.lower() or "=" in text:
        raise InvitationUnreadable(
            "The invitation was mistyped", why="it has lower-case letters and digits only"
        )
    whole = text + "=" * (-len(text) % 8)
    try:
        return base64.b32decode(whole.upper())
    except ValueError as error:
        strange = set(text) - _ALPHABET
        if strange:
            raise InvitationUnreadable(
                "The invitation was mistyped", why=f"{min(strange)!r} is not a character of one"
            ) from error
        # Cut to a length that no whole number of bytes has: what the whole groups hold will do.
        return base64.b32decode(text[: len(text) // 8 * 8].upper())


def _characters(size: int) -> int:
    return len(_PREFIX) + (8 * size + 4) // 5


def _checksum(body: bytes) -> bytes:
    return digest("invitation", body)[:_CHECKSUM_BYTES]
