"""Genesis, blocks and headers as they travel."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.asset import TimeMs
from hypermesh.wire.ids import GenesisId, Hash, NodeId
from hypermesh.wire.keys import PublicKeys, QuantumSignature
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.tx import Certificate, TxResult


class NetworkClass(enum.StrEnum):
    """How much the proofs of a network are worth. `test` shows the mechanism only, and says so."""

    TEST = "test"
    PRIVATE = "private"
    PUBLIC = "public"


class ProofParameters(msgspec.Struct, frozen=True, array_like=True):
    """What the four proofs cost on this network."""

    epoch_ms: Annotated[int, Meta(ge=1000)]
    space_k: Annotated[int, Meta(ge=18, le=50)]
    space_draws: Annotated[int, Meta(ge=1, le=64)]
    space_valid_min: Annotated[int, Meta(ge=1, le=64)]
    vdf_bits: Annotated[int, Meta(ge=256, le=4096)]
    vdf_iterations: Annotated[int, Meta(ge=1)]
    matrix_size: Annotated[int, Meta(ge=8, le=65535)]
    matrix_rows_opened: Annotated[int, Meta(ge=1, le=16)]
    bond_min: Amount


class EconomyParameters(msgspec.Struct, frozen=True, array_like=True):
    """The CAES of a network. Without a reserve its `anchor` is "none": test units only."""

    anchor: str
    faucet_supply: Amount
    faucet_grant: Amount
    lease_fee: Amount
    unbonding_ms: Annotated[int, Meta(ge=0)]


class LeaseParameters(msgspec.Struct, frozen=True, array_like=True):
    """Waits of the lease table, in milliseconds of block time."""

    reservation_ms: Annotated[int, Meta(ge=1)]
    claim_ms: Annotated[int, Meta(ge=1)]
    duration_ms_max: Annotated[int, Meta(ge=1)]


class Genesis(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of a network; its digest (domain `genesis`) is the GenesisId.

    It names the founder's sequencer and the CA, never a certificate that names the network, so
    there is no circle. `vdf` is evaluated over the digest of this document without it.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    network_class: NetworkClass
    created_ms: TimeMs
    root_certificate: Certificate
    issuing_certificate: Certificate
    founder: PublicKeys
    sequencer: PublicKeys
    proofs: ProofParameters
    economy: EconomyParameters
    leases: LeaseParameters
    vdf: VdfOutput | None


class Header(msgspec.Struct, frozen=True, array_like=True):
    """A block's header. `app_hash` is the state after the block; its digest (domain `header`) is
    the block hash and the commit hash that seeds epochs."""

    genesis: GenesisId
    height: Annotated[int, Meta(ge=1, le=2**53)]
    time_ms: TimeMs
    previous: Hash
    entries_root: Hash
    results_root: Hash
    app_hash: Hash
    sequencer: NodeId


class SignedHeader(msgspec.Struct, frozen=True, array_like=True):
    """A header under `assurance: trusted sequencer`."""

    header: Header
    signature: QuantumSignature


class Block(msgspec.Struct, frozen=True, array_like=True):
    """A header with what it commits to. `entries` are encoded `Entry` values; the first is the
    `BlockOpening`. `signature` is the sequencer's; None where validators vouch for the block."""

    header: Header
    signature: QuantumSignature | None
    entries: Annotated[list[bytes], Meta(max_length=10_001)]
    results: Annotated[list[TxResult], Meta(max_length=10_001)]


class BlockInput(msgspec.Struct, frozen=True, array_like=True):
    """All that an engine gives the kernel, and all that decides the app hash.

    `entries[0]` is the `BlockOpening`; `time_ms` equals its time. `evidence` holds proven
    misbehaviour (none under `solo`)."""

    height: Annotated[int, Meta(ge=1, le=2**53)]
    time_ms: TimeMs
    entries: list[bytes]
    evidence: list[bytes]


class BucketProof(msgspec.Struct, frozen=True, array_like=True):
    """Shows what the state holds, or does not hold, under one key.

    `entries` are the sorted (key, digest of value) pairs of the key's bucket; `siblings` lead from
    the bucket to the root, lowest first.
    """

    key: bytes
    entries: list[tuple[bytes, Hash]]
    siblings: Annotated[list[Hash], Meta(max_length=64)]


class TransactionProof(msgspec.Struct, frozen=True, array_like=True):
    """Shows that a block holds an entry, at which index, and what became of it.

    `results` are all results of the block: they lead to the header's `results_root`, so nothing can
    be claimed of how many entries there are or which id stands where. `path` leads from `entry` to
    the header's `entries_root`; without it the signature in the entry would be anybody's.
    """

    header: SignedHeader
    index: Annotated[int, Meta(ge=1, le=10_000)]
    entry: bytes
    path: Annotated[list[Hash], Meta(max_length=64)]
    results: Annotated[list[TxResult], Meta(max_length=10_001)]
