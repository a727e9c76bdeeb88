"""Transactions: what may change the ledger.

A transaction is signed by a node or an owner with both keys (domain `tx`). Its id is the digest of
its encoding without the signature, because FALCON signatures are randomised. `nonce` is the
signer's count of transactions so far: strictly the next. It is valid in blocks whose time lies in
`valid_from_ms .. valid_until_ms`, a window of at most `WINDOW_MS_MAX`.

`asset.*` and `lease.*` name in `attestation` the bundle of the node that hosts the asset; every
other type leaves it empty.
"""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount, PositiveAmount
from hypermesh.wire.asset import (
    AssetKind,
    AssetState,
    Descriptor,
    DurationMs,
    Locator,
    Offer,
    Price,
    PrivacyLevel,
    Receipt,
    Region,
    TimeMs,
)
from hypermesh.wire.ids import (
    ZERO_HASH,
    AssetId,
    GenesisId,
    Hash,
    LeaseId,
    NodeId,
    OwnerId,
    SessionId,
    TxId,
)
from hypermesh.wire.keys import PublicKeys, QuantumSignature
from hypermesh.wire.proof import Bundle, VdfOutput
from hypermesh.wire.transparency import Origin, Path, PublicLog

WINDOW_MS_MAX = 10 * 60 * 1000
CERTIFICATE_BYTES_MAX = 16 * 1024

Certificate: TypeAlias = Annotated[bytes, Meta(min_length=1, max_length=CERTIFICATE_BYTES_MAX)]
"""An X.509 certificate in DER."""


GENESIS_BYTES_MAX = 64 * 1024
NAMES_MAX = 64
"""Names in each list of a cross-certificate's constraints."""


class PartnerService(enum.StrEnum):
    """What nodes of a partner network may ask for here. To connect and to measure the path is part
    of every agreement."""

    ASSETS = "assets"
    """Discover assets, as far as the terms of each let them: `asset.inspect`, `partner.assets`."""


class IdentityOwn(msgspec.Struct, frozen=True, array_like=True, tag="identity.own"):
    """An owner makes its keys known; signed by those keys, nonce 0."""

    keys: PublicKeys


class IdentityEnrol(msgspec.Struct, frozen=True, array_like=True, tag="identity.enrol"):
    """A node makes its certificate known, first or renewed; signed by the node. Its owner, named
    in the certificate, must be known."""

    certificate: Certificate


class IdentityRevoke(msgspec.Struct, frozen=True, array_like=True, tag="identity.revoke"):
    """The owner of a node, or the network's founder, ends that node's rights for good."""

    node: NodeId
    reason: Annotated[str, Meta(min_length=1, max_length=200)]


Label: TypeAlias = Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9-]*\Z")]
"""A label of the DNS in lower case; the module of names says which may be used."""


class NameSet(msgspec.Struct, frozen=True, array_like=True, tag="name.set"):
    """The signer's owner calls a node or an asset of his `label` in the zone of the network; one of
    the two is None. It takes the place of what the label named before."""

    label: Label
    node: NodeId | None
    asset: AssetId | None


class NameDrop(msgspec.Struct, frozen=True, array_like=True, tag="name.drop"):
    """The signer's owner gives a label up."""

    label: Label


ISSUER_GRACE_MS_MAX = 24 * 60 * 60 * 1000
"""As long as a node's certificate lives: after that there is none left to be lenient with."""


class IdentityReplaceIssuer(
    msgspec.Struct, frozen=True, array_like=True, tag="identity.replace_issuer"
):
    """The network's founder puts the issuing CA `certificate`, below the root of genesis, in the
    place of the one before. That one enrols nobody from now on; what it issued is believed for
    `grace_ms` more."""

    certificate: Certificate
    grace_ms: Annotated[int, Meta(ge=0, le=ISSUER_GRACE_MS_MAX)]
    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class FederationAdd(msgspec.Struct, frozen=True, array_like=True, tag="federation.add"):
    """The network's founder lets nodes of another network in, or changes on what terms.

    `document` is the encoded genesis of the other network, whose digest is its id: it names its
    root, which has signed `issuing`. `cross` is the certificate by which the own root vouches for
    that issuing CA, with the names that are permitted and the policies. `services` and
    `not_after_ms` stay within it. `locators` are where the other network was when this was agreed.
    """

    document: Annotated[bytes, Meta(min_length=1, max_length=GENESIS_BYTES_MAX)]
    issuing: Certificate
    cross: Certificate
    services: Annotated[list[PartnerService], Meta(max_length=8)]
    not_after_ms: TimeMs
    locators: Annotated[list[Locator], Meta(max_length=4)]


