"""ProofOfStake, WHO: an owner answers for the node with a bond in the ledger."""

from __future__ import annotations

from dataclasses import dataclass

from hypermesh.wire.amount import Amount, format_caes
from hypermesh.wire.ids import GenesisId, NodeId, OwnerId
from hypermesh.wire.proof import Bundle, ProofFailure, ProofKind


@dataclass(frozen=True, slots=True)
class ProofOfStake:
    """`node` is known to the ledger of `genesis`, not revoked, and bonded with `bond_min` at least.

    `owner` is None for an id that is no node of this ledger; `bonded` is nCAES.
    """

    genesis: GenesisId
    node: NodeId
    owner: OwnerId | None
    revoked: bool
    bonded: Amount
    bond_min: Amount

    def failures(self, bundle: Bundle) -> list[ProofFailure]:
        """Every reason why `bundle` does not prove it; empty where it does."""
        found = self.standing()
        if bundle.genesis != self.genesis:
            found.append(_failure("the bundle was made for another network"))
        if bundle.node != self.node:
            found.append(_failure("the bundle was made for another node"))
        evidence = bundle.stake
        if evidence is None:
            return [*found, _failure("the proof is missing")]
        if evidence.owner != self.owner:
            found.append(_failure("the owner claimed is not the owner of this node"))
        if evidence.bonded != self.bonded:
            found.append(
                _failure(
                    f"a bond of {format_caes(evidence.bonded)} CAES is claimed;"
                    f" the ledger holds {format_caes(self.bonded)}"
                )
            )
        return found

    def standing(self) -> list[ProofFailure]:
        """What is wrong with the node itself, whatever it claims: checked on every operation."""
        if self.owner is None:
            return [_failure("the ledger knows no such node")]
        found: list[ProofFailure] = []
        if self.revoked:
            found.append(_failure("the node is revoked"))
        if self.bonded < self.bond_min:
            found.append(
                _failure(
                    f"a bond of {format_caes(self.bonded)} CAES is below the"
                    f" {format_caes(self.bond_min)} CAES that this network asks for"
                )
            )
        return found


def _failure(reason: str) -> ProofFailure:
    return ProofFailure(ProofKind.STAKE, reason)
