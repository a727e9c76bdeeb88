"""Ending the rights of a node for good: what its owner or the network's founder may do."""

from __future__ import annotations

from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.node.wallet import Wallet
from hypermesh.wire.errors import Forbidden
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import SubmitResponse
from hypermesh.wire.tx import IdentityRevoke


class OwnerElsewhere(Forbidden):
    """What was asked for takes the owner's key, and this node was joined without it."""

    code = "HM-NODE-0022"
    title = "The owner's key is not on this node"
    remedy = "Ask on the owner's first node, where `hm up` or `hm join` made the key"


class Revoking:
    """Signs revocations with the owner's key, where it is here."""

    def __init__(self, membership: Membership, chain: Chain) -> None:
        self._membership = membership
        self._chain = chain

    def revoke(self, node: NodeId, reason: str) -> SubmitResponse:
        """End the rights of `node`. When this returns the ledger says so, and every node that has
        the block cuts it off. Raises `OwnerElsewhere`, or the ledger's refusal."""
        owner = self._membership.owner_keys
        if owner is None:
            raise OwnerElsewhere
        wallet = Wallet(owner, self._membership.genesis_id, self._chain)
        return wallet.submit(IdentityRevoke(node, reason))
