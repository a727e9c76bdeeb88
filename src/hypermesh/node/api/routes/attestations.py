"""`/v1/nodes/{id}/attestation`: the evidence behind a node's four proofs."""

from __future__ import annotations

from litestar import get
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.attestation import AttestationEvidence
from hypermesh.wire.ids import parse_hex


@get("/v1/nodes/{node:str}/attestation")
@prompt
def node_attestation(here: Node, node: str) -> AttestationEvidence:
    """The bundle by which a node has rights, decoded, with a dry run of its verification."""
    return here.attestations.evidence(parse_hex(node, 32, "node id"))


ROUTES: list[ControllerRouterHandler] = [node_attestation]