class FederationDrop(msgspec.Struct, frozen=True, array_like=True, tag="federation.drop"):
    """The network's founder lets nodes of another network in no more."""

    network: GenesisId
    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class BankFaucet(msgspec.Struct, frozen=True, array_like=True, tag="bank.faucet"):
    """A certified node claims its one grant of test units for its owner."""


class BankTransfer(msgspec.Struct, frozen=True, array_like=True, tag="bank.transfer"):
    """The signer's owner pays `to`."""

    to: OwnerId
    amount: PositiveAmount
    memo: Annotated[str, Meta(max_length=200)]


class StakeBond(msgspec.Struct, frozen=True, array_like=True, tag="stake.bond"):
    """Move `amount` of the signer's owner's balance into the bond of `node`."""

    node: NodeId
    amount: PositiveAmount


class StakeUnbond(msgspec.Struct, frozen=True, array_like=True, tag="stake.unbond"):
    """Ask for `amount` of the bond of `node` back after the unbonding time."""

    node: NodeId
    amount: PositiveAmount


class ConsensusAttest(msgspec.Struct, frozen=True, array_like=True, tag="consensus.attest"):
    """A node's bundle for the present epoch; signed by that node."""

    bundle: Bundle


class AssetRegister(msgspec.Struct, frozen=True, array_like=True, tag="asset.register"):
    """Register an asset that the signing node hosts.

    `asset` must be the id derived from owner, kind, `commitment` and `id_nonce`. `commitment` is
    the hash of the descriptor, salted with 16 bytes; descriptor, salt and price are given at
    FullPublic and only there (elsewhere the price stands in offers). `audience_hash` is the salted
    hash of the audience at the levels that name one, and zero at Private and FullPublic.
    """

    asset: AssetId
    kind: AssetKind
    id_nonce: Annotated[bytes, Meta(min_length=16, max_length=16)]
    level: PrivacyLevel
    commitment: Hash
    descriptor: Descriptor | None
    salt: Annotated[bytes, Meta(max_length=16)]
    price: Price | None
    concurrent_max: Annotated[int, Meta(ge=1, le=1024)]
    audience_hash: Hash = ZERO_HASH


class AssetSetState(msgspec.Struct, frozen=True, array_like=True, tag="asset.set_state"):
    """Its owner takes an asset out of service, or back; leases that run go on.

    `state` is never `allocated`: only leases make it that.
    """

    asset: AssetId
    state: AssetState


class AssetSetPrivacy(msgspec.Struct, frozen=True, array_like=True, tag="asset.set_privacy"):
    """Its owner changes who may discover and lease it, or at which price; leases that run go on.

    The audience is only committed to; the list stays on the hosting node. The fields follow the
    rules of `AssetRegister`. Offers made before lose their force.
    """

    asset: AssetId
    level: PrivacyLevel
    audience_hash: Hash
    descriptor: Descriptor | None
    salt: Annotated[bytes, Meta(max_length=16)]
    price: Price | None


class AssetSetTerms(msgspec.Struct, frozen=True, array_like=True, tag="asset.set_terms"):
    """Its owner changes who may use an asset and on what terms; leases that run go on.

    Does all that `AssetSetPrivacy` does and more, and takes its place: level, audience, descriptor,
    salt and price follow the same rules. `terms` commits to the whole `Sharing`, which stays on the
    hosting node. `concurrent_max` and `duration_ms_min` stand here at every level, because the
    ledger enforces them; `region` is given at FullPublic alone.
    """

    asset: AssetId
    level: PrivacyLevel
    audience_hash: Hash
    descriptor: Descriptor | None
    salt: Annotated[bytes, Meta(max_length=16)]
    price: Price | None
    terms: Hash
    concurrent_max: Annotated[int, Meta(ge=1, le=1024)]
    duration_ms_min: DurationMs
    region: Region


class AssetTransfer(msgspec.Struct, frozen=True, array_like=True, tag="asset.transfer"):
    """Its owner gives an asset to another owner, free. It becomes Private, to its new owner."""

    asset: AssetId
    to: OwnerId


class AssetOffer(msgspec.Struct, frozen=True, array_like=True, tag="asset.offer"):
    """Its owner offers to sell an asset, to `to` alone where given, until `expires_ms`. One offer
    at a time."""

    asset: AssetId
    price: PositiveAmount
    to: OwnerId | None
    expires_ms: TimeMs


class AssetWithdraw(msgspec.Struct, frozen=True, array_like=True, tag="asset.withdraw"):
    """Its owner takes the offer to sell an asset back."""

    asset: AssetId


