"""Assets, offers, leases and receipts as they travel."""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.ids import AssetId, GenesisId, Hash, LeaseId, NodeId, OwnerId, SessionId, TxId

TimeMs: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
"""Block time in milliseconds since 1970."""

BasisPoints: TypeAlias = Annotated[int, Meta(ge=0, le=10_000)]

DurationMs: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]

Region: TypeAlias = Annotated[str, Meta(max_length=32, pattern="^[a-z0-9-]*$")]
"""Where its owner says that an asset is, for consumers who want one region; empty where the owner
says nothing. Nobody has checked it."""


class AssetKind(enum.StrEnum):
    """What an asset is."""

    CPU = "cpu"
    GPU = "gpu"
    MEMORY = "memory"
    STORAGE = "storage"
    CONTAINER = "container"
    NETWORK = "network"
    SERVICE = "service"
    PACKAGE = "package"
    TOKEN = "token"


UNIT: dict[AssetKind, str] = {
    AssetKind.CPU: "millicore",
    AssetKind.GPU: "device",
    AssetKind.MEMORY: "byte",
    AssetKind.STORAGE: "byte",
    AssetKind.CONTAINER: "container",
    AssetKind.NETWORK: "bit/s",
}
"""What one unit of `capacity` and of a lease's `amount` is."""


class PrivacyLevel(enum.StrEnum):
    """Who may discover and lease an asset; the design's table gives each level's bonus share."""

    PRIVATE = "private"
    PRIVATE_NETWORK = "private_network"
    P2P = "p2p"
    PUBLIC_NETWORK = "public_network"
    FULL_PUBLIC = "full_public"


class ConsumerIdentity(enum.StrEnum):
    """What a consumer must show of itself to lease, whatever the level."""

    VERIFIED = "verified"
    """A TrustChain certificate."""
    ANONYMOUS = "anonymous"
    """An account key is enough, made for this one use if the consumer likes."""


class AssetState(enum.StrEnum):
    """The life of an asset on the ledger (`InUse` is the hosting node's own view)."""

    AVAILABLE = "available"
    ALLOCATED = "allocated"
    SUSPENDED = "suspended"
    MAINTENANCE = "maintenance"
    FAILED = "failed"


class LeaseState(enum.StrEnum):
    """RESERVED until the provider activates it; ACTIVE while the amount is held; ENDED from its end
    until it is settled or claimed, at most for the claim window.

    The last three are final: SETTLED by the consumer with a receipt, CLAIMED by the provider alone,
    EXPIRED with a full refund (never activated, or neither settled nor claimed in time).
    """

    RESERVED = "reserved"
    ACTIVE = "active"
    ENDED = "ended"
    SETTLED = "settled"
    CLAIMED = "claimed"
    EXPIRED = "expired"


class Enforcement(enum.StrEnum):
    """Which mechanism keeps a limit; `UNENFORCED` is said aloud, never hidden."""

    CGROUP2 = "cgroup2"
    CGROUP1 = "cgroup1"
    ALLOCATION = "allocation"
    """The limit holds because the bytes are allocated up front by the serving process."""
    UNENFORCED = "unenforced"


class Descriptor(msgspec.Struct, frozen=True, array_like=True):
    """What an asset is able to do. On the chain only at FullPublic; otherwise behind its hash.

    `capacity` counts units of `UNIT[kind]`; `detail` holds sorted (name, value) pairs for people.
    """

    kind: AssetKind
    capacity: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    enforcement: Enforcement
    detail: Annotated[list[tuple[str, str]], Meta(max_length=64)]


class Audience(msgspec.Struct, frozen=True, array_like=True):
    """Who may discover and lease, beyond the level: named nodes for P2P, named networks for the
    network levels (a network is named by its genesis id)."""

    nodes: Annotated[list[NodeId], Meta(max_length=256)] = []
    networks: Annotated[list[GenesisId], Meta(max_length=64)] = []


