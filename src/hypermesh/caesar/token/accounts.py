"""Balances: who holds how many nCAES.

An account is named by the 32 bytes of its OwnerId. A module account holds what belongs to nobody
in particular or to somebody under a condition; its id is a digest of its name, so no key pair can
have it. A row exists only while its balance is above zero.

Amounts are int64 (`wire.amount`). No balance is ever negative, and none exceeds the supply, which
is itself an int64; so a credit cannot overflow unless conservation is already broken.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hypermesh.caesar.token.tally import Tally
from hypermesh.crypto.digest import digest
from hypermesh.ledger.module import InvariantBroken, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.wire.amount import AMOUNT_MAX, PositiveAmount, format_caes
from hypermesh.wire.ids import OwnerId


class AmountOutOfRange(Refusal):
    """An amount is not a whole number of nCAES within the bounds of the operation."""

    code = "HM-TX-BANK-0001"
    status = 400
    exit_code = 2
    title = "The amount is out of range"


class Overdrawn(Refusal):
    """An account holds less than it is asked to give."""

    code = "HM-TX-BANK-0002"
    status = 402
    exit_code = 8
    title = "The balance is too small"
    remedy = "Wait for a refund, be paid, or ask for less; see `hm wallet show`"


class SameAccount(Refusal):
    """Source and target of a movement are one account."""

    code = "HM-TX-BANK-0003"
    status = 400
    exit_code = 2
    title = "Source and target are the same account"
    remedy = "Name another owner; `hm node ls` shows them"


class Balance(msgspec.Struct, frozen=True, array_like=True):
    """One row: the nCAES of one account."""

    amount: PositiveAmount


def module_account(name: str) -> OwnerId:
    """The account that the rules hold under `name`."""
    return digest("account", name.encode("ascii"))


FAUCET = module_account("faucet")
"""Test units not yet granted."""
FEES = module_account("fees")
"""Flat lease fees, collected."""
ESCROW = module_account("escrow")
"""Money of open leases, each part named by a row of `escrow`."""
BONDED = module_account("bonded")
"""Money of bonds, each part named by a row of `staking`."""
UNBONDING = module_account("unbonding")
"""Money on its way back from bonds."""

MODULE_ACCOUNTS: dict[str, OwnerId] = {
    "faucet": FAUCET,
    "fees": FEES,
    "escrow": ESCROW,
    "bonded": BONDED,
    "unbonding": UNBONDING,
}

_BALANCES = Table("bank/balance/", Balance)
_SUM = Tally("bank/sum/")


def balance(state: State, account: OwnerId) -> int:
    """What `account` holds, in nCAES; 0 where it is unknown."""
    row = _BALANCES.get(state, account)
    return 0 if row is None else row.amount


def balances(state: State) -> Iterator[tuple[OwnerId, int]]:
    """(account, nCAES) of every account that holds something, by ascending id."""
    for account, row in _BALANCES.rows(state):
        yield account, row.amount


def total(state: State) -> int:
    """The running sum of all balances, in nCAES."""
    return _SUM.read(state)


def move(state: State, source: OwnerId, target: OwnerId, amount: int) -> None:
    """Move `amount` nCAES from `source` to `target`.

    Refuses, before it writes anything, an amount outside 1 to 2^63 - 1 (`AmountOutOfRange`), equal
    accounts (`SameAccount`) and a source that holds less (`Overdrawn`).
    """
    require_amount(amount, least=1)
    if source == target:
        raise SameAccount(why=f"both are {source.hex()}")
    held = balance(state, source)
    if held < amount:
        raise Overdrawn(
            f"The balance does not cover {format_caes(amount)} CAES",
            why=f"account {source.hex()} holds {format_caes(held)} CAES",
        )
    write(state, source, held - amount)
    write(state, target, balance(state, target) + amount)


def write(state: State, account: OwnerId, amount: int) -> None:
    """Set a balance and keep the running sum. The only writer of balances; for `move` and
    `supply.mint`, whose arithmetic conservation judges."""
    if not 0 <= amount <= AMOUNT_MAX:
        raise InvariantBroken(
            f"A balance of {amount} nCAES is impossible",
            why=f"account {account.hex()} would leave the range 0 to 2^63 - 1",
        )
    before = balance(state, account)
    if amount == 0:
        _BALANCES.delete(state, account)
    else:
        _BALANCES.put(state, account, Balance(amount))
    _SUM.add(state, amount - before)


def require_amount(amount: int, *, least: int) -> None:
    """Refuse what is not an int from `least` to 2^63 - 1. A bool or a float is no amount."""
    if type(amount) is not int or not least <= amount <= AMOUNT_MAX:
        raise AmountOutOfRange(
            f"{str(amount)[:40]} is not an amount of nCAES that can be moved",
            why=f"whole numbers from {least} to 2^63 - 1 can",
        )
