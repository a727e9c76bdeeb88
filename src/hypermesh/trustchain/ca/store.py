"""What an authority keeps: certificates, revocations, lists, its audit log.

`CertificateStore` is the seam to the database; `tables` fills it for SQLite and PostgreSQL. All
writes are durable when the method returns, and all that one method writes is there after a crash or
none of it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from hypermesh.trustchain.ca.audit import AuditRow, Entry
from hypermesh.wire.ids import Hash

PAGE_MAX = 1000
"""Rows that a listing answers with at once."""


class Reason(enum.IntEnum):
    """Why a certificate was revoked (RFC 5280 section 5.3.1). A hold is not among them: what could
    come back is not revoked."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    PRIVILEGE_WITHDRAWN = 9


@dataclass(frozen=True, slots=True)
class Recording:
    """A certificate as it is shown, and where the log has it. `sct` is TLS-encoded."""

    certificate: bytes
    index: int
    timestamp_ms: int
    sct: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """A certificate in the store.

    `request` is the digest of what was asked for, `issuer` the key id of who issued it, `holder`
    the SHA-256 of the subject's SubjectPublicKeyInfo, `draft` what the log is given (a
    precertificate, or the final certificate of a hybrid profile), `issuer` 20 bytes; times in
    seconds. Without a `recording` it has never been shown to anyone. `list_number` is that of the
    revocation list which says the same, where the store knows it.
    """

    request: Hash
    serial: int
    issuer: bytes
    kind: str
    requester: str
    holder: Hash
    names: tuple[str, ...]
    issued_s: int
    not_before_s: int
    not_after_s: int
    draft: bytes
    recording: Recording | None = None
    revoked_s: int | None = None
    reason: Reason | None = None
    list_number: int | None = None


@dataclass(frozen=True, slots=True)
class Revoked:
    """An entry of a revocation list. `number` orders all revocations of the store."""

    number: int
    serial: int
    revoked_s: int
    reason: Reason
    not_after_s: int


@dataclass(frozen=True, slots=True)
class Installed:
    """An issuing CA of this store. `settings` is the encoding of how it was installed; `retired_s`
    is when it was replaced, `is_compromised` whether what it issued must be replaced as well."""

    key_id: bytes
    certificate: bytes
    settings: bytes
    installed_s: int
    retired_s: int | None = None
    is_compromised: bool = False


@dataclass(frozen=True, slots=True)
class Lists:
    """The revocation lists of one part: the complete one, the delta to an earlier complete one
    (`base_number`, which held the revocations up to `base_covers`), and what both cover."""

    number: int
    covers: int
    made_s: int
    base_number: int
    base_covers: int
    base_s: int
    complete: bytes
    delta: bytes


class CertificateStore(Protocol):
    """May be used from several threads; several processes may open the same one."""

    def install(self, authority: Installed, entry: Entry) -> None:
        """Make `authority` the one that issues; what issued before is retired. Again, it changes
        nothing."""

    def retire(self, key_id: bytes, at_s: int, *, is_compromised: bool, entry: Entry) -> None:
        """Note the end of an issuing CA. Again, it changes nothing, except that a compromise is
        added to a retirement without one."""

    def authorities(self) -> list[Installed]:
        """All issuing CAs, the newest first."""

    def find(self, requests: Sequence[Hash]) -> dict[Hash, Kept]:
        """The certificates of those `requests` that have one."""

    def decide(self, drafts: Sequence[Kept]) -> list[Kept]:
        """Keep `drafts`, which have no recording; the answer has what stands for each request,
        which is an earlier draft where there was one."""

    def complete(self, recordings: Sequence[tuple[int, Recording]], now_s: int) -> list[Kept]:
        """Add the recordings of serial numbers, each with its row of audit; one that has a
        recording keeps it. The answer is what stands, in the same order."""

    def unrecorded(self, limit: int) -> list[Kept]:
        """Certificates without a recording, the oldest first."""

    def by_serial(self, serial: int) -> Kept | None: ...

    def by_name(self, name: str, limit: int) -> list[Kept]:
        """Those that carry `name` (`dns:host`), the newest first."""

    def by_holder(self, holder: Hash, limit: int) -> list[Kept]:
        """Those of one key, the newest first."""

    def by_requester(self, requester: str, limit: int) -> list[Kept]:
        """Those that `requester` asked for, the newest first."""

    def issued_between(self, from_s: int, to_s: int, limit: int) -> list[Kept]:
        """Those issued from `from_s` on and before `to_s`, the oldest first."""

    def revoke(self, serial: int, shard: int, at_s: int, reason: Reason, entry: Entry) -> bool:
        """Revoke a certificate that the store holds; False where it was revoked before, which is
        left as it was."""

    def revocations(self, issuer: bytes, shard: int, after: int, now_s: int) -> list[Revoked]:
        """The revocations of one part whose number is above `after`, in their order; those of
        certificates that ended before `now_s` are left out."""

    def revocation_count(self, issuer: bytes, shard: int) -> int:
        """The number of the part's last revocation, 0 where there is none."""

    def lists(self, issuer: bytes, shard: int) -> Lists | None: ...

    def put_lists(self, issuer: bytes, shard: int, made: Lists) -> Lists:
        """Keep `made` where its number is the next one; the answer is what stands."""

    def append(self, entry: Entry) -> AuditRow:
        """One more row of the audit log."""

    def audit(self, after: int, limit: int) -> list[AuditRow]:
        """Rows of the audit log whose number is above `after`, in their order."""

    def untold(self, kinds: Sequence[str], limit: int) -> list[AuditRow]:
        """Rows of these kinds that have no place in the log of acts yet."""

    def told(self, places: Sequence[tuple[int, int]]) -> None:
        """Note the places (number of the row, index in the log of acts)."""

    def close(self) -> None:
        """Release what is open. Nothing is lost without it."""


def whole_audit(store: CertificateStore) -> Iterator[AuditRow]:
    """All rows of the audit log, read in parts."""
    last = 0
    while rows := store.audit(last, PAGE_MAX):
        yield from rows
        last = rows[-1].number
