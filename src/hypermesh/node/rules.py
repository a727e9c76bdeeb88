"""The rules of a network, in the order in which the kernel applies them."""

from __future__ import annotations

from hypermesh.assets.lease import Leases
from hypermesh.assets.registry import ASSETS, Registry
from hypermesh.assets.title import Titles
from hypermesh.caesar.economics.staking import Staking
from hypermesh.caesar.token.bank import Bank
from hypermesh.consensus.module import Consensus
from hypermesh.ledger import identity
from hypermesh.ledger.federation import Federation
from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.module import State
from hypermesh.ledger.names import Holding, Names
from hypermesh.ledger.transparency import Transparency
from hypermesh.wire.block import Genesis
from hypermesh.wire.ids import AssetId, NodeId, OwnerId


def kernel(genesis: Genesis) -> Kernel:
    """A kernel with all modules; for one thread."""
    identities = identity.Identity()
    modules = (
        identities,
        Bank(_owner_known),
        Staking(_node_known),
        Consensus(),
        Registry(),
        Titles(_owner_known),
        Leases(),
        Names(_holding),
        Transparency(),
        Federation(),
    )
    return Kernel(genesis, modules, identities)


def _owner_known(state: State, owner: OwnerId) -> bool:
    return identity.owner(state, owner) is not None


def _holding(state: State, asset_id: AssetId) -> Holding | None:
    asset = ASSETS.get(state, asset_id)
    return None if asset is None else Holding(asset.owner, asset.host)


def _node_known(state: State, node: NodeId) -> bool:
    known = identity.node(state, node)
    return known is not None and not known.revoked
