"""The audit log of an authority: one row for each act, each bound to the one before it.

    hash = digest "ca-audit" of (number, time, actor, kind, subject, document, hash before)

A row that was altered, left out, put in or moved breaks the chain. Rows cut off at the end break
nothing by themselves; so heads are given away: each act that the log of acts holds names the head
before it, and who has seen a head can ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import Hash

ORIGIN: Hash = bytes(32)
"""The hash before the first row."""

DOCUMENT_BYTES_MAX = 16 * 1024


class AuditBroken(HyperMeshError):
    """The audit log is not what was written."""

    code = "HM-TRUST-0114"
    exit_code = 9
    title = "The audit log was changed"
    remedy = "Keep the file as it is and compare it with a backup"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An act before it has its place: when (seconds since 1970), by whom, what (a dotted word), on
    what (a serial number, a name), and its particulars as one canonical encoding."""

    at_s: int
    actor: str
    kind: str
    subject: str
    document: bytes


class AuditRow(msgspec.Struct, frozen=True, array_like=True):
    """An act in its place; numbers begin with 1."""

    number: int
    entry: Entry
    before: Hash
    hash: Hash


def follows(entry: Entry, number: int, before: Hash) -> AuditRow:
    """The row number `number` after the one whose hash is `before`."""
    return AuditRow(number, entry, before, digest_of("ca-audit", (number, entry, before)))


def check(rows: Iterable[AuditRow], head: Hash | None = None) -> int:
    """Check the whole log, from the first row on; the number of rows. Raises `AuditBroken` at the
    first row that is not what was written, and where the row whose hash is `head` is not there."""
    number, before = 0, ORIGIN
    is_seen = head is None or head == ORIGIN
    for row in rows:
        number += 1
        if row.number != number:
            raise AuditBroken(why=f"row {number} is missing; row {row.number} stands in its place")
        if row != follows(row.entry, number, before):
            raise AuditBroken(why=f"row {number} is not what was written, or follows another")
        before = row.hash
        is_seen = is_seen or before == head
    if not is_seen:
        raise AuditBroken(why="the row that an earlier head names is gone")
    return number
