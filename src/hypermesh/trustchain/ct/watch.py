"""Following a log from outside: does it only grow, and does it name what it should not?

A `Follower` reads every entry from where it stood, and hashes them into its own right edge of the
tree; after each step its root has to lead to the log's checkpoint, so a fork or an altered entry
cannot pass. Its position is a file, replaced once everything up to it was given out: an entry is
given out at least once.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from cryptography import x509
from msgspec import Meta

from hypermesh.crypto.files import make_directory, replace
from hypermesh.trustchain.ct.checkpoint import Checkpoint, LogIdentity
from hypermesh.trustchain.ct.entry import Entry, read_bundle, read_tile_leaves
from hypermesh.trustchain.ct.errors import EntryInvalid, LogDamaged, ProofInvalid
from hypermesh.trustchain.ct.growing import Edge
from hypermesh.trustchain.ct.note import Verifier
from hypermesh.trustchain.ct.tiles import (
    LEVELS,
    WIDTH,
    Tile,
    consistency,
    root_at,
    tile_path,
    width_of,
)
from hypermesh.trustchain.ct.tree import EMPTY_ROOT, SIZE_MAX, consistent, leaf_hash
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.ids import Hash

TILES_AT_ONCE = 16
"""Tiles of entries between two looks at the root; as many entries are in memory at a time."""
POSITION_BYTES_MAX = 1 << 20


class LogSource(Protocol):
    """Where a log is read: `checkpoint`, `tile/...` below its prefix. It is trusted with nothing;
    it raises `HyperMeshError` where it cannot answer."""

    def resource(self, path: str) -> bytes: ...


class ForkSeen(ProofInvalid):
    """The log signed two histories; `notes` are the checkpoints that prove it."""

    notes: tuple[bytes, ...] = ()


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a follower stands: entries read, the edge of their tree, and the checkpoint that it
    checked them against."""

    version: Annotated[int, Meta(ge=1, le=1)]
    origin: str
    size: Annotated[int, Meta(ge=0, le=SIZE_MAX)]
    partial: Annotated[
        list[Annotated[list[Hash], Meta(max_length=WIDTH - 1)]],
        Meta(min_length=LEVELS + 1, max_length=LEVELS + 1),
    ]
    note: bytes


