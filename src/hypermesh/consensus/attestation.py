"""Attestations: a bundle is verified once, on the ledger, and then referred to by its id.

    consensus.attest (a bundle)  --all four proofs-->  attestation (node, epoch, height)
    asset.*, lease.* (its id)    --require_attested-->  the rights of that node, in e and e + 1

A bundle that does not prove everything changes nothing: no right begins, and the node's former
attestation lapses with its time. That is suspension. Nothing is taken from a bond yet.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hypermesh.caesar.economics import staking
from hypermesh.consensus.epoch import current_epoch
from hypermesh.consensus.record import (
    ATTESTATIONS,
    LAST_BUNDLES,
    Attestation,
    LastBundle,
    Product,
)
from hypermesh.consensus.statement import challenge, plot_id
from hypermesh.consensus.verifier.bundle import ConsensusProof, names, reasons
from hypermesh.consensus.verifier.space import ProofOfSpace
from hypermesh.consensus.verifier.stake import ProofOfStake
from hypermesh.consensus.verifier.time import ProofOfTime
from hypermesh.consensus.verifier.work import Commitment, ProofOfWork
from hypermesh.crypto.digest import digest_of
from hypermesh.ledger import identity
from hypermesh.ledger.module import Call, Context, Event, Refusal, State
from hypermesh.wire.block import Genesis
from hypermesh.wire.ids import BundleId, GenesisId, NodeId
from hypermesh.wire.proof import Bundle, ProofFailure, ProofKind

EPOCHS_VALID = 2
"""A bundle gives rights in its own epoch and in the next."""


class ProofsRefused(Refusal):
    """At least one of the four proofs does not hold. `failures` names each that does not, and `why`
    gives every reason."""

    code = "HM-TX-PROOF-0001"
    status = 403
    exit_code = 4
    title = "The proofs are refused"
    remedy = "Let the hosting node attest for the present epoch; `hm status` shows its bundle"

    @classmethod
    def of(cls, failures: list[ProofFailure]) -> ProofsRefused:
        """The refusal that reports `failures`, all of them."""
        refusal = cls(why=reasons(failures))
        refusal.failures = names(failures)
        return refusal


class AlreadyAttested(Refusal):
    """The node has a bundle for this epoch; there is one a node and epoch."""

    code = "HM-TX-PROOF-0002"
    title = "The node has attested for this epoch already"


class Verdict(msgspec.Struct, frozen=True):
    """What verifying a bundle against the present state gives; nothing is changed by asking."""

    bundle: BundleId
    epoch: int
    failures: list[ProofFailure]

    @property
    def accepted(self) -> bool:
        return not self.failures


def expected(state: State, genesis_id: GenesisId, genesis: Genesis, node: NodeId) -> ConsensusProof:
    """What `node` has to prove in the present epoch: all read or derived from the ledger."""
    parameters = genesis.proofs
    epoch = current_epoch(state)

    def challenge_of(kind: ProofKind) -> bytes:
        return challenge(genesis_id, epoch.number, epoch.seed, node, kind).result

    last = LAST_BUNDLES.get(state, node)
    return ConsensusProof(
        ProofOfSpace(
            plot_id=plot_id(genesis_id, node, parameters.space_k).result,
            challenge=challenge_of(ProofKind.SPACE),
            k=parameters.space_k,
            draws=parameters.space_draws,
            valid_min=parameters.space_valid_min,
        ),
        _stake(state, genesis_id, genesis, node),
        ProofOfWork(
            challenge=challenge_of(ProofKind.WORK),
            size=parameters.matrix_size,
            rows=parameters.matrix_rows_opened,
            before=_opened(last, epoch.number),
        ),
        ProofOfTime(epoch.number, epoch.opened_by),
    )


def dry_run(
    state: State, genesis_id: GenesisId, genesis: Genesis, node: NodeId, bundle: Bundle
) -> Verdict:
    """What would become of `bundle` if `node` submitted it now: `POST /consensus/validate`."""
    failures = expected(state, genesis_id, genesis, node).failures(bundle)
    return Verdict(digest_of("bundle", bundle), current_epoch(state).number, failures)


def attest(context: Context, call: Call) -> None:
    """Execute `consensus.attest`: verify the bundle as one of the signer's, and record it.

    Raises `ProofsRefused`, also for a second bundle of an epoch, or `AlreadyAttested`.
    """
    state, node = context.state, call.transaction.signer
    bundle: Bundle = call.body.bundle
    epoch = current_epoch(state)
    last = LAST_BUNDLES.get(state, node)
    statement = expected(state, context.genesis_id, context.genesis, node)
    failures = statement.failures(bundle)
    if failures or bundle.work is None:
        raise ProofsRefused.of(failures)
    if last is not None and last.epoch == epoch.number:
        raise AlreadyAttested(why=f"epoch {epoch.number}, bundle {last.bundle.hex()}")
    bundle_id = digest_of("bundle", bundle)
    ATTESTATIONS.put(state, bundle_id, Attestation(node, epoch.number, context.height))
    product = Product(statement.work.challenge, bundle.work.root)
    before = None if last is None else last.product
    LAST_BUNDLES.put(state, node, LastBundle(bundle_id, epoch.number, product, before))
    context.events.append(Event("consensus.attested", node, bundle_id))


def require_attested(context: Context, bundle_id: bytes, node: NodeId) -> Attestation:
    """The attestation `bundle_id` of `node`, which hosts the asset that an operation concerns.

    Raises `ProofsRefused` naming the proofs that fail: all four where the reference is missing or
    unknown; space, stake and work where the bundle is another node's; time where it has lapsed;
    stake where the node is revoked or its bond has become too small. A few reads of the state.
    """
    failures = _lapses(context, bundle_id, node)
    failures += _stake(context.state, context.genesis_id, context.genesis, node).standing()
    attestation = ATTESTATIONS.get(context.state, bundle_id)
    if failures or attestation is None:
        raise ProofsRefused.of(failures)
    return attestation


def bundle_of(state: State, node: NodeId) -> BundleId | None:
    """The id that operations on the node's assets may refer to now; None where it has no rights."""
    last = LAST_BUNDLES.get(state, node)
    if last is None or ATTESTATIONS.get(state, last.bundle) is None:
        return None
    return last.bundle


