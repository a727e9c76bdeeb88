"""The report over what a network's authority did in a time."""

from __future__ import annotations

import msgspec

from hypermesh.wire.api.body import Hex32


class Control(msgspec.Struct, frozen=True):
    """A control, and what in a report bears on it."""

    framework: str
    id: str
    text: str
    evidence: str


class ReportedCertificate(msgspec.Struct, frozen=True):
    """A certificate that was issued: entry `index` of its log. `node` and `owner` are null where it
    is for names of a server. Times are seconds since 1970."""

    index: int
    logged_s: int
    node: Hex32 | None
    owner: Hex32 | None
    names: list[str]
    issuer: str
    not_after_s: int
    sha256: Hex32


class ReportedAct(msgspec.Struct, frozen=True):
    """An act of governance or of naming: entry `index` of the log of acts. `by` is the owner who
    signed it on the ledger, null for acts of the authority itself; `height` the block."""

    index: int
    logged_s: int
    kind: str
    subject: str
    reason: str | None
    by: Hex32 | None
    height: int | None


class AuthorityReport(msgspec.Struct, frozen=True):
    """What the logs of the authority hold from `from_s` on and before `to_s`, seconds since 1970,
    as of the block `height`. All of it is counted; `certificates` and `acts` are the first ones,
    and as many as the two figures say are left out. `positions`: the first entry of each log in the
    period and the one after the last; `checkpoints` each log's newest, as a signed note."""

    network: str
    genesis: Hex32
    height: int
    from_s: int
    to_s: int
    made_s: int
    caveat: str
    policy: list[str]
    root_sha256: Hex32
    issuing_sha256: list[Hex32]
    issued: int
    issued_by_owner: dict[str, int]
    revoked: int
    revoked_by_reason: dict[str, int]
    revoked_by_owner: dict[str, int]
    acts_by_kind: dict[str, int]
    positions: dict[str, tuple[int, int]]
    checkpoints: dict[str, str]
    controls: list[Control]
    certificates: list[ReportedCertificate]
    certificates_left_out: int
    acts: list[ReportedAct]
    acts_left_out: int
