"""Assets, offers, leases and receipts as they travel."""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.ids import AssetId, GenesisId, Hash, LeaseId, NodeId, OwnerId, SessionId

TimeMs: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
"""Block time in milliseconds since 1970."""

BasisPoints: TypeAlias = Annotated[int, Meta(ge=0, le=10_000)]


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


class AssetState(enum.StrEnum):
    """The life of an asset on the ledger (`InUse` is the hosting node's own view)."""

    AVAILABLE = "available"
    ALLOCATED = "allocated"
    SUSPENDED = "suspended"
    MAINTENANCE = "maintenance"
    FAILED = "failed"


class LeaseState(enum.StrEnum):
    """RESERVED until the provider activates it; ACTIVE until settled, claimed or expired."""

    RESERVED = "reserved"
    ACTIVE = "active"
    SETTLED = "settled"
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


class Locator(msgspec.Struct, frozen=True, array_like=True):
    """Where a node's STOQ endpoint is; the newest sequence wins. Signed by the node."""

    node: NodeId
    host: Annotated[str, Meta(max_length=64)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    sequence: Annotated[int, Meta(ge=0, le=2**53)]
    expires_ms: TimeMs


class Offer(msgspec.Struct, frozen=True, array_like=True):
    """The hosting node's consent, after its access check, to lease to one consumer.

    Signed by the hosting node (domain `offer`). A lease at any privacy level carries one, so the
    ledger enforces what only the owner's node can decide.
    """

    genesis: GenesisId
    asset: AssetId
    provider: NodeId
    consumer: OwnerId
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


class Capability(msgspec.Struct, frozen=True, array_like=True):
    """What the bearer of a session's keys may do at the provider, until when, in which epoch."""

    lease: LeaseId
    asset: AssetId
    session: SessionId
    epoch: Annotated[int, Meta(ge=0)]
    expires_ms: TimeMs
