"""Transparency logs as the API shows them."""

from __future__ import annotations

from typing import Literal

import msgspec

from hypermesh.wire.api.body import Hex32


class AnchorView(msgspec.Struct, frozen=True):
    """What the ledger says of a log since block `height`: the root of its first `size` entries
    (RFC 6962 section 2.1)."""

    size: int
    root: Hex32
    height: int
    time_ms: int


class LogWitness(msgspec.Struct, frozen=True):
    """A node that was asked to cosign a log: how many entries it cosigned last, null where none,
    and why it did not the last time, null where it did."""

    node: Hex32
    owner: Hex32
    size: int | None
    refused: str | None


class WitnessedView(msgspec.Struct, frozen=True):
    """What this node cosigned of a log as a witness: its first `size` entries and their root, null
    where it cosigned none yet. `contradiction`: why the log is not to be believed, null where
    nothing speaks against it."""

    size: int
    root: Hex32 | None
    contradiction: str | None


class LogGrowth(msgspec.Struct, frozen=True):
    """Anchors of a log, the smallest tree first: all of them, or of more than fit into one answer
    some, with the first and the last among them. `anchors` is how many there are."""

    purpose: Literal["certificates", "acts"]
    origin: str
    anchors: int
    items: list[AnchorView]


class CtGrowth(msgspec.Struct, frozen=True):
    """How the logs that take entries have grown, by what the ledger has anchored."""

    logs: list[LogGrowth]


class LogHere(msgspec.Struct, frozen=True):
    """The log itself, at the node that keeps it: its entries, those that wait to become some, its
    newest checkpoint (a C2SP signed note), why it takes no entries, null while it does, and the
    nodes that were asked to cosign it."""

    size: int
    root: Hex32
    waiting: int
    checkpoint: str
    failure: str | None
    witnesses: list[LogWitness]


class LogView(msgspec.Struct, frozen=True):
    """A log of the network's authority.

    `fingerprint` is the SHA-256 over its origin and public keys. `ended_height`: another log
    follows it since that block, null for the one that takes entries. `here` is null on every node
    but the one that keeps the log, `witnessed` on every node that has cosigned nothing of it.
    """

    purpose: Literal["certificates", "acts"]
    origin: str
    fingerprint: Hex32
    begun_height: int
    ended_height: int | None
    anchored: AnchorView
    here: LogHere | None
    witnessed: WitnessedView | None


class CtLogKeys(msgspec.Struct, frozen=True):
    """A log's origin and public keys, base64: Ed25519 and FALCON-1024 raw, P-256 as
    SubjectPublicKeyInfo, null in a log of acts."""

    origin: str
    ed25519: bytes
    falcon: bytes
    p256: bytes | None


class CtKeys(msgspec.Struct, frozen=True):
    """The logs that take entries, by the ledger: what `hm cert watch --log` reads."""

    certificates: CtLogKeys
    acts: CtLogKeys


class LogEntry(msgspec.Struct, frozen=True):
    """Where a certificate is in a log. `anchored`: the ledger's newest anchor of that log covers
    it. Times are milliseconds since 1970."""

    origin: str
    index: int
    logged_ms: int
    anchored: bool


class CtView(msgspec.Struct, frozen=True):
    """The network's transparency logs, as the ledger here knows them at `height`: the newest of
    each purpose first, then those that ended. `certificate` is where this node's own certificate
    is; null where it came from an authority that kept no log yet. `failure` is the first reason why
    a log here takes no entries."""

    height: int
    logs: list[LogView]
    certificate: LogEntry | None
    failure: str | None