class Price(msgspec.Struct, frozen=True, array_like=True):
    """`amount` nCAES for each `per_units` units held for `per_ms` milliseconds."""

    amount: Amount
    per_units: Annotated[int, Meta(ge=1, le=2**53)]
    per_ms: Annotated[int, Meta(ge=1, le=2**53)]

    def cost(self, units: int, held_ms: int) -> int:
        """What `units` held for `held_ms` milliseconds cost in nCAES, rounded up once.

        Not bounded: whoever takes it for an `Amount` compares it with `AMOUNT_MAX` first.
        """
        return -(-self.amount * units * held_ms // (self.per_units * self.per_ms))


class Requirement(msgspec.Struct, frozen=True, array_like=True):
    """The proofs that a consumer's node must show to lease: four in force where `attested`, and a
    bond of at least `bond_min` nCAES."""

    attested: bool = False
    bond_min: Amount = 0


class Sharing(msgspec.Struct, frozen=True, array_like=True):
    """All that the owner of an asset has set: who may use it, and on what terms.

    `share` is the part of its capacity that is lent at most. `salt` is fresh with every change, so
    that the commitments to two settings never look alike.
    """

    level: PrivacyLevel
    audience: Audience
    identity: ConsumerIdentity
    requirement: Requirement
    price: Price
    share: Annotated[int, Meta(ge=1, le=10_000)]
    concurrent_max: Annotated[int, Meta(ge=1, le=1024)]
    duration_ms_min: DurationMs
    duration_ms_max: DurationMs
    region: Region
    salt: Annotated[bytes, Meta(min_length=16, max_length=16)]


class Locator(msgspec.Struct, frozen=True, array_like=True):
    """Where a node's STOQ endpoint is: one UDP port at one or more addresses, the most widely
    reachable first; IPv4 as `::ffff:192.0.2.1`. The newest sequence wins. Signed by the node.
    `name` is what the node calls itself, for people: it identifies nothing, and holds nothing that
    a terminal would obey."""

    node: NodeId
    hosts: Annotated[
        list[Annotated[str, Meta(min_length=2, max_length=64)]], Meta(min_length=1, max_length=4)
    ]
    port: Annotated[int, Meta(ge=1, le=65535)]
    sequence: Annotated[int, Meta(ge=0, le=2**53)]
    expires_ms: TimeMs
    name: Annotated[str, Meta(max_length=64, pattern="^[A-Za-z0-9_-]*$")] = ""


class Offer(msgspec.Struct, frozen=True, array_like=True):
    """The hosting node's consent, after its access check, to lease to one consumer.

    Signed by the hosting node (domain `offer`). A lease at any privacy level carries one, so the
    ledger enforces what only the owner's node can decide. `revision` is that of the asset when the
    node decided: a later change of its privacy or price makes the offer void at once. Until it
    expires an offer may be used for more than one lease; what the host does not activate frees
    itself.
    """

    genesis: GenesisId
    asset: AssetId
    provider: NodeId
    consumer: OwnerId
    revision: Annotated[int, Meta(ge=0)]
    price: Price
    amount_max: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    duration_ms_max: Annotated[int, Meta(ge=1, le=2**53)]
    expires_ms: TimeMs


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """Metered use of one lease, signed by the provider (domain `receipt`).

    `held_ms` is how long the amount was held, never more than the lease's length; `evidence` is a
    digest over what the meter read (bytes moved, CPU time, result of a job).
    """

    genesis: GenesisId
    lease: LeaseId
    epoch: Annotated[int, Meta(ge=0)]
    held_ms: Annotated[int, Meta(ge=0, le=2**53)]
    cpu_us: Annotated[int, Meta(ge=0, le=2**53)]
    bytes_read: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    bytes_written: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    evidence: Hash


class Asset(msgspec.Struct, frozen=True, array_like=True):
    """An asset as the ledger holds it. Its key is its id.

    Below FullPublic `descriptor` and `price` are absent and `salt` is empty; the hosting node shows
    them to those it lets in. `slot` is the asset's number on its host (the last 16 bits of its
    lossy IPv6 form), `revision` counts changes of level, audience and price, `epoch` counts
    the leases it ever had: a lease's epoch fences all earlier ones. `leases` reservations and
    running leases hold `committed` units of it.
    """

    owner: OwnerId
    host: NodeId
    kind: AssetKind
    level: PrivacyLevel
    state: AssetState
    commitment: Hash
    audience_hash: Hash
    descriptor: Descriptor | None
    salt: Annotated[bytes, Meta(max_length=16)]
    price: Price | None
    concurrent_max: Annotated[int, Meta(ge=1, le=1024)]
    slot: Annotated[int, Meta(ge=1, le=65535)]
    revision: Annotated[int, Meta(ge=0)]
    epoch: Annotated[int, Meta(ge=0)]
    leases: Annotated[int, Meta(ge=0, le=1024)]
    committed: Annotated[int, Meta(ge=0)]
    registered_ms: TimeMs


class AssetTerms(msgspec.Struct, frozen=True, array_like=True):
    """What the ledger holds of an asset's terms besides its row. Its key is the asset's id.

    `commitment` is the digest (name `terms`) of the whole `Sharing`, its salt in it. `region` is
    empty below FullPublic. An asset whose terms were never set has no such row.
    """

    commitment: Hash
    duration_ms_min: DurationMs
    region: Region


class TitleOffer(msgspec.Struct, frozen=True, array_like=True):
    """An open offer to sell an asset, one at most for each. Its key is the asset's id.

    `offer` is the id of the transaction that made it; `buyer` is absent where anybody may accept.
    From `expires_ms` on, block time, it is void.
    """

    offer: TxId
    seller: OwnerId
    price: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    buyer: OwnerId | None
    expires_ms: TimeMs


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """A lease as the ledger holds it. Its key is its id, that of the transaction that opened it.

    `payee` is the asset's owner. `deadline_ms` is the block time at which the ledger itself acts
    next, if nobody does before: RESERVED expires, ACTIVE ends, ENDED expires; for a final state it
    is when the row is dropped. `starts_ms` and `ends_ms` are 0 until activation; `paid`, `fee`
    and `refund` are 0 until the lease is final, when together they make `escrow`.
    """

    asset: AssetId
    host: NodeId
    payee: OwnerId
    consumer: OwnerId
    session: SessionId
    level: PrivacyLevel
    price: Price
    amount: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    duration_ms: Annotated[int, Meta(ge=1, le=2**53)]
    escrow: Amount
    epoch: Annotated[int, Meta(ge=1)]
    state: LeaseState
    opened_ms: TimeMs
    starts_ms: Annotated[int, Meta(ge=0)]
    ends_ms: Annotated[int, Meta(ge=0)]
    deadline_ms: Annotated[int, Meta(ge=0)]
    paid: Amount = 0
    fee: Amount = 0
    refund: Amount = 0


class Capability(msgspec.Struct, frozen=True, array_like=True):
    """What the bearer of a session's keys may do at the provider, until when, in which epoch."""

    lease: LeaseId
    asset: AssetId
    session: SessionId
    epoch: Annotated[int, Meta(ge=0)]
    expires_ms: TimeMs
