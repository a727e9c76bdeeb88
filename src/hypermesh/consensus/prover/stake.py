"""Stake: what the ledger holds for the node, claimed as it stands."""

from __future__ import annotations

from hypermesh.consensus.verifier.stake import ProofOfStake
from hypermesh.wire.errors import NotFound
from hypermesh.wire.proof import StakeProof


def prove(statement: ProofOfStake) -> StakeProof:
    """The claim that matches the ledger. Raises `NotFound` for a node that is not enrolled."""
    if statement.owner is None:
        raise NotFound(
            "This node is not on the ledger", fix="Join the network first: `hm join TOKEN`"
        )
    return StakeProof(statement.owner, statement.bonded)
