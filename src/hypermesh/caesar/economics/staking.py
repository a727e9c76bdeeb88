"""The module of `stake.*`: bonds that give a node the right to act.

    bond      owner     -> bonded        at once
    unbond    bonded    -> unbonding     at once: the bond no longer counts for the node
    return    unbonding -> owner         in the first block at or after the unbonding time

Anybody may bond for any known node; a bond belongs to the owner that paid it and returns to that
owner alone, also when the node has been revoked meanwhile. A node's bond is the sum over owners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from hypermesh.caesar.token.accounts import BONDED, UNBONDING, balance, move, require_amount
from hypermesh.caesar.token.tally import Tally
from hypermesh.ledger.module import Call, Context, Event, InvariantBroken, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.wire.amount import Amount, PositiveAmount, format_caes
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import NodeId, OwnerId
from hypermesh.wire.tx import BlockOpening, StakeBond, StakeUnbond

UNBONDINGS_MAX = 7
"""Unbondings of one owner from one node that may be on their way at once."""
RETURNS_PER_BLOCK_MAX = 1000
"""Unbondings paid out in one block; what is due beyond that follows in the next."""
UNBONDING_MS_MAX = 10 * 365 * 24 * 3600 * 1000
"""The longest unbonding time that a genesis may set: ten years."""

NodeKnown: TypeAlias = Callable[[State, NodeId], bool]
"""Whether a node is enrolled on this ledger and not revoked."""


class UnknownNode(Refusal):
    """The node is not enrolled, or revoked; a bond could not give it any right."""

    code = "HM-TX-STAKE-0001"
    status = 404
    exit_code = 5
    title = "This node is not enrolled on this network"


class BondTooSmall(Refusal):
    """The owner's bond on this node is smaller than what it asks back."""

    code = "HM-TX-STAKE-0002"
    status = 402
    exit_code = 8
    title = "The bond is smaller than the amount asked back"


class TooManyUnbondings(Refusal):
    """The owner waits for the most unbondings from this node that are allowed at once."""

    code = "HM-TX-STAKE-0003"
    status = 429
    exit_code = 8
    title = "Too many unbondings are on their way"
    remedy = "Wait until one has returned"


class Bond(msgspec.Struct, frozen=True, array_like=True):
    """What one owner has bonded for one node, in nCAES, and how many unbondings of it are on their
    way."""

    amount: Amount
    unbondings: Annotated[int, Meta(ge=0, le=UNBONDINGS_MAX)]


class Unbonding(msgspec.Struct, frozen=True, array_like=True):
    """nCAES on their way back to `owner` from its bond on `node`."""

    node: NodeId
    owner: OwnerId
    amount: PositiveAmount


_BONDS = Table("stake/bond/", Bond)
"""Key: node, owner."""
_QUEUE = Table("stake/queue/", Unbonding)
"""Key: due time in milliseconds (u64, big-endian), id of the transaction that asked."""
_NODE = Tally("stake/node/")
_BONDED = Tally("stake/bonded/")
_UNBONDING = Tally("stake/unbonding/")


def bonded(state: State, node: NodeId) -> int:
    """The bond of `node` over all owners, in nCAES; one read. Unbonding money does not count."""
    return _NODE.read(state, node)


def bond(state: State, node: NodeId, owner: OwnerId) -> int:
    """What `owner` has bonded for `node`, in nCAES."""
    return _bond(state, node, owner).amount


def bonds(state: State) -> Iterator[tuple[OwnerId, int]]:
    """(owner, nCAES) of every bond; an owner comes once for each node that it bonded for."""
    for key, row in _BONDS.rows(state):
        yield key[32:], row.amount


def unbondings(state: State) -> Iterator[tuple[int, Unbonding]]:
    """(due time in milliseconds, unbonding) of all that is on its way, earliest first."""
    for key, row in _QUEUE.rows(state):
        yield _due_ms(key), row


def audit(state: State) -> None:
    """Add up every bond and unbonding from its rows, and raise `InvariantBroken` where they differ
    from the running sums or the accounts. Time grows with the number of rows."""
    by_node: dict[NodeId, int] = {}
    for key, row in _BONDS.rows(state):
        by_node[key[:32]] = by_node.get(key[:32], 0) + row.amount
    for node, amount in by_node.items():
        if amount != bonded(state, node):
            raise InvariantBroken(
                "The bond of a node does not match its owners' bonds",
                why=f"node {node.hex()} counts {bonded(state, node)} nCAES, they are {amount}",
            )
    _require_equal("bonded", balance(state, BONDED), sum(by_node.values()))
    returning = sum(row.amount for _, row in _QUEUE.rows(state))
    _require_equal("unbonding", balance(state, UNBONDING), returning)
    require_covered(state)


