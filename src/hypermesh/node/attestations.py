"""The four proofs of a node as this copy of the ledger knows them: in short, and as evidence.

A bundle stands in the block that verified it; the state keeps its id, epoch and height. What a
bundle proved can be computed again in its own epoch only: later its challenges are no longer those
that the ledger derives, and what remains is that every node verified it in its block.
"""

from __future__ import annotations

from hypermesh.consensus.attestation import EPOCHS_VALID, bundle_of, dry_run
from hypermesh.consensus.epoch import current_epoch
from hypermesh.consensus.record import ATTESTATIONS, LAST_BUNDLES
from hypermesh.crypto.digest import digest_of
from hypermesh.ledger import identity
from hypermesh.ledger.identity import NodeUnknown
from hypermesh.ledger.kernel import decode_entry
from hypermesh.ledger.module import State
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.wire.amount import format_caes
from hypermesh.wire.api.attestation import (
    AttestationEvidence,
    AttestationView,
    EvidenceView,
    FactView,
    ProofChip,
)
from hypermesh.wire.codec import encode
from hypermesh.wire.ids import BundleId, NodeId, TxId
from hypermesh.wire.proof import (
    SPACE_CHIAPOS_1,
    TIME_WESOLOWSKI_1,
    WORK_INT8_MATRIX_1,
    Bundle,
    ProofKind,
)
from hypermesh.wire.tx import ConsensusAttest, SignedTransaction

TIMES_KEPT = 4096

SAYS = {
    ProofKind.SPACE: "where",
    ProofKind.STAKE: "who",
    ProofKind.WORK: "what",
    ProofKind.TIME: "when",
}

VERIFIERS = {
    ProofKind.SPACE: SPACE_CHIAPOS_1,
    ProofKind.STAKE: "ledger bond",
    ProofKind.WORK: WORK_INT8_MATRIX_1,
    ProofKind.TIME: TIME_WESOLOWSKI_1,
}
"""What checked each proof of a bundle that the ledger holds."""


