"""The module of `bank.*`: the faucet's grants, and transfers.

The faucet is finite and grants once for each certified node, ever: a node's id follows from its
keys, so neither a renewed certificate nor a revocation opens it again. The grant goes to the node's
owner. At genesis the whole supply lies in the faucet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from hypermesh.caesar.token import escrow, supply
from hypermesh.caesar.token.accounts import FAUCET, balance, move
from hypermesh.ledger.module import Call, Context, Event, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.wire.amount import PositiveAmount, format_caes
from hypermesh.wire.codec import encode
from hypermesh.wire.ids import NodeId, OwnerId
from hypermesh.wire.tx import BankFaucet, BankTransfer, BlockOpening

OwnerKnown: TypeAlias = Callable[[State, OwnerId], bool]
"""Whether an owner has made its keys known on this ledger."""


class UnknownPayee(Refusal):
    """Nobody with this id has made keys known, so the money could never be spent again."""

    code = "HM-TX-BANK-0030"
    status = 404
    exit_code = 5
    title = "The payee is unknown on this network"
    remedy = "Check the id; a payee joins with `hm up` or `hm join`"


class NodeRequired(Refusal):
    """The faucet grants to certified nodes, and the signer is an owner."""

    code = "HM-TX-BANK-0031"
    status = 403
    exit_code = 4
    title = "Only a certified node can claim from the faucet"
    remedy = "Let one of the owner's nodes sign"


class AlreadyGranted(Refusal):
    """This node has had its grant."""

    code = "HM-TX-BANK-0032"
    title = "This node has had its grant"


class FaucetEmpty(Refusal):
    """The faucet holds less than one grant, or grants nothing on this network."""

    code = "HM-TX-BANK-0033"
    exit_code = 8
    title = "The faucet has nothing to grant"
    remedy = "Ask an owner who has test units for a transfer"


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """The one grant of a node: whose account got it, and how much, in nCAES."""

    owner: OwnerId
    amount: PositiveAmount


_GRANTS = Table("bank/grant/", Grant)


def grant(state: State, node: NodeId) -> Grant | None:
    """The grant that `node` has claimed, or None."""
    return _GRANTS.get(state, node)


class Bank:
    """Executes `bank.*` and answers for conservation (`ledger.module.Module`)."""

    name = "bank"
    bodies: tuple[type, ...] = (BankFaucet, BankTransfer)

    def __init__(self, owner_known: OwnerKnown) -> None:
        self._owner_known = owner_known

    def begin(self, context: Context) -> None:
        """Mint the whole supply into the faucet. Raises `NotAvailable` for a genesis with an
        anchor."""
        economy = context.genesis.economy
        supply.begin(context.state, economy.anchor)
        if economy.faucet_supply > 0:
            supply.mint(context.state, FAUCET, economy.faucet_supply)

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """Nothing in the opening concerns the bank."""

    def execute(self, context: Context, call: Call) -> None:
        """Grant or transfer."""
        if isinstance(call.body, BankFaucet):
            self._grant(context, call)
        else:
            self._transfer(context, call, call.body)

    def close_block(self, context: Context) -> None:
        """Nothing in the bank falls due."""

    def next_deadline(self, state: State) -> int | None:
        """None: nothing in the bank falls due."""

    def check(self, context: Context) -> None:
        """Conservation, and escrows covered: four reads at every block."""
        supply.require_conserved(context.state)
        escrow.require_covered(context.state)

    def _grant(self, context: Context, call: Call) -> None:
        if not call.signer_is_node:
            raise NodeRequired
        node, amount = call.transaction.signer, context.genesis.economy.faucet_grant
        if _GRANTS.get(context.state, node) is not None:
            raise AlreadyGranted(why=f"node {node.hex()}")
        left = balance(context.state, FAUCET)
        if amount == 0 or left < amount:
            raise FaucetEmpty(
                why=f"it holds {format_caes(left)} CAES, a grant is {format_caes(amount)}"
            )
        move(context.state, FAUCET, call.owner, amount)
        _GRANTS.put(context.state, node, Grant(call.owner, amount))
        context.events.append(Event("bank.granted", node, encode((call.owner, amount))))

    def _transfer(self, context: Context, call: Call, body: BankTransfer) -> None:
        if not self._owner_known(context.state, body.to):
            raise UnknownPayee(why=f"no owner has the id {body.to.hex()}")
        move(context.state, call.owner, body.to, body.amount)
        context.events.append(
            Event("bank.transferred", call.tx_id, encode((call.owner, body.to, body.amount)))
        )
