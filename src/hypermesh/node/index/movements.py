"""What an event of the ledger moved: from whom to whom, how much, why. Pure.

The amounts are those that the rules put into their events when they moved them. The ledger keeps
money under a condition in accounts of its own (`caesar.token.accounts`); here it stays with its
owner, in another part of the owner's account, so that every unit is somebody's:

    granted            faucet                balance -> owner   balance
    transferred        payer                 balance -> payee   balance
    bonded             owner                 balance -> owner   bonded
    unbonding          owner                 bonded  -> owner   unbonding
    returned           owner               unbonding -> owner   balance
    lease opened       consumer              balance -> consumer in escrow
    lease settled      consumer            in escrow -> payee   balance       what was paid
                       consumer            in escrow -> fees    balance       the fee
                       consumer            in escrow -> consumer balance      the refund
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from hypermesh.caesar.token.accounts import FAUCET, FEES
from hypermesh.ledger.module import Event
from hypermesh.wire.api.account import Reason
from hypermesh.wire.asset import Lease
from hypermesh.wire.codec import decode
from hypermesh.wire.ids import OwnerId


class Part(enum.StrEnum):
    """A part of an owner's account."""

    BALANCE = "balance"
    BONDED = "bonded"
    UNBONDING = "unbonding"
    IN_ESCROW = "in_escrow"


PARTS = tuple(Part)


@dataclass(frozen=True, slots=True)
class Movement:
    """`amount` nCAES from a part of one account to a part of another, or of the same. Without a
    source they are new."""

    reason: Reason
    source: tuple[OwnerId, Part] | None
    target: tuple[OwnerId, Part]
    amount: int


@dataclass(frozen=True, slots=True)
class Posting:
    """What a movement changes in one account. `counterparty` is the other account, None where there
    is none."""

    account: OwnerId
    changes: tuple[int, int, int, int]
    """One for each of `PARTS`."""
    counterparty: OwnerId | None


def movements(event: Event) -> Iterator[Movement]:
    """What `event` moved; nothing for most events."""
    match event.name:
        case "bank.granted":
            owner, amount = decode(tuple[bytes, int], event.data)
            yield _between(Reason.GRANT, FAUCET, owner, amount)
        case "bank.transferred":
            payer, payee, amount = decode(tuple[bytes, bytes, int], event.data)
            yield _between(Reason.TRANSFER, payer, payee, amount)
        case "stake.bonded":
            owner, amount = decode(tuple[bytes, int], event.data)
            yield _within(Reason.BOND, owner, Part.BALANCE, Part.BONDED, amount)
        case "stake.unbonding":
            owner, amount = decode(tuple[bytes, int], event.data)
            yield _within(Reason.UNBONDING, owner, Part.BONDED, Part.UNBONDING, amount)
        case "stake.returned":
            owner, amount = decode(tuple[bytes, int], event.data)
            yield _within(Reason.UNBONDED, owner, Part.UNBONDING, Part.BALANCE, amount)
        case "title.paid":
            buyer, seller, price = decode(tuple[bytes, bytes, int], event.data)
            yield _between(Reason.PAYMENT, buyer, seller, price)
        case "lease.opened":
            lease = decode(Lease, event.data)
            yield _within(Reason.ESCROW, lease.consumer, Part.BALANCE, Part.IN_ESCROW, lease.escrow)
        case "lease.settled" | "lease.claimed" | "lease.expired":
            yield from _closed(decode(Lease, event.data))


def postings(movement: Movement) -> list[Posting]:
    """The accounts that a movement changes, and how."""
    target, part = movement.target
    if movement.source is None:
        return [Posting(target, _changes({part: movement.amount}), None)]
    source, taken = movement.source
    if source == target:
        both = {taken: -movement.amount, part: movement.amount}
        return [Posting(source, _changes(both), None)]
    return [
        Posting(source, _changes({taken: -movement.amount}), target),
        Posting(target, _changes({part: movement.amount}), source),
    ]


def _closed(lease: Lease) -> Iterator[Movement]:
    held = (lease.consumer, Part.IN_ESCROW)
    yield Movement(Reason.PAYMENT, held, (lease.payee, Part.BALANCE), lease.paid)
    yield Movement(Reason.FEE, held, (FEES, Part.BALANCE), lease.fee)
    yield Movement(Reason.REFUND, held, (lease.consumer, Part.BALANCE), lease.refund)


def _between(reason: Reason, source: OwnerId, target: OwnerId, amount: int) -> Movement:
    return Movement(reason, (source, Part.BALANCE), (target, Part.BALANCE), amount)


def _within(reason: Reason, owner: OwnerId, taken: Part, put: Part, amount: int) -> Movement:
    return Movement(reason, (owner, taken), (owner, put), amount)


def _changes(changes: dict[Part, int]) -> tuple[int, int, int, int]:
    balance, bonded, unbonding, in_escrow = (changes.get(part, 0) for part in PARTS)
    return balance, bonded, unbonding, in_escrow
