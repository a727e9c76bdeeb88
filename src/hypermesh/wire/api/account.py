"""Accounts and transfers as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.body import Body, Hex32


class AccountView(msgspec.Struct, frozen=True):
    """An account; `anchor` none means test units without a peg."""

    owner: Hex32
    balance: Amount
    bonded: Amount
    in_escrow: Amount
    anchor: str


class TransferRequest(Body, frozen=True):
    """`POST /v1/accounts/transfer`."""

    to: Hex32
    amount: Annotated[int, Meta(ge=1)]
    memo: Annotated[str, Meta(max_length=200)] = ""