def require_covered(state: State) -> None:
    """Raise `InvariantBroken` where an account of bonds is not the sum of its rows. Four reads,
    whatever the number of bonds."""
    _require_equal("bonded", balance(state, BONDED), _BONDED.read(state))
    _require_equal("unbonding", balance(state, UNBONDING), _UNBONDING.read(state))


class Staking:
    """Executes `stake.*` and returns what falls due (`ledger.module.Module`)."""

    name = "stake"
    bodies: tuple[type, ...] = (StakeBond, StakeUnbond)

    def __init__(self, node_known: NodeKnown) -> None:
        self._node_known = node_known

    def begin(self, context: Context) -> None:
        """No bond exists at genesis. Raises `InvalidInput` for an unbonding time beyond
        `UNBONDING_MS_MAX`."""
        wait_ms = context.genesis.economy.unbonding_ms
        if wait_ms > UNBONDING_MS_MAX:
            raise InvalidInput(
                f"An unbonding time of {wait_ms} ms is too long",
                why=f"at most {UNBONDING_MS_MAX} ms are allowed",
            )

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """Nothing in the opening concerns bonds."""

    def execute(self, context: Context, call: Call) -> None:
        """Bond or unbond, with the money of the signer's own owner."""
        if isinstance(call.body, StakeBond):
            self._bond(context, call.owner, call.body)
        else:
            self._unbond(context, call, call.body)

    def close_block(self, context: Context) -> None:
        """Return what is due, earliest first, at most `RETURNS_PER_BLOCK_MAX`."""
        for key, row in islice(_QUEUE.rows(context.state), RETURNS_PER_BLOCK_MAX):
            if _due_ms(key) > context.time_ms:
                break
            self._return(context, key, row)

    def next_deadline(self, state: State) -> int | None:
        """When the earliest unbonding is due."""
        return next((due_ms for due_ms, _ in unbondings(state)), None)

    def check(self, context: Context) -> None:
        """Bonds and unbondings covered by their accounts: four reads at every block."""
        require_covered(context.state)

    def _bond(self, context: Context, owner: OwnerId, body: StakeBond) -> None:
        state = context.state
        if not self._node_known(state, body.node):
            raise UnknownNode(why=f"node {body.node.hex()}")
        move(state, owner, BONDED, body.amount)
        before = _bond(state, body.node, owner)
        _put_bond(state, body.node, owner, Bond(before.amount + body.amount, before.unbondings))
        _NODE.add(state, body.amount, body.node)
        _BONDED.add(state, body.amount)
        context.events.append(Event("stake.bonded", body.node, encode((owner, body.amount))))

    def _unbond(self, context: Context, call: Call, body: StakeUnbond) -> None:
        state, owner = context.state, call.owner
        require_amount(body.amount, least=1)
        before = _bond(state, body.node, owner)
        if before.amount < body.amount:
            raise BondTooSmall(
                why=f"owner {owner.hex()} has {format_caes(before.amount)} CAES bonded"
                f" for node {body.node.hex()}"
            )
        if before.unbondings == UNBONDINGS_MAX:
            raise TooManyUnbondings(why=f"{UNBONDINGS_MAX} are allowed for each owner and node")
        due_ms = context.time_ms + context.genesis.economy.unbonding_ms
        move(state, BONDED, UNBONDING, body.amount)
        after = Bond(before.amount - body.amount, before.unbondings + 1)
        _put_bond(state, body.node, owner, after)
        _QUEUE.put(
            state,
            due_ms.to_bytes(8, "big") + call.tx_id,
            Unbonding(body.node, owner, body.amount),
        )
        _NODE.add(state, -body.amount, body.node)
        _BONDED.add(state, -body.amount)
        _UNBONDING.add(state, body.amount)
        context.events.append(Event("stake.unbonding", body.node, encode((owner, body.amount))))

    def _return(self, context: Context, key: bytes, row: Unbonding) -> None:
        state = context.state
        move(state, UNBONDING, row.owner, row.amount)
        before = _bond(state, row.node, row.owner)
        _put_bond(state, row.node, row.owner, Bond(before.amount, before.unbondings - 1))
        _QUEUE.delete(state, key)
        _UNBONDING.add(state, -row.amount)
        context.events.append(Event("stake.returned", row.node, encode((row.owner, row.amount))))


def _bond(state: State, node: NodeId, owner: OwnerId) -> Bond:
    return _BONDS.get(state, node + owner) or Bond(0, 0)


def _put_bond(state: State, node: NodeId, owner: OwnerId, row: Bond) -> None:
    if row == Bond(0, 0):
        _BONDS.delete(state, node + owner)
    else:
        _BONDS.put(state, node + owner, row)


def _due_ms(key: bytes) -> int:
    return int.from_bytes(key[:8], "big")


def _require_equal(account: str, found: int, expected: int) -> None:
    if found != expected:
        raise InvariantBroken(
            f"The account {account} does not match its rows",
            why=f"it holds {found} nCAES, they are {expected}",
        )
