"""Signed notes (C2SP signed-note): a text, an empty line, and lines that sign it.

    — <name> base64(key id u32 | signature)

The key id is made from name, type and public key, so a line says which key made it and how. One
note has one form here: base64 that another encoder would write otherwise is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hypermesh.trustchain.ct.errors import EntryInvalid, ProofInvalid

SIGNATURES_MAX = 64
NOTE_BYTES_MAX = 1 << 17
KEY_ID_BYTES = 4
_DASH = "\u2014 "


class Verifier(Protocol):
    """A known key: its lines are those with its `name` and `key_id` (4 bytes)."""

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> bytes: ...

    def holds(self, text: bytes, signature: bytes) -> bool:
        """Whether `signature` (of any length) over the note's text verifies."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """A signature line."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """`text` ends in a newline."""

    text: str
    lines: tuple[Line, ...]

    def encoded(self) -> bytes:
        return (self.text + "\n" + "".join(map(str, self.lines))).encode()

    def signed_by(self, verifier: Verifier) -> Line | None:
        """The first line that `verifier` made, if its signature holds. Raises `ProofInvalid` where
        a line claims to be the verifier's and its signature does not hold."""
        found = None
        for line in self.lines:
            if (line.name, line.key_id) != (verifier.name, verifier.key_id):
                continue
            if not verifier.holds(self.text.encode(), line.signature):
                raise ProofInvalid(f"The signature of {verifier.name} does not hold")
            found = found or line
        return found


def key_id(name: str, kind: bytes, public: bytes) -> bytes:
    """The id of a key; `kind` is the byte of its signature type, or what stands for it."""
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:KEY_ID_BYTES]


def require_name(name: str) -> str:
    """`name`, where it may name a key; raises `EntryInvalid`."""
    if not name or "+" in name or any(each.isspace() or each < " " for each in name):
        raise EntryInvalid(f"{name[:80]!r} is no name of a key")
    return name


def read_note(data: bytes) -> Note:
    """The note; raises `EntryInvalid`. Nothing in it is to be believed before `verified`."""
    if len(data) > NOTE_BYTES_MAX:
        raise EntryInvalid(f"A note of {len(data)} bytes is too large")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise EntryInvalid("The note is no UTF-8") from None
    if any(each < " " and each != "\n" for each in whole):
        raise EntryInvalid("The note holds control characters")
    text, separator, signatures = whole.rpartition("\n\n")
    if not separator or not text:
        raise EntryInvalid("The note has no signatures")
    return Note(text + "\n", read_lines(signatures))


def read_lines(signatures: str) -> tuple[Line, ...]:
    """Signature lines; raises `EntryInvalid`."""
    rows = signatures.split("\n")
    if rows.pop() or not 1 <= len(rows) <= SIGNATURES_MAX:
        raise EntryInvalid(f"A note has 1 to {SIGNATURES_MAX} whole signature lines")
    return tuple(map(_line, rows))


def verified(note: Note, verifiers: Iterable[Verifier]) -> Note:
    """`note`, signed by every one of `verifiers`; lines of others are left aside.

    Raises `ProofInvalid` where a line is missing or does not hold.
    """
    for verifier in verifiers:
        if note.signed_by(verifier) is None:
            raise ProofInvalid(f"A signature of {verifier.name} is missing")
    return note


def with_lines(note: Note, lines: Sequence[Line]) -> Note:
    """`note` with `lines`, each in the place of one by the same key if there is one."""
    fresh = {(line.name, line.key_id): line for line in (*note.lines, *lines)}
    return Note(note.text, tuple(fresh.values()))


def _line(row: str) -> Line:
    dash, name, encoded = row[:2], *_halves(row[2:])
    if dash != _DASH:
        raise EntryInvalid("A signature line begins with an em dash")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise EntryInvalid("A signature line holds no base64") from None
    if len(data) <= KEY_ID_BYTES or base64.b64encode(data).decode() != encoded:
        raise EntryInvalid("A signature line is too short, or its base64 not in canonical form")
    return Line(require_name(name), data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def _halves(rest: str) -> tuple[str, str]:
    name, separator, encoded = rest.partition(" ")
    if not separator:
        raise EntryInvalid("A signature line is a name and a signature")
    return name, encoded