def attested_nodes(state: State) -> int:
    """How many nodes have an attestation that gives rights now."""
    return len({attestation.node for _, attestation in ATTESTATIONS.rows(state)})


def _stake(state: State, genesis_id: GenesisId, genesis: Genesis, node: NodeId) -> ProofOfStake:
    known = identity.node(state, node)
    return ProofOfStake(
        genesis=genesis_id,
        node=node,
        owner=None if known is None else known.owner,
        revoked=known is not None and known.revoked,
        bonded=staking.bonded(state, node),
        bond_min=genesis.proofs.bond_min,
    )


def _opened(last: LastBundle | None, epoch: int) -> Commitment | None:
    """The product that a bundle for `epoch` opens rows of: that of the bundle before it."""
    if last is None:
        return None
    product = last.before if last.epoch == epoch else last.product
    return None if product is None else Commitment(product.challenge, product.root)


def _lapses(context: Context, bundle_id: bytes, node: NodeId) -> list[ProofFailure]:
    """Why the reference itself gives `node` no rights now."""
    if not bundle_id:
        return _each(ProofKind, "the operation refers to no bundle")
    attestation = ATTESTATIONS.get(context.state, bundle_id)
    if attestation is None:
        last = LAST_BUNDLES.get(context.state, node)
        if last is not None and last.bundle == bundle_id:
            reason = f"the bundle is of epoch {last.epoch} and has lapsed"
            return _each((ProofKind.TIME,), reason)
        return _each(ProofKind, "the ledger holds no such bundle, or it has lapsed")
    failures: list[ProofFailure] = []
    if attestation.node != node:
        failures += _each(
            (ProofKind.SPACE, ProofKind.STAKE, ProofKind.WORK), "the bundle is of another node"
        )
    present = current_epoch(context.state).number
    if not 0 <= present - attestation.epoch < EPOCHS_VALID:
        reason = f"the bundle is of epoch {attestation.epoch}, this is epoch {present}"
        failures += _each((ProofKind.TIME,), reason)
    return failures


def _each(kinds: Iterable[ProofKind], reason: str) -> list[ProofFailure]:
    return [ProofFailure(kind, reason) for kind in kinds]
