"""Escrow: the money of a lease between its opening and its end.

    open      payer  -> escrow                    amount
    settle    escrow -> payee, fees, payer        paid + fee + refund = amount, exactly
    refund    escrow -> payer                     amount

A lease has at most one escrow, and `settle` or `refund` ends it: the row is gone, and a second
attempt finds nothing (`NoEscrow`). A free lease has an escrow of 0, which moves nothing but keeps
the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from hypermesh.caesar.token.accounts import (
    ESCROW,
    FEES,
    balance,
    move,
    require_amount,
)
from hypermesh.caesar.token.tally import Tally
from hypermesh.ledger.module import InvariantBroken, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.wire.amount import Amount
from hypermesh.wire.ids import LeaseId, OwnerId


class EscrowExists(Refusal):
    """The lease has an escrow already."""

    code = "HM-TX-BANK-0020"
    title = "This lease has an escrow already"


class NoEscrow(Refusal):
    """The lease has no escrow: none was opened, or it was settled or refunded."""

    code = "HM-TX-BANK-0021"
    title = "This lease has no open escrow"


class Escrow(msgspec.Struct, frozen=True, array_like=True):
    """nCAES held for one lease, and who paid them in."""

    payer: OwnerId
    amount: Amount


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where an escrow went, in nCAES: to the payee, to `fees`, back to the payer."""

    paid: int
    fee: int
    refund: int


_ESCROWS = Table("escrow/lease/", Escrow)
_SUM = Tally("escrow/sum/")


def open(state: State, lease: LeaseId, payer: OwnerId, amount: int) -> None:  # noqa: A001
    """Set `amount` nCAES (0 to 2^63 - 1) of `payer` aside for `lease`.

    Refuses a second escrow for a lease (`EscrowExists`) and what `accounts.move` refuses.
    """
    require_amount(amount, least=0)
    if _ESCROWS.get(state, lease) is not None:
        raise EscrowExists(why=f"lease {lease.hex()}")
    _send(state, payer, ESCROW, amount)
    _ESCROWS.put(state, lease, Escrow(payer, amount))
    _SUM.add(state, amount)


def settle(state: State, lease: LeaseId, payee: OwnerId, charge: int, fee: int) -> Settlement:
    """End an escrow: the flat `fee` first, then `charge` to `payee`, the rest to the payer.

    What the escrow does not cover is not owed: the fee is at most the escrow, the charge at most
    the rest. Refuses a lease without an escrow (`NoEscrow`) and a charge or fee outside
    0 to 2^63 - 1 (`AmountOutOfRange`). The payee may be the payer: one's own machines pay each
    other and leave only the fee behind.
    """
    require_amount(charge, least=0)
    require_amount(fee, least=0)
    escrow = _close(state, lease)
    settlement = split(escrow.amount, charge, fee)
    _send(state, ESCROW, FEES, settlement.fee)
    _send(state, ESCROW, payee, settlement.paid)
    _send(state, ESCROW, escrow.payer, settlement.refund)
    return settlement


def split(amount: int, charge: int, fee: int) -> Settlement:
    """How an escrow of `amount` nCAES is divided; see `settle`. Pure."""
    taken = min(fee, amount)
    paid = min(charge, amount - taken)
    return Settlement(paid, taken, amount - taken - paid)


def refund(state: State, lease: LeaseId) -> int:
    """End an escrow by returning all of it to its payer, and return how much that was, in nCAES.
    Refuses a lease without an escrow (`NoEscrow`)."""
    escrow = _close(state, lease)
    _send(state, ESCROW, escrow.payer, escrow.amount)
    return escrow.amount


def held(state: State, lease: LeaseId) -> Escrow | None:
    """The open escrow of `lease`, or None."""
    return _ESCROWS.get(state, lease)


def escrows(state: State) -> Iterator[tuple[LeaseId, Escrow]]:
    """(lease, escrow) of every open escrow, by ascending lease id."""
    return _ESCROWS.rows(state)


def require_covered(state: State) -> None:
    """Raise `InvariantBroken` where the escrow account is not the sum of the open escrows. Two
    reads, whatever the number of leases."""
    found, expected = balance(state, ESCROW), _SUM.read(state)
    if found != expected:
        raise InvariantBroken(
            "The escrow account does not match the open escrows",
            why=f"it holds {found} nCAES, they are {expected}",
        )


def _close(state: State, lease: LeaseId) -> Escrow:
    escrow = _ESCROWS.get(state, lease)
    if escrow is None:
        raise NoEscrow(why=f"lease {lease.hex()}: never opened, or settled or refunded before")
    _ESCROWS.delete(state, lease)
    _SUM.add(state, -escrow.amount)
    return escrow


def _send(state: State, source: OwnerId, target: OwnerId, amount: int) -> None:
    if amount > 0:
        move(state, source, target, amount)
