"""The transparency logs beside the network's authority, at the node that holds it.

What the authority issues is in the log of certificates before anyone has it; invitations and what
the ledger says of nodes, issuing CAs, partner networks and names are in the log of acts. A log that
ended (`ct.succession`) stays readable, and the next generation goes on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, TypeAlias

import msgspec

from hypermesh.crypto.files import replace
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.ledger import transparency
from hypermesh.ledger.module import State
from hypermesh.trustchain.ca.authority import CertificateAuthority, Issued
from hypermesh.trustchain.ct import succession
from hypermesh.trustchain.ct.entry import read_act
from hypermesh.trustchain.ct.errors import LogDamaged, NotInLog
from hypermesh.trustchain.ct.log import LogView, TransparencyLogs
from hypermesh.trustchain.ct.origin import origin
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.evidence import Act, LogUnavailable
from hypermesh.trustchain.logged import public_log, sign_log
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.ids import AssetId, GenesisId, Hash, NodeId, OwnerId
from hypermesh.wire.transparency import Logged, SignedLog

DIRECTORY = "ct"
ENDED_OPEN_MAX = 8
"""Generations that have ended and are still read, the newest."""
LEAVES_AT_ONCE = 256
NAMES_READ = "names-read"
"""In a generation's directory: up to which block the log has every change of a name."""
NAMES_READ_STRIDE = 4096
"""Blocks without such a change that a start reads again at most. What it reads twice is not
recorded twice, so the file may be old, or not there."""

log = logging.getLogger(__name__)


class InvitationAct(msgspec.Struct, frozen=True, array_like=True):
    """The document of `ca.invite`: an invitation by the digest of its secret, whose owner takes the
    machine in (None: the machine brings one), and until when."""

    kind: ClassVar = "ca.invite"
    secret_digest: Hash
    owner: OwnerId | None
    expires_s: int


class RevocationAct(msgspec.Struct, frozen=True, array_like=True):
    """The document of `ca.revoke`: what the ledger says of a node's end, in which block."""

    kind: ClassVar = "ca.revoke"
    node: NodeId
    reason: str
    height: int
    by: OwnerId


class IssuerAct(msgspec.Struct, frozen=True, array_like=True):
    """The document of `ca.replace`: the issuing CA that was put in the place of one, since when in
    block time, for how long the one before is believed, and why."""

    kind: ClassVar = "ca.replace"
    certificate_sha256: Hash
    since_ms: int
    grace_ms: int
    reason: str


class PartnerAct(msgspec.Struct, frozen=True, array_like=True):
    """The document of `ca.cross`: a network that is let in since a block, by which
    cross-certificate, until when."""

    kind: ClassVar = "ca.cross"
    network: GenesisId
    cross_sha256: Hash
    not_after_ms: int
    height: int
    by: OwnerId


class PartnerDropAct(msgspec.Struct, frozen=True, array_like=True):
    """The document of `ca.uncross`: a network that is let in no more, since which block and why."""

    kind: ClassVar = "ca.uncross"
    network: GenesisId
    reason: str
    height: int
    by: OwnerId


class NameAct(msgspec.Struct, frozen=True, array_like=True):
    """The document of `dns.name`: a label of the network's zone that an owner gave a node or an
    asset, by the transaction at `entry` of the block at `height`."""

    kind: ClassVar = "dns.name"
    label: str
    owner: OwnerId
    node: NodeId | None
    asset: AssetId | None
    height: int
    entry: int


class NameDropAct(msgspec.Struct, frozen=True, array_like=True):
    """The document of `dns.unname`: a label that its owner gave up, or another one took after what
    it named was gone; as in `NameAct`."""

    kind: ClassVar = "dns.unname"
    label: str
    owner: OwnerId
    node: NodeId | None
    asset: AssetId | None
    height: int
    entry: int


class PhaseAct(msgspec.Struct, frozen=True, array_like=True):
    """The document of `dns.phase`: whom the name server of the authority's node asks from now on
    (`trustchain.dns.resolution.Phase`)."""

    kind: ClassVar = "dns.phase"
    phase: int


NamingAct: TypeAlias = NameAct | NameDropAct
"""A change of what owners call their nodes and assets."""

LedgerAct: TypeAlias = RevocationAct | IssuerAct | PartnerAct | PartnerDropAct
"""An act of governance that the ledger decided."""


