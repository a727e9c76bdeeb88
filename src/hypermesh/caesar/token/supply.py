"""Supply: how many nCAES exist, and that no operation but `mint` changes it.

    sum of all accounts = supply            after every block, to the unit

A network without a reserve says `anchor: none`: its units are test units, all of them minted at
genesis into the faucet, and it claims no peg. Any other anchor needs a reserve and an oracle and is
`NotAvailable`.

**A breach.** `require_conserved` compares the running sum of the balances with the supply; the bank
calls it in its `check` at the end of every block, before the block is durable. A breach raises
`InvariantBroken`: the block is not committed and the node stops, so no breach enters the chain and
what was acknowledged stays conserved. The design asks that a breach stop minting and leave
transfers open; as nothing mints after genesis yet, stopping the block is the stricter form of it.
The two halves are here all the same, for mints on evidence to build on: `mint` refuses while
accounts and supply differ (`MintingStopped`), and `accounts.move` does not ask.
"""

from __future__ import annotations

import msgspec

from hypermesh.caesar.token import accounts
from hypermesh.ledger.module import InvariantBroken, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.wire.amount import AMOUNT_MAX, Amount
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.ids import OwnerId

ANCHOR_NONE = "none"
"""No reserve stands behind the unit."""


class SupplyExceeded(Refusal):
    """More units would exist than an int64 can count."""

    code = "HM-TX-BANK-0010"
    title = "The supply would exceed 2^63 - 1 nCAES"


class MintingStopped(Refusal):
    """Accounts and supply differ; nothing is minted until they agree. Transfers stay open."""

    code = "HM-TX-BANK-0011"
    status = 503
    exit_code = 9
    title = "Minting is stopped: the accounts do not add up to the supply"
    remedy = "Run the full audit; rebuild the state by replay from genesis"


class Supply(msgspec.Struct, frozen=True, array_like=True):
    """What exists, in nCAES, and what stands behind it."""

    anchor: str
    amount: Amount


_SUPPLY = Table("bank/supply/", Supply)
_ONLY = b""


def begin(state: State, anchor: str) -> None:
    """Write a supply of 0. Raises `NotAvailable` for an anchor other than "none"."""
    if anchor != ANCHOR_NONE:
        raise NotAvailable(
            f"The anchor {anchor[:40]!r} does not exist",
            why="an anchored CAES needs a reserve, an oracle and a redemption window",
            fix='Found the network with anchor "none"',
        )
    _SUPPLY.put(state, _ONLY, Supply(anchor, 0))


def supply(state: State) -> Supply:
    """The supply. Raises `InvariantBroken` on a state without a genesis."""
    row = _SUPPLY.get(state, _ONLY)
    if row is None:
        raise InvariantBroken("The state has no supply", why="genesis was never applied to it")
    return row


def mint(state: State, target: OwnerId, amount: int) -> None:
    """Create `amount` nCAES on `target`.

    Refuses an amount outside 1 to 2^63 - 1 (`AmountOutOfRange`), a supply beyond 2^63 - 1
    (`SupplyExceeded`) and any amount while conservation is broken (`MintingStopped`).
    """
    accounts.require_amount(amount, least=1)
    before = supply(state)
    if accounts.total(state) != before.amount:
        raise MintingStopped
    if before.amount + amount > AMOUNT_MAX:
        raise SupplyExceeded(why=f"{before.amount} nCAES exist already")
    _SUPPLY.put(state, _ONLY, Supply(before.anchor, before.amount + amount))
    accounts.write(state, target, accounts.balance(state, target) + amount)


def require_conserved(state: State) -> None:
    """Raise `InvariantBroken` where the running sum of all accounts is not the supply. Two reads,
    whatever the number of accounts."""
    found, expected = accounts.total(state), supply(state).amount
    if found != expected:
        raise InvariantBroken(
            "CAES is not conserved",
            why=f"all accounts together hold {found} nCAES, the supply is {expected}",
        )
