"""What this node knows of the network's transparency logs, and what it shows of its certificate.

Every node has its own evidence, and from the ledger how far the logs are anchored. Paths in the
logs are made by the node that keeps them; whoever asks checks what comes.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from typing import Any, Literal

from hypermesh.crypto.keys import key_id
from hypermesh.ledger import identity, transparency
from hypermesh.ledger.bundled import check_ledger
from hypermesh.ledger.ledger import ProvenRow
from hypermesh.ledger.module import State
from hypermesh.node.admitting import Admitting
from hypermesh.node.authority_logs import AuthorityLogs
from hypermesh.node.certificates import ME, Certificates
from hypermesh.node.chain import Chain
from hypermesh.node.cosigning import Gathering
from hypermesh.node.membership import Membership
from hypermesh.node.service import Peer
from hypermesh.node.witnessing import Witnessing
from hypermesh.trustchain import bundle
from hypermesh.trustchain.bundle import VERSION, Bundle, LedgerEvidence, LogKeys
from hypermesh.trustchain.cosigner import cosigner_prefix
from hypermesh.trustchain.ct.errors import NotInLog
from hypermesh.trustchain.ct.log import LogView as Log
from hypermesh.trustchain.ct.note import read_note
from hypermesh.trustchain.ct.origin import read_origin
from hypermesh.trustchain.ct.tree import included, leaf_hash
from hypermesh.trustchain.logged import Entry, NotLogged, check_logged, log_identity
from hypermesh.trustchain.verify import Anchors, check_chain, fingerprint
from hypermesh.wire.api.ct import (
    AnchorView,
    CtGrowth,
    CtKeys,
    CtLogKeys,
    CtView,
    LogGrowth,
    LogHere,
    LogView,
    LogWitness,
)
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import Conflict, HyperMeshError, NotFound
from hypermesh.wire.ids import Hash, NodeId
from hypermesh.wire.rpc import (
    CosignedRequest,
    CosignedResponse,
    CosignRequest,
    CosignResponse,
    LoggedRequest,
    LoggedResponse,
    LogProofRequest,
    LogProofResponse,
)
from hypermesh.wire.transparency import Logged

ANCHOR_WAIT_S = 10.0
"""How long a bundle waits for the anchor of a certificate that was logged just now."""
EVIDENCE_KEPT_MAX = 256
"""Certificates of other nodes whose evidence is kept."""
LOGS_SHOWN_MAX = 64
ANCHORS_SHOWN_MAX = 256

Call = Callable[[NodeId, str, object, type[Any]], Any]

log = logging.getLogger(__name__)


class NotAnchored(Conflict):
    """The certificate is in the log, and the log is not anchored that far."""

    code = "HM-TRUST-0271"
    title = "The certificate is logged, and not anchored in the ledger yet"
    remedy = "Try again in some seconds; `hm cert log` shows how far the log is anchored"


class Transparency:
    """Reads, by any thread; those that ask another node say so."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        admitting: Admitting,
        certificates: Certificates,
        call: Call,
        witnessing: Witnessing,
        gathering: Gathering,
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._admitting = admitting
        self._certificates = certificates
        self._call = call
        self._witnessing = witnessing
        self._gathering = gathering
        self._seen: dict[Hash, tuple[list[bytes], Logged]] = {}

    # What the API shows

    def view(self) -> CtView:
        """The logs, and where this node's certificate is."""
        with self._chain.ledger.state_with_height() as (height, state):
            rows = sorted(transparency.logs(state), key=self._rank)[:LOGS_SHOWN_MAX]
            shown = [self._view(row) for row in rows]
        own = self._certificates.get(ME).logged
        failures = (each.here.failure for each in shown if each.here is not None)
        failure = next((each for each in failures if each is not None), None)
        return CtView(height, shown, own, failure)

    def growth(self) -> CtGrowth:
        """How the present logs have grown, by the ledger."""
        purposes: tuple[Literal["certificates", "acts"], ...] = ("certificates", "acts")
        shown: list[LogGrowth] = []
        with self._chain.ledger.state() as state:
            for purpose in purposes:
                row = transparency.present(state, purpose)
                if row is None:
                    continue
                found = list(transparency.anchors(state, row.log.origin))
                some = [_anchor(found[at]) for at in spread(len(found), ANCHORS_SHOWN_MAX)]
                shown.append(LogGrowth(purpose, row.log.origin, len(found), some))
        return CtGrowth(shown)

    def keys(self) -> CtKeys:
        """Who the present logs are, by the ledger. Raises `NotFound` before they have begun."""
        with self._chain.ledger.state() as state:
            rows = [transparency.present(state, each) for each in ("certificates", "acts")]
        found = [
            CtLogKeys(row.log.origin, row.log.ed25519, row.log.falcon, row.log.p256)
            for row in rows
            if row is not None
        ]
        if len(found) < len(rows):
            raise NotFound("No log is on the ledger yet", fix="Ask again in some seconds")
        return CtKeys(*found)

    def _rank(self, row: transparency.Log) -> tuple[int, str]:
        number, purpose = read_origin(self._membership.genesis_id, row.log.origin) or (0, "")
        return -number, purpose

    def _view(self, row: transparency.Log) -> LogView:
        origin, newest = row.log.origin, row.newest
        purpose: Literal["certificates", "acts"] = "acts"
        if row.log.p256 is not None:
            purpose = "certificates"
        return LogView(
            purpose,
            origin,
            log_identity(row.log).fingerprint.hex(),
            row.begun,
            row.ended,
            _anchor(newest),
            self._here(origin),
            self._witnessing.view(origin),
        )

    def _here(self, origin: str) -> LogHere | None:
        logs = self._admitting.logs
        if logs is None:
            return None
        for view in (logs.present.certificates, logs.present.acts):
            if view.identity.origin == origin:
                return _here(logs, view, self._gathering.witnesses(origin))
        return None

    # What other nodes ask

    def show(self, peer: Peer, request: LoggedRequest) -> LoggedResponse:
        """`certificate.logged`: this node's certificate and the evidence beside it."""
        del peer
        chain = self._membership.chain
        if fingerprint(chain[0]) != request.certificate_sha256:
            raise NotFound(
                "The node has another certificate by now",
                why=f"its SHA-256 is {fingerprint(chain[0]).hex()}",
                fix="Ask again: the ledger will know it in a moment",
            )
        return LoggedResponse(chain, self._membership.logged)

    def prove(self, peer: Peer, request: LogProofRequest) -> LogProofResponse:
        """`log.prove`: a path in a log that is kept here."""
        del peer
        logs = self._admitting.logs
        if logs is None:
            raise NotInLog("This node keeps no transparency log")
        view = logs.view(request.origin)
        if request.index >= request.size:
            raise NotInLog(f"Entry {request.index} is not among the first {request.size}")
        return LogProofResponse(view.inclusion(request.index, request.size))

    def cosign(self, peer: Peer, request: CosignRequest) -> CosignResponse:
        """`log.cosign`: this node's cosignature; see `Witnessing.cosign`."""
        return self._witnessing.cosign(peer, request)

    def cosigned(self, peer: Peer, request: CosignedRequest) -> CosignedResponse:
        """`log.cosigned`: the newest checkpoint that others cosigned of a log that is kept here."""
        del peer
        return CosignedResponse(*self._gathering.cosigned(request.origin, request.index))

    # Bundles

    def bundle(self, named: str) -> Bundle:
        """The certificate `named` as `Certificates.get` takes it, with all that shows that it was
        logged. Asks its node for the evidence, and the node with the log for a path.

        Raises `NotFound`, `NotLogged`, `NotAnchored`, or what a call to another node raises.
        """
        detail = self._certificates.get(named)
        sha256 = bytes.fromhex(detail.certificate.sha256)
        node = bytes.fromhex(detail.certificate.node)
        known = None
        if detail.chain is not None:
            known = [ssl.PEM_cert_to_DER_cert(each) for each in detail.chain]
        chain, logged = self._evidence(node, sha256, known)
        entry = self._checked(chain, logged)
        shown = self._shown(entry, logged)
        ledger = self._ledger(node, entry, logged, shown)
        made = Bundle(
            VERSION,
            chain[0],
            tuple(chain[1:]),
            logged.sct,
            entry.leaf,
            entry.index,
            tuple(shown.path),
            shown.note.decode(),
            LogKeys.of(log_identity(entry.log)),
            height=None if ledger is None else ledger[0],
            ledger=None if ledger is None else ledger[1],
        )
        check_ledger(made, self._membership.genesis_id)
        return made

    def _evidence(
        self, node: NodeId, sha256: Hash, chain: list[bytes] | None
    ) -> tuple[list[bytes], Logged]:
        membership = self._membership
        if sha256 == membership.certificate_sha256:
            if membership.logged is None:
                raise NotLogged(why="it came from an authority that kept no log yet")
            return membership.chain, membership.logged
        authority = self._admitting.authority
        if authority is not None and chain is not None:
            issued = authority.same(node, chain[0])
            found = None if issued is None else self._admitting.logged(issued)
            if found is None:
                raise NotLogged(why="it was in a log that is gone")
            return chain, found
        return self._seen.get(sha256) or self._asked(node, sha256)

    def _asked(self, node: NodeId, sha256: Hash) -> tuple[list[bytes], Logged]:
        """What the node itself shows of its certificate."""
        answer = self._call(node, "certificate.logged", LoggedRequest(sha256), LoggedResponse)
        if fingerprint(answer.chain[0]) != sha256:
            raise NotFound("The node shows another certificate than the one that was asked for")
        issuing, root = answer.chain[1], self._membership.genesis.root_certificate
        with self._chain.ledger.state() as state:
            if not identity.is_issuer(state, issuing):
                raise NotFound("The node's certificate is from an issuer that the ledger knows not")
        anchors = Anchors(self._membership.genesis_id, root, issuing)
        certified = check_chain(answer.chain, anchors, now_s=int(time.time()))
        if certified.id != node:
            raise NotFound("The node shows the certificate of another")
        if answer.logged is None:
            raise NotLogged(why="its node has no evidence")
        self._checked(answer.chain, answer.logged)
        while len(self._seen) >= EVIDENCE_KEPT_MAX:
            self._seen.pop(next(iter(self._seen)), None)
        self._seen[sha256] = (answer.chain, answer.logged)
        return answer.chain, answer.logged

    def _checked(self, chain: list[bytes], logged: Logged) -> Entry:
        genesis = self._membership.genesis
        return check_logged(logged, chain, genesis.sequencer, self._membership.genesis_id)

    def _shown(self, entry: Entry, logged: Logged) -> CosignedResponse:
        """The newest cosigned checkpoint with `entry` and the path to it; without one, or where the
        node with the log is away, that which came beside the certificate."""
        origin, identity_ = entry.log.origin, log_identity(entry.log)
        try:
            if self._admitting.logs is not None:
                shown = CosignedResponse(*self._gathering.cosigned(origin, entry.index))
            else:
                sequencer = key_id(self._membership.genesis.sequencer)
                request = CosignedRequest(origin, entry.index)
                shown = self._call(sequencer, "log.cosigned", request, CosignedResponse)
            checkpoint = identity_.opened(shown.note)
            leaf = leaf_hash(entry.leaf)
            if included(checkpoint.root, entry.index, checkpoint.size, leaf, shown.path):
                return shown
        except HyperMeshError as error:
            log.info("a bundle goes without cosignatures: %s", error)
        return CosignedResponse(logged.checkpoint, logged.path)

    def _cosigners(self, note: bytes) -> list[NodeId]:
        """The nodes that have lines under a checkpoint, as far as the ledger knows them."""
        names = {line.name for line in read_note(note).lines}
        prefixes = (cosigner_prefix(name, self._membership.genesis_id) for name in sorted(names))
        with self._chain.ledger.state() as state:
            found = (identity.resolve_prefix(state, each) for each in prefixes if each is not None)
            nodes = [node for node in found if node is not None]
            return [node for node in nodes if not _is_revoked(state, node)]

    def _ledger(
        self, node: NodeId, entry: Entry, logged: Logged, shown: CosignedResponse
    ) -> tuple[int, LedgerEvidence] | None:
        """What the ledger says, with its height; None for an entry of a log that ended before it
        was anchored."""
        origin = entry.log.origin
        keys = [
            transparency.log_key(origin),
            identity.node_key(node),
            identity.revocation_key(node),
        ]
        witnesses = self._cosigners(shown.note)
        keys += [identity.node_key(each) for each in witnesses]
        anchored, own, revocation, *rows = self._rows_with_anchor(keys, entry)
        if anchored.value is None:
            return None
        newest = transparency.read_log(anchored.value).newest
        if entry.index >= newest.size:
            return None
        path = logged.path
        if newest.size != entry.checkpoint.size:
            path = self._path(origin, entry.index, newest.size)
        header = anchored.header
        evidence = LedgerEvidence(
            encode(self._membership.genesis),
            encode(header),
            _proven(anchored),
            tuple(path),
            _proven(own),
            _proven(revocation),
            tuple(
                bundle.BundledWitness(node, _proven(row))
                for node, row in zip(witnesses, rows, strict=True)
            ),
        )
        return header.header.height, evidence

    def _rows_with_anchor(self, keys: list[bytes], entry: Entry) -> list[ProvenRow]:
        """The rows, once the log is anchored as far as the entry or will never be."""
        deadline = time.monotonic() + ANCHOR_WAIT_S
        while True:
            height = self._chain.feed.height
            rows = self._chain.ledger.rows(keys)
            row = None if rows[0].value is None else transparency.read_log(rows[0].value)
            if row is not None and (entry.index < row.newest.size or row.ended is not None):
                return rows
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                size = 0 if row is None else row.newest.size
                raise NotAnchored(why=f"it is entry {entry.index}, and {size} are anchored")
            self._chain.feed.wait(height + 1, left_s)

    def _path(self, origin: str, index: int, size: int) -> list[Hash]:
        logs = self._admitting.logs
        if logs is not None:
            return logs.view(origin).inclusion(index, size)
        sequencer = key_id(self._membership.genesis.sequencer)
        request = LogProofRequest(origin, index, size)
        answer: LogProofResponse = self._call(sequencer, "log.prove", request, LogProofResponse)
        return answer.path


def _here(logs: AuthorityLogs, view: Log, witnesses: list[LogWitness]) -> LogHere:
    head, failure = view.head, logs.present.failure
    said = None if failure is None else f"{failure.what}: {failure.why}"
    note = view.checkpoint().decode()
    return LogHere(head.size, head.root.hex(), logs.present.waiting, note, said, witnesses)


def _anchor(row: transparency.Anchored) -> AnchorView:
    return AnchorView(row.size, row.root.hex(), row.height, row.time_ms)


def spread(count: int, at_most: int) -> list[int]:
    """At most `at_most` (2 or more) of `count` places, evenly, the first and the last among
    them."""
    if count <= at_most:
        return list(range(count))
    return [at * (count - 1) // (at_most - 1) for at in range(at_most)]


def _is_revoked(state: State, node: NodeId) -> bool:
    row = identity.node(state, node)
    return row is None or row.revoked


def _proven(row: ProvenRow) -> bundle.BundledRow:
    return bundle.BundledRow(row.value, encode(row.proof))