class AuthorityLogs:
    """The logs of the network's authority, open in this process alone.

    Raises what `TransparencyLogs` raises, but for damage: a damaged generation ends, says so, and
    the next one begins.
    """

    def __init__(self, data: Path, keys: KeyStore, node: QuantumKeys, genesis: GenesisId) -> None:
        self._directory = data / DIRECTORY
        self._keys = keys
        self._node = node
        self._genesis = genesis
        self._lock = threading.Lock()
        self._ended: dict[int, TransparencyLogs] = {}
        self._signed: dict[Hash, SignedLog] = {}
        self.number, self.present = self._open()
        self._certificates = CertificateRecorder(self.present)
        self._acts = ActRecorder(self.present)
        self._read: _Read | None = None

    def _open(self) -> tuple[int, TransparencyLogs]:
        number = succession.present(self._directory)
        try:
            return number, self._generation(number, None)
        except LogDamaged as error:
            log.exception("the transparency log %d is damaged and has ended", number)
            succession.end(self._directory, number, f"its store is damaged: {error.why}")
            return number + 1, self._generation(number + 1, None)

    def _generation(self, number: int, ended: str | None) -> TransparencyLogs:
        return TransparencyLogs(
            self._directory / str(number),
            self._keys,
            origin(self._genesis, number),
            ended=ended,
            secrets_prefix=succession.secrets_prefix(number),
        )

    def go_on(self, state: State) -> None:
        """Go on from what the ledger's `state` has anchored. Where the present logs do not, their
        store is an older copy or another's: that generation ends, and the next one begins."""
        for view in (self.present.certificates, self.present.acts):
            known = transparency.log(state, view.identity.origin)
            reason = None if known is None else _contradiction(view, known)
            if reason is not None:
                log.error("the transparency log %d has ended: %s", self.number, reason)
                self._succeed(reason)
                return

    def _succeed(self, why: str) -> None:
        succession.end(self._directory, self.number, why)
        self.present.close()
        self.number, self.present = self._open()
        self._certificates = CertificateRecorder(self.present)
        self._acts = ActRecorder(self.present)
        self._read = None

    def serve(self, authority: CertificateAuthority) -> None:
        """Have everything that `authority` answers recorded first."""
        authority.record_in(self._certificates, self.present.certificates.identity.fingerprint)

    def logged(self, authority: CertificateAuthority, issued: Issued) -> Logged | None:
        """What shows that `issued` is logged; None where it was in a generation that is gone."""
        recording = authority.recording(issued)
        if recording is None:
            return None
        for logs in self._readable():
            view = logs.certificates
            if view.identity.fingerprint == recording.log:
                try:
                    proven = view.prove(recording.recorded.index)
                except NotInLog:
                    return None
                signed = self._signed_log(view)
                return Logged(signed, recording.recorded.sct, proven.path, proven.checkpoint)
        return None

    def origin_of(self, fingerprint: Hash) -> str | None:
        """The origin of the log of certificates with this fingerprint."""
        for logs in self._readable():
            if logs.certificates.identity.fingerprint == fingerprint:
                return logs.certificates.identity.origin
        return None

    def view(self, named: str) -> LogView:
        """The log with the origin `named`; raises `NotInLog`."""
        for logs in self._readable():
            for view in (logs.certificates, logs.acts):
                if view.identity.origin == named:
                    return view
        raise NotInLog("This node has no such log", why=named[:200])

    def invited(self, act: InvitationAct) -> None:
        """Put an invitation into the log of acts. Raises `LogUnavailable`."""
        self._acts.record([Act(act.kind, encode(act))])

    def enacted(self, acts: Sequence[LedgerAct]) -> int:
        """Put those acts of the ledger into the log of acts that are not in it yet; how many were
        not. By one thread at a time. Raises `LogUnavailable`."""
        known = self._recorded().ledger
        wanted = [Act(each.kind, encode(each)) for each in acts]
        fresh = [each for each in wanted if each not in known]
        for begin in range(0, len(fresh), LEAVES_AT_ONCE):
            some = fresh[begin : begin + LEAVES_AT_ONCE]
            self._acts.record(some)
            known.update(some)
        return len(fresh)

    @property
    def names_from(self) -> int:
        """The first block whose changes of names may not all be in the log of acts."""
        return self._recorded().names_from

    def named(self, acts: Sequence[NamingAct], through: int) -> int:
        """Put those of `acts` into the log of acts that are not in it yet; how many were not. They
        are all that happened from block `names_from` through block `through`, in order. By one
        thread at a time. Raises `LogUnavailable`, `OSError`."""
        read = self._recorded()
        wanted = [(each.height, Act(each.kind, encode(each))) for each in acts]
        fresh = [each for each in wanted if each[0] >= read.named and each[1] not in read.there]
        for begin in range(0, len(fresh), LEAVES_AT_ONCE):
            some = [act for _, act in fresh[begin : begin + LEAVES_AT_ONCE]]
            self._acts.record(some)
            for act in some:
                read.take(act)
        read.through = max(read.through, through)
        if read.through - max(read.stored, read.named) >= NAMES_READ_STRIDE:
            file = self._directory / str(self.number) / NAMES_READ
            replace(file, str(read.through).encode())
            read.stored = read.through
        return len(fresh)

    def phased(self, phase: int) -> None:
        """Put another phase of this node's name server into the log of acts. Raises
        `LogUnavailable`."""
        act = PhaseAct(phase)
        self._acts.record([Act(act.kind, encode(act))])

    def close(self) -> None:
        """Sequence what waits, and give the logs up."""
        self.present.close()
        with self._lock:
            for each in self._ended.values():
                each.close()
            self._ended.clear()

    def _recorded(self) -> _Read:
        """What of the ledger the log has, read once: afterwards only this process adds to it."""
        if self._read is None:
            view, read, at = self.present.acts, _Read(self._names_read()), 0
            while at < view.head.size:
                leaves = view.leaves(at, LEAVES_AT_ONCE)
                at += len(leaves)
                for leaf in map(read_act, leaves):
                    read.take(Act(leaf.kind, leaf.document))
            self._read = read
        return self._read

    def _names_read(self) -> int:
        try:
            return int((self._directory / str(self.number) / NAMES_READ).read_bytes())
        except (FileNotFoundError, ValueError):
            return 0

    def _readable(self) -> list[TransparencyLogs]:
        """The present generation, and those before it as far as they can be read."""
        before = [each for each in succession.generations(self._directory) if each < self.number]
        with self._lock:
            for number in before[-ENDED_OPEN_MAX:]:
                if number not in self._ended:
                    why = succession.ended(self._directory, number) or "another one goes on"
                    try:
                        self._ended[number] = self._generation(number, why)
                    except (LogDamaged, LogUnavailable) as error:
                        log.warning("the ended log %d cannot be read: %s", number, error)
            ended = [self._ended[number] for number in sorted(self._ended, reverse=True)]
        return [self.present, *ended]

    def _signed_log(self, view: LogView) -> SignedLog:
        fingerprint = view.identity.fingerprint
        with self._lock:
            known = self._signed.get(fingerprint)
            if known is None:
                known = sign_log(view.identity, self._node, self._genesis)
                self._signed[fingerprint] = known
            return known


