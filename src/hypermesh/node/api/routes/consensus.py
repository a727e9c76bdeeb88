"""`/consensus`: challenges, proofs and verdicts."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.consensus import (
    ChallengeRequest,
    ChallengeView,
    ConsensusStatus,
    ValidateRequest,
    ValidateView,
)


@post("/consensus/validate", sync_to_thread=True, status_code=200)
def validate(here: Node, data: ValidateRequest) -> ValidateView:
    """Check a bundle or a transaction against the present state; nothing is submitted."""
    return here.views.validate(data)


@get("/consensus/status")
@prompt
def consensus_status(here: Node) -> ConsensusStatus:
    """What the proofs of this network are worth, and how far the ledger is."""
    return here.views.consensus()


@post("/consensus/challenge", sync_to_thread=True, status_code=200)
def challenge(here: Node, data: ChallengeRequest) -> list[ChallengeView]:
    """How the present challenges of a node follow from the ledger."""
    return here.views.challenges(data)


ROUTES: list[ControllerRouterHandler] = [validate, consensus_status, challenge]
