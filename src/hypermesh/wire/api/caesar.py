"""The economy of a network as the API shows it."""

from __future__ import annotations

import msgspec

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.body import Hex32


class SupplyView(msgspec.Struct, frozen=True):
    """nCAES. `minted` exist; `faucet` of them were not granted yet, `circulating` were. `burned` is
    0: no operation burns units yet."""

    minted: Amount
    burned: Amount
    faucet: Amount
    circulating: Amount


class ConservationView(msgspec.Struct, frozen=True):
    """Whether all accounts add up to the supply, escrows to the escrow account and bonds to theirs,
    by the running sums of the ledger; `why` says where they do not."""

    holds: bool
    why: str


class CaesarView(msgspec.Struct, frozen=True):
    """The economy at one height, in nCAES. `anchor` none means test units without a peg. `escrow`,
    `bonded` and `unbonding` are sums over all owners; `fees` were collected so far, `lease_fee` is
    taken of each lease; a node is granted `faucet_grant` once."""

    height: int
    genesis: Hex32
    anchor: str
    supply: SupplyView
    fees: Amount
    escrow: Amount
    bonded: Amount
    unbonding: Amount
    lease_fee: Amount
    faucet_grant: Amount
    conservation: ConservationView