_NAMING: dict[str, type[NamingAct]] = {each.kind: each for each in (NameAct, NameDropAct)}
_OWN = frozenset({InvitationAct.kind, PhaseAct.kind})
"""Acts that the ledger knows nothing of."""


class _Read:
    """What of the ledger a log of acts has.

    `ledger`: the acts that follow from the ledger's state. Changes of names follow from its blocks,
    in whose order they are recorded: `named` is the last block with one in the log, and `there` are
    those of that block. Up to block `through` nothing is missing; `stored` is what the file says.
    """

    def __init__(self, stored: int) -> None:
        self.ledger: set[Act] = set()
        self.named = 0
        self.there: set[Act] = set()
        self.stored = self.through = stored

    @property
    def names_from(self) -> int:
        # Of the block at `named` a crash may have kept some out.
        return max(self.named, self.through + 1)

    def take(self, act: Act) -> None:
        kind = _NAMING.get(act.kind)
        if kind is None:
            if act.kind not in _OWN:
                self.ledger.add(act)
            return
        height = decode(kind, act.document).height
        if height != self.named:
            self.named, self.there = height, set()
        self.there.add(act)


def _contradiction(view: LogView, known: transparency.Log) -> str | None:
    newest, origin = known.newest, view.identity.origin
    if public_log(view.identity) != known.log:
        return f"the ledger knows {origin} under other keys"
    if known.ended is not None:
        return f"the ledger says that another log follows {origin}"
    try:
        root = view.root(newest.size)
    except NotInLog:
        return f"{newest.size} entries of {origin} are anchored, and {view.head.size} are there"
    if root != newest.root:
        return f"{origin} has other entries than those that are anchored"
    return None