class Follower:
    """Follows the log `identity` through `source`, from the position in the file `position`. With
    `witnesses`, a checkpoint counts only if `quorum` of them cosigned it."""

    entries_name = "entries"

    def __init__(
        self,
        source: LogSource,
        identity: LogIdentity,
        position: Path,
        witnesses: Sequence[Verifier] = (),
        quorum: int = 0,
    ) -> None:
        make_directory(position.parent)
        self._source = source
        self._identity = identity
        self._file = position
        self._witnesses = witnesses
        self._quorum = quorum
        self._edge, self._note = self._recall()

    @property
    def size(self) -> int:
        """Entries that were given out and checked."""
        return self._edge.size

    def follow(self, take: Callable[[int, bytes], None]) -> Checkpoint:
        """Give every new leaf to `take`, with its index, and return the checkpoint now followed.

        Raises `ForkSeen` where the log contradicts what it showed before, `ProofInvalid` or
        `EntryInvalid` where what `source` gave does not hold, and whatever `source` and `take`
        raise; the position is then that of the last step that held.
        """
        note = self._source.resource("checkpoint")
        shown = self._identity.opened(note, self._witnesses, self._quorum)
        if shown.size <= self._edge.size:
            self._require_same_history(shown, note)
            return shown
        while self._edge.size < shown.size:
            self._step(shown, note, take)
        return shown

    def leaves(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(what `take` gets, the leaf) of each entry of a tile of entries."""
        return ((leaf, leaf) for leaf in read_bundle(data))

    def _step(self, shown: Checkpoint, note: bytes, take: Callable[[int, bytes], None]) -> None:
        before = self._edge
        end = min(shown.size, (before.size // WIDTH + TILES_AT_ONCE) * WIDTH)
        fresh: list[tuple[bytes, bytes]] = []
        for tile in range(before.size // WIDTH, (end + WIDTH - 1) // WIDTH):
            width = width_of(0, tile, shown.size)
            name = tile_path(Tile(None, tile, width), self.entries_name)
            found = list(self.leaves(self._source.resource(name)))
            if len(found) != width:
                raise EntryInvalid(f"{name} has {len(found)} entries")
            fresh += found[max(0, before.size - tile * WIDTH) :]
        edge, _ = before.grown([leaf_hash(leaf) for _, leaf in fresh])
        self._require_growth(edge, shown, note)
        for index, (given, _) in enumerate(fresh, before.size):
            take(index, given)
        self._keep(edge, note)

    def _require_growth(self, edge: Edge, shown: Checkpoint, note: bytes) -> None:
        path = consistency(self._hashes, edge.size, shown.size)
        if consistent(edge.size, edge.root(), shown.size, shown.root, path):
            return
        before = self._edge
        if self._is_elsewhere(before.size, before.root(), shown.size, shown.root):
            raise self._fork(note)
        raise ProofInvalid("The entries do not lead to the checkpoint")

    def _require_same_history(self, shown: Checkpoint, note: bytes) -> None:
        """An older checkpoint than the one known may come from a cache; its root has to fit."""
        edge, size = self._edge, shown.size
        root = edge.root()
        if size == edge.size:
            if shown.root != root:
                raise self._fork(note)
            return
        path = consistency(self._hashes, size, edge.size)
        if consistent(size, shown.root, edge.size, root, path):
            return
        if self._is_elsewhere(size, shown.root, edge.size, root):
            raise self._fork(note)
        raise ProofInvalid("Nothing proves that the older checkpoint is of the same log")

    def _is_elsewhere(self, first: int, first_root: bytes, second: int, root: bytes) -> bool:
        """Whether the tree under `root` provably begins with another tree than `first_root`. The
        source is not trusted, so its tiles count as far as they lead to `root`."""
        if first == 0:
            return first_root != EMPTY_ROOT
        other = root_at(self._hashes, first)
        path = consistency(self._hashes, first, second)
        return other != first_root and consistent(first, other, second, root, path)

    def _fork(self, note: bytes) -> ForkSeen:
        fork = ForkSeen(
            f"The log {self._identity.origin} contradicts itself",
            why=f"its checkpoint does not follow from the {self._edge.size} entries it had",
            fix="Keep both checkpoints as evidence, and trust nothing that the log says",
        )
        fork.notes = (self._note, note)
        return fork

    def _hashes(self, level: int, index: int, width: int) -> bytes:
        return self._source.resource(tile_path(Tile(level, index, width)))

    def _keep(self, edge: Edge, note: bytes) -> None:
        partial = [list(row) for row in edge.partial]
        position = Position(1, self._identity.origin, edge.size, partial, note)
        replace(self._file, encode(position))
        self._edge, self._note = edge, note

    def _recall(self) -> tuple[Edge, bytes]:
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return Edge.empty(), b""
        try:
            kept = decode(Position, data, size_max=POSITION_BYTES_MAX)
        except Undecodable as error:
            raise LogDamaged(
                f"{self._file} is no position in a log",
                why=error.why,
                fix="Move it away; the log is then read from its beginning",
            ) from error
        if kept.origin != self._identity.origin:
            raise LogDamaged(
                f"{self._file} is a position in another log",
                why=f"in {kept.origin}",
                fix="Use one file for each log",
            )
        return Edge(kept.size, tuple(tuple(row) for row in kept.partial)), kept.note


class CertificateFollower(Follower):
    """A `Follower` of a log of certificates; what it gives out are whole TileLeafs."""

    entries_name = "data"

    def leaves(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        return ((entry.stored, entry.leaf) for entry in read_tile_leaves(data))


@dataclass(frozen=True)
class Names:
    """Which names call for an alert: those that match `watched` and not `expected`, unless the
    certificate is one of `known` (`Known.digests`), or its serial number one of `serials`.

    A pattern is a name, or `*.` and a name for all below it at any depth, or `*` for all.
    """

    expected: tuple[str, ...] = ()
    watched: tuple[str, ...] = ("*",)
    known: frozenset[bytes] = field(default_factory=frozenset)
    serials: frozenset[int] = field(default_factory=frozenset)

    def unexpected(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of `names` that call for an alert."""
        return tuple(
            name
            for name in names
            if _matches(name, self.watched) and not _matches(name, self.expected)
        )


@dataclass(frozen=True)
class Alert:
    """An entry with names that were not expected, or that cannot be read (`names` is then
    empty)."""

    index: int
    timestamp_ms: int
    names: tuple[str, ...]
    issuer: str
    fingerprint: bytes
    why: str


class Watch:
    """Follows a log of certificates and tells `alert` of unexpected names."""

    def __init__(
        self,
        follower: CertificateFollower,
        names: Names,
        alert: Callable[[Alert], None],
        is_known: Callable[[Entry], bool] = lambda _: False,
    ) -> None:
        """`is_known` is asked before an alert, and says whether there is no need of one."""
        self._follower = follower
        self.names = names
        """May be set between two looks."""
        self._alert = alert
        self._is_known = is_known

    def follow(self) -> Checkpoint:
        """One look at the log; see `Follower.follow`."""
        return self._follower.follow(self._take)

    def _take(self, index: int, stored: bytes) -> None:
        (entry,) = read_tile_leaves(stored)
        alert = judged(index, entry, self.names)
        if alert is not None and not self._is_known(entry):
            self._alert(alert)


def judged(index: int, entry: Entry, names: Names) -> Alert | None:
    """The alert that `entry` calls for; None where it is as expected."""
    fingerprint = hashlib.sha256(entry.submitted).digest()
    if not names.known.isdisjoint({fingerprint, hashlib.sha256(entry.signed).digest()}):
        return None
    if entry.index != index:
        why = f"it claims the index {entry.index}"
        return Alert(index, entry.timestamp_ms, (), "", fingerprint, why)
    try:
        certificate = x509.load_der_x509_certificate(entry.submitted)
        found, issuer = names_in(certificate), certificate.issuer.rfc4514_string()
    except ValueError as error:
        why = f"the certificate cannot be read: {error}"
        return Alert(index, entry.timestamp_ms, (), "", fingerprint, why)
    unexpected = names.unexpected(found)
    if not unexpected or certificate.serial_number in names.serials:
        return None
    return Alert(index, entry.timestamp_ms, unexpected, issuer, fingerprint, "unexpected names")


def names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    """Every name that `certificate` speaks for: alternative names, and common names; in lower
    case, each once. Raises `ValueError` where they cannot be read."""
    found = [
        str(each.value)
        for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    ]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    found += [_text(name) for name in names]
    return tuple(dict.fromkeys(name.lower() for name in found))


def _text(name: x509.GeneralName) -> str:
    value = name.value
    if isinstance(value, x509.Name):
        return value.rfc4514_string()
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address | str):
        return str(value)
    return repr(value)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(
        pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:]))
        for pattern in map(str.lower, patterns)
    )