class Attestations:
    """Reads of bundles, by any thread."""

    def __init__(self, membership: Membership, chain: Chain) -> None:
        self._membership = membership
        self._chain = chain
        self._times: dict[int, int] = {}
        """Block times by height: few heights are asked for again and again."""

    def summary(self, state: State, node: NodeId) -> AttestationView:
        """Whether `node` has rights at `state`, and by which bundle."""
        bundle_id = bundle_of(state, node)
        attestation = None if bundle_id is None else ATTESTATIONS.get(state, bundle_id)
        if bundle_id is None or attestation is None:
            last = LAST_BUNDLES.get(state, node)
            return AttestationView(
                node=node.hex(),
                in_force=False,
                bundle=None if last is None else last.bundle.hex(),
                epoch=None if last is None else last.epoch,
                height=None,
                attested_ms=None,
                lapses_ms=None,
                proofs=[],
            )
        epoch = current_epoch(state)
        epochs_left = attestation.epoch + EPOCHS_VALID - epoch.number
        row = identity.node(state, node)
        return AttestationView(
            node=node.hex(),
            in_force=row is not None and not row.revoked,
            bundle=bundle_id.hex(),
            epoch=attestation.epoch,
            height=attestation.height,
            attested_ms=self._time(attestation.height),
            lapses_ms=epoch.opened_ms + epochs_left * self._membership.genesis.proofs.epoch_ms,
            proofs=[ProofChip(kind.value, SAYS[kind], VERIFIERS[kind]) for kind in ProofKind],
        )

    def evidence(self, node: NodeId) -> AttestationEvidence:
        """The bundle by which `node` has rights, with a dry run of its verification. Raises
        `NodeUnknown`."""
        with self._chain.ledger.state() as state:
            if identity.node(state, node) is None:
                raise NodeUnknown(why=node.hex())
            summary = self.summary(state, node)
            present = current_epoch(state).number
            tx, bundle = self._bundle(summary)
            if bundle is None:
                return AttestationEvidence(summary, None, None, present, [])
            proofs = self._judged(state, node, bundle, present, summary.height or 0)
        return AttestationEvidence(
            attestation=summary,
            tx=None if tx is None else tx.hex(),
            encoded=encode(bundle).hex(),
            present_epoch=present,
            proofs=proofs,
        )

    def _judged(
        self, state: State, node: NodeId, bundle: Bundle, present: int, height: int
    ) -> list[EvidenceView]:
        reasons: dict[ProofKind, list[str]] = {}
        if bundle.epoch == present:
            membership = self._membership
            verdict = dry_run(state, membership.genesis_id, membership.genesis, node, bundle)
            for failure in verdict.failures:
                reasons.setdefault(failure.proof, []).append(failure.reason)
        found = []
        for kind in ProofKind:
            if bundle.epoch != present:
                outcome, reason = (
                    "recorded",
                    f"it answers the challenges of epoch {bundle.epoch}, this is epoch {present}; "
                    f"every node verified it in block {height}",
                )
            elif kind in reasons:
                outcome, reason = "refused", "; ".join(reasons[kind])
            else:
                outcome, reason = "valid", "checked again just now"
            found.append(
                EvidenceView(
                    proof=kind.value,
                    says=SAYS[kind],
                    verifier=VERIFIERS[kind],
                    facts=[FactView(name, value) for name, value in _facts(kind, bundle)],
                    outcome=outcome,  # type: ignore[arg-type]
                    reason=reason,
                )
            )
        return found

    def _bundle(self, summary: AttestationView) -> tuple[TxId | None, Bundle | None]:
        if summary.bundle is None or summary.height is None:
            return None, None
        wanted: BundleId = bytes.fromhex(summary.bundle)
        for entry in self._chain.ledger.block(summary.height).entries:
            signed = decode_entry(entry)
            if not isinstance(signed, SignedTransaction):
                continue
            body = signed.transaction.body
            if isinstance(body, ConsensusAttest) and digest_of("bundle", body.bundle) == wanted:
                return digest_of("tx", signed.transaction), body.bundle
        return None, None

    def _time(self, height: int) -> int:
        known = self._times.get(height)
        if known is None:
            known = self._chain.ledger.block(height).header.time_ms
            if len(self._times) >= TIMES_KEPT:
                self._times.clear()
            self._times[height] = known
        return known


def _facts(kind: ProofKind, bundle: Bundle) -> list[tuple[str, str]]:
    """The figures of one proof, as text."""
    match kind:
        case ProofKind.SPACE if bundle.space is not None:
            space = bundle.space
            answered = ", ".join(str(draw.index) for draw in space.draws)
            return [
                ("scheme", space.scheme),
                ("k", str(space.k)),
                ("draws answered", f"{len(space.draws)} ({answered})"),
                ("location", space.location),
            ]
        case ProofKind.STAKE if bundle.stake is not None:
            return [
                ("owner", bundle.stake.owner.hex()),
                ("bonded", f"{format_caes(bundle.stake.bonded)} CAES"),
            ]
        case ProofKind.WORK if bundle.work is not None:
            work = bundle.work
            return [
                ("scheme", work.scheme),
                ("matrix", f"{work.size} x {work.size}"),
                ("root", work.root.hex()),
                ("rows opened by itself", _indices([row.index for row in work.samples])),
                ("rows of the bundle before", _indices([row.index for row in work.opened])),
            ]
        case ProofKind.TIME if bundle.time is not None:
            vdf = bundle.time.vdf
            return [
                ("scheme", vdf.scheme),
                ("iterations", str(vdf.iterations)),
                ("output", vdf.output[: len(vdf.output) // 2].hex()),
            ]
        case _:
            return []


def _indices(rows: list[int]) -> str:
    return ", ".join(str(index) for index in rows) or "none"
