"""The economy of the network as its users see it."""

from __future__ import annotations

from hypermesh.caesar.audit import require_sound
from hypermesh.caesar.token.caes import CaesarToken
from hypermesh.ledger.module import InvariantBroken, State
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.wire.api.caesar import CaesarView, ConservationView, SupplyView
from hypermesh.wire.block import EconomyParameters
from hypermesh.wire.ids import GenesisId


class Economy:
    """Reads of this node's copy of the ledger, by any thread."""

    def __init__(self, membership: Membership, chain: Chain) -> None:
        self._membership = membership
        self._chain = chain

    def view(self) -> CaesarView:
        """The economy at the last height."""
        membership = self._membership
        with self._chain.ledger.state_with_height() as (height, state):
            return economy(state, height, membership.genesis_id, membership.genesis.economy)


def economy(
    state: State, height: int, genesis: GenesisId, parameters: EconomyParameters
) -> CaesarView:
    """The economy in `state`."""
    token = CaesarToken(state)
    held = token.module_balances()
    return CaesarView(
        height=height,
        genesis=genesis.hex(),
        anchor=token.anchor,
        supply=SupplyView(
            minted=token.supply, burned=0, faucet=held["faucet"], circulating=token.circulating
        ),
        fees=held["fees"],
        escrow=held["escrow"],
        bonded=held["bonded"],
        unbonding=held["unbonding"],
        lease_fee=parameters.lease_fee,
        faucet_grant=parameters.faucet_grant,
        conservation=_conservation(state),
    )


def _conservation(state: State) -> ConservationView:
    try:
        require_sound(state)
    except InvariantBroken as broken:
        return ConservationView(False, f"{broken.what}: {broken.why}")
    return ConservationView(True, "")