class AssetAccept(msgspec.Struct, frozen=True, array_like=True, tag="asset.accept"):
    """The signer's owner buys an asset: pays the price and owns it, both or neither.

    `offer` is the id of the transaction that made the offer and `price` what it said, so that the
    buyer gets what the buyer saw. The asset becomes Private, to its new owner.
    """

    asset: AssetId
    offer: TxId
    price: PositiveAmount


class LeaseOpen(msgspec.Struct, frozen=True, array_like=True, tag="lease.open"):
    """A consumer reserves `amount` units for `duration_ms` and escrows `escrow` nCAES.

    The lease id is the transaction id. `session` may use the lease. `escrow` covers the price of
    the whole duration, rounded up, and the network's lease fee; what is above returns with the
    rest. The reservation frees itself unless the provider activates it in time.
    """

    offer: Offer
    offer_signature: QuantumSignature
    amount: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    duration_ms: Annotated[int, Meta(ge=1, le=2**53)]
    escrow: Amount
    session: SessionId


class LeaseActivate(msgspec.Struct, frozen=True, array_like=True, tag="lease.activate"):
    """The hosting node says that the leased amount is set aside and served. The lease's time
    begins with the block that holds this."""

    lease: LeaseId


class LeaseSettle(msgspec.Struct, frozen=True, array_like=True, tag="lease.settle"):
    """The consumer accepts a receipt: its transaction signature is the second signature on it.

    Pays amount x price x `held_ms` (never more than the block time since activation), refunds the
    rest, ends the lease.
    """

    receipt: Receipt
    provider_signature: QuantumSignature


class LeaseClaim(msgspec.Struct, frozen=True, array_like=True, tag="lease.claim"):
    """After the lease's end and within the claim window, the hosting node alone asks for the time
    held, at most what was reserved. A provider that is not there to ask gets nothing and the escrow
    returns."""

    receipt: Receipt
    provider_signature: QuantumSignature


LogSize: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]
"""Entries of a transparency log."""


class TransparencyBegin(msgspec.Struct, frozen=True, array_like=True, tag="transparency.begin"):
    """The node with the network's authority makes a transparency log known; the one for the same
    purpose before it ends."""

    log: PublicLog


class TransparencyAnchor(msgspec.Struct, frozen=True, array_like=True, tag="transparency.anchor"):
    """The node with the network's authority puts a log's checkpoint on the ledger: `root` is that
    of the first `size` entries of `origin`. `consistency` proves that they begin with those that
    were anchored last (RFC 9162 section 2.1.4)."""

    origin: Origin
    size: LogSize
    root: Hash
    consistency: Path


Body: TypeAlias = (
    IdentityOwn
    | IdentityEnrol
    | IdentityRevoke
    | NameSet
    | NameDrop
    | IdentityReplaceIssuer
    | FederationAdd
    | FederationDrop
    | BankFaucet
    | BankTransfer
    | StakeBond
    | StakeUnbond
    | ConsensusAttest
    | AssetRegister
    | AssetSetState
    | AssetSetPrivacy
    | AssetSetTerms
    | AssetTransfer
    | AssetOffer
    | AssetWithdraw
    | AssetAccept
    | LeaseOpen
    | LeaseActivate
    | LeaseSettle
    | LeaseClaim
    | TransparencyBegin
    | TransparencyAnchor
)


class Transaction(msgspec.Struct, frozen=True, array_like=True):
    """What a signer asks for. Its digest (domain `tx`) is the transaction id."""

    genesis: GenesisId
    signer: Hash
    nonce: Annotated[int, Meta(ge=0, le=2**53)]
    valid_from_ms: TimeMs
    valid_until_ms: TimeMs
    attestation: Annotated[bytes, Meta(max_length=32)]
    body: Body


class SignedTransaction(msgspec.Struct, frozen=True, array_like=True, tag="signed"):
    """A transaction with the signature of its signer over its id."""

    transaction: Transaction
    signature: QuantumSignature


class BlockOpening(msgspec.Struct, frozen=True, array_like=True, tag="system.block"):
    """Transaction 0 of every block: the clock, and the VDF output where one turns the epoch.

    It is not signed; the engine vouches for it (the sequencer's header, or the validators' votes)
    and the kernel checks it against the state.
    """

    time_ms: TimeMs
    vdf: VdfOutput | None


Entry: TypeAlias = BlockOpening | SignedTransaction
"""What a block holds."""


class TxResult(msgspec.Struct, frozen=True, array_like=True):
    """What became of one transaction. `code` is "ok" or the code of the refusal; `failures` names
    refused proofs. These are hashed into the block; texts for people are not."""

    tx: TxId
    code: str
    failures: list[str]


def tag_of(body: Body) -> str:
    """The type of a body, such as `asset.register`."""
    return str(type(body).__struct_config__.tag)
