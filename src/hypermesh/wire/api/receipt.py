"""Receipts: one lease's story with all that shows it, as one JSON document.

Everything for people (`terms`, `use`, `figures`, `job`) is repeated from the bytes of `proofs` and
`row`; a verifier derives it again and compares, so that no member stands on its own.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.asset import PriceView
from hypermesh.wire.api.body import Hex16, Hex32
from hypermesh.wire.api.ledger import HexBytes, ProvenRow, ProvenTransaction

RECEIPT_BYTES_MAX = 16 << 20
"""A longer document is refused unread."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing may stand in a receipt that a verifier does not know and check."""


class ReceiptGenesis(_Part, frozen=True):
    """The network: its id, its name, and the canonical genesis document as hex, which also holds
    the root and the issuing certificate."""

    id: Hex32
    name: str
    document: HexBytes


class ReceiptParty(_Part, frozen=True, omit_defaults=True):
    """A signer. `certificate` is its DER certificate (leaf; below the issuing certificate of
    genesis) as it was in force when it signed; for one who signs with an owner's keys it is null,
    and `keys` are the canonical `PublicKeys`. Where the issuing certificate was replaced since
    genesis, `issuing` is the one above the leaf, below the root of genesis."""

    signer: Hex32
    owner: Hex32
    certificate: HexBytes | None
    keys: HexBytes | None
    issuing: HexBytes | None = None


class ReceiptProof(_Part, frozen=True):
    """One transaction of the lease, proven, and who signed it."""

    step: Literal["open", "activate", "settle", "claim"]
    party: ReceiptParty
    transaction: ProvenTransaction


class ReceiptTerms(_Part, frozen=True):
    """What was agreed: out of the offer and the opening transaction."""

    asset: Hex16
    provider: Hex32
    provider_owner: Hex32
    consumer: Hex32
    amount: int
    price: PriceView
    duration_ms: int
    escrow: Amount
    session: Hex32


class ReceiptUse(_Part, frozen=True):
    """What the provider's meter read, as the provider signed it. `evidence` is the digest over the
    reading and the jobs in it; `reading` is what was digested, as hex, where this node has it."""

    epoch: int
    held_ms: int
    cpu_us: int
    bytes_read: int
    bytes_written: int
    evidence: Hex32
    reading: HexBytes | None
    provider_signature: HexBytes


class ReceiptFigures(_Part, frozen=True):
    """What follows from terms, use and block times. paid + fee + refund = escrow, in nCAES.

    `charged_ms` is the time paid for: what the receipt says, at most the block time between
    activation and settlement. `cost` is the price for it, `fee_due` the network's flat fee. `payee`
    had the payment: the asset's owner at the opening; null where there is no `row` to show it.
    """

    starts_ms: int
    settled_ms: int
    charged_ms: int
    cost: int
    fee_due: Amount
    escrow: Amount
    paid: Amount
    fee: Amount
    refund: Amount
    payee: Hex32 | None


class ReceiptJob(_Part, frozen=True):
    """What a job of the lease did, as the provider measured it and its evidence binds it. The
    digests are those of `JobOutcome`."""

    job: Hex16
    engine: str
    exit_code: int
    reason: str
    isolation: str
    enforced_cpu: str
    enforced_memory: str
    wall_us: int
    cpu_us: int
    memory_peak_bytes: int
    program: Hex32
    stdout: Hex32
    stderr: Hex32
    result: Hex32


class ReceiptDocument(_Part, frozen=True):
    """`GET /v1/leases/{id}/receipt`. `row` is the lease as the state held it after it was over, as
    long as the state still shows it (24 hours); it shows the same figures a second time, under the
    hash that every follower computed."""

    schema_version: Annotated[int, Meta(ge=1, le=1)]
    kind: Literal["hypermesh.receipt"]
    lease: Hex32
    assurance: str
    genesis: ReceiptGenesis
    terms: ReceiptTerms
    use: ReceiptUse
    figures: ReceiptFigures
    jobs: list[ReceiptJob]
    proofs: list[ReceiptProof]
    row: ProvenRow | None
