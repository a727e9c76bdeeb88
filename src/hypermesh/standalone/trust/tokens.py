"""Who may use the server: roles, and the bearer tokens that carry them.

A token is `hmt_` and 256 random bits; kept is a digest of it (BLAKE3, context
`hypermesh/v1/trustchain-token`), so the file tells nobody a token. All are one file, replaced
whole: durable when answered. The server reads the file again when it has changed, so the command
line makes and ends tokens while it runs.
"""

from __future__ import annotations

import enum
import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from hypermesh.crypto.digest import digest
from hypermesh.crypto.files import replace
from hypermesh.standalone.trust.errors import SettingsInvalid, TokensFull
from hypermesh.trustchain.ca.names import require_pattern
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.errors import InvalidInput, NotFound
from hypermesh.wire.ids import Hash

PREFIX = "hmt_"
SECRET_BYTES = 32
ID_BYTES = 8
TOKENS_MAX = 1000
NAMES_MAX = 100
LABEL_CHARACTERS_MAX = 64
LIFETIME_S_DEFAULT = 90 * 24 * 60 * 60
LIFETIME_S_MAX = 10 * 365 * 24 * 60 * 60


class Role(enum.StrEnum):
    """What a principal is for. An operator may do all that the others may."""

    OPERATOR = "operator"
    AUDITOR = "auditor"
    REQUESTER = "requester"


class Token(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a token. Times are seconds since 1970. `names` are the patterns of names that
    a requester may have certified (`trustchain.ca.names.Permission`)."""

    id: str
    digest: Hash
    label: str
    role: Role
    names: tuple[str, ...]
    created_s: int
    expires_s: int


class Tokens:
    """The tokens in one file of mode 0600. Looked up by any thread."""

    def __init__(self, file: Path) -> None:
        """Raises `SettingsInvalid` where the file is damaged."""
        self._file = file
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._by_digest: dict[Hash, Token] = {}
        self._refresh()

    def find(self, token: str) -> Token | None:
        """What is kept of `token`, ended or not; None for one that nobody has made."""
        self._refresh()
        # The time that a look-up by digest takes tells nothing of any token.
        return self._by_digest.get(_digest(token))

    def listed(self) -> list[Token]:
        """All, by their labels and ids."""
        self._refresh()
        return sorted(self._by_digest.values(), key=lambda each: (each.label, each.id))

    def create(
        self, label: str, role: Role, names: tuple[str, ...], now_s: int, lifetime_s: int
    ) -> tuple[str, Token]:
        """Make a token: itself, for this once, and what is kept of it. Raises `TokensFull`,
        `InvalidInput`."""
        if not 1 <= len(label) <= LABEL_CHARACTERS_MAX or not label.isprintable():
            raise InvalidInput(f"A label has 1 to {LABEL_CHARACTERS_MAX} printable characters")
        if len(names) > NAMES_MAX:
            raise InvalidInput(f"A token permits at most {NAMES_MAX} patterns of names")
        for each in names:
            require_pattern(each)
        if not 1 <= lifetime_s <= LIFETIME_S_MAX:
            raise InvalidInput(f"A token lives 1 to {LIFETIME_S_MAX} seconds")
        text = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        kept = Token(
            secrets.token_hex(ID_BYTES),
            _digest(text),
            label,
            role,
            names,
            now_s,
            now_s + lifetime_s,
        )
        with self._changing() as tokens:
            others = [each for each in tokens if each.expires_s > now_s]
            if len(others) >= TOKENS_MAX:
                raise TokensFull
            self._replace([*others, kept])
        return text, kept

    def revoke(self, token_id: str) -> Token:
        """End a token at once and forget it; raises `NotFound`."""
        with self._changing() as tokens:
            found = [each for each in tokens if each.id == token_id]
            if not found:
                raise NotFound(
                    f"There is no token {token_id[:40]!r}", fix="trustchain-server token ls"
                )
            self._replace([each for each in tokens if each.id != token_id])
        return found[0]

    @contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        """The tokens, while no other process changes them."""
        claim = os.open(
            self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(claim, fcntl.LOCK_EX)
            self._refresh()
            yield list(self._by_digest.values())
        finally:
            os.close(claim)

    def _replace(self, tokens: list[Token]) -> None:
        replace(self._file, encode(tokens))
        self._refresh()

    def _refresh(self) -> None:
        with self._lock:
            try:
                found = self._file.stat()
            except FileNotFoundError:
                self._by_digest, self._seen = {}, None
                return
            # Each change is another file, so its inode or its time differs.
            seen = (found.st_ino, found.st_mtime_ns)
            if seen == self._seen:
                return
            try:
                tokens = decode(list[Token], self._file.read_bytes())
            except Undecodable as error:
                raise SettingsInvalid(
                    f"{self._file} is damaged",
                    why=str(error),
                    fix="Remove it: every token must then be made again",
                ) from error
            self._by_digest = {each.digest: each for each in tokens}
            self._seen = seen


def _digest(token: str) -> Hash:
    return digest("trustchain-token", token.encode())
