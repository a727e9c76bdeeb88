"""Accounts and transfers as the API takes and shows them."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.body import Body, Hex32


class AccountView(msgspec.Struct, frozen=True):
    """An account; `anchor` none means test units without a peg. `bonded` counts for nodes,
    `unbonding` is on its way back from bonds, `in_escrow` is set aside for open leases."""

    owner: Hex32
    balance: Amount
    bonded: Amount
    in_escrow: Amount
    anchor: str
    unbonding: Amount = 0


class TransferRequest(Body, frozen=True):
    """`POST /v1/accounts/transfer`."""

    to: Hex32
    amount: Annotated[int, Meta(ge=1)]
    memo: Annotated[str, Meta(max_length=200)] = ""


class Reason(enum.StrEnum):
    """Why an amount moved."""

    GENESIS = "genesis"
    """The whole supply, in the faucet."""
    GRANT = "grant"
    TRANSFER = "transfer"
    BOND = "bond"
    UNBONDING = "unbonding"
    """From a bond to the way back; the balance has it after the unbonding time."""
    UNBONDED = "unbonded"
    ESCROW = "escrow"
    """Set aside for a lease or a sale."""
    PAYMENT = "payment"
    """For the use of a lease, or for an asset that was bought."""
    FEE = "fee"
    REFUND = "refund"


class Change(msgspec.Struct, frozen=True):
    """Amounts of the four parts of an account, in nCAES; a change may be negative."""

    balance: int = 0
    bonded: int = 0
    unbonding: int = 0
    in_escrow: int = 0


class EntryView(msgspec.Struct, frozen=True):
    """One line of "why this balance": what moved, why, and what the account had after it.

    The sum of `change` over all entries of an account is what it holds now, part by part. `index`
    and `tx` are null where the ledger itself acted, because something fell due. `counterparty` is
    the other owner, or null for the ledger's own accounts; its name is in `counterparty_name`
    either way (`faucet`, `fees`). `words` say it in a sentence.
    """

    sequence: int
    height: int
    index: int | None
    time_ms: int
    reason: Reason
    words: str
    change: Change
    after: Change
    tx: Hex32 | None = None
    lease: Hex32 | None = None
    node: Hex32 | None = None
    counterparty: Hex32 | None = None
    counterparty_name: str | None = None
    memo: str = ""


class EntryPage(msgspec.Struct, frozen=True):
    """A page of entries, newest first; `next_cursor` is null at the end."""

    items: list[EntryView]
    next_cursor: str | None
