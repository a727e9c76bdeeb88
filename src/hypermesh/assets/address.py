"""What names an asset: the digests it is known by, and the addresses of its services.

An asset's id comes from its owner, kind, descriptor (through its commitment) and a nonce, not from
its host: it stays when the asset moves, while its address follows.
"""

from __future__ import annotations

import ipaddress

from hypermesh.crypto.digest import digest_of
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.asset import AssetKind, Audience, Descriptor, PrivacyLevel, Sharing
from hypermesh.wire.ids import (
    ZERO_HASH,
    AssetId,
    GenesisId,
    Hash,
    NodeId,
    OwnerId,
    asset_id_from,
)
from hypermesh.wire.rpc import SERVICE_CONTROL, SERVICE_JOB, SERVICE_MEMORY

SALT_BYTES = 16
"""Length of the salt of a commitment, so that no dictionary of likely descriptors opens it."""

SERVICES: dict[AssetKind, tuple[int, ...]] = {
    AssetKind.CPU: (SERVICE_CONTROL, SERVICE_JOB),
    AssetKind.MEMORY: (SERVICE_CONTROL, SERVICE_MEMORY),
}
"""The STOQ services of a kind; kinds that cannot be leased yet have the control service alone."""

NAMED_AUDIENCE = frozenset(
    {PrivacyLevel.PRIVATE_NETWORK, PrivacyLevel.P2P, PrivacyLevel.PUBLIC_NETWORK}
)
"""The levels that name nodes or networks, and so commit to an audience."""


def commitment(salt: bytes, descriptor: Descriptor) -> Hash:
    """What the chain knows of a descriptor below FullPublic."""
    return digest_of("descriptor", (salt, descriptor))


def audience_hash(level: PrivacyLevel, salt: bytes, audience: Audience) -> Hash:
    """What the chain knows of an audience; zero at the levels that name none."""
    return digest_of("audience", (salt, audience)) if level in NAMED_AUDIENCE else ZERO_HASH


def terms_commitment(sharing: Sharing) -> Hash:
    """What the chain knows of all that an owner has set; its salt is in it."""
    return digest_of("terms", sharing)


def asset_id(owner: OwnerId, kind: AssetKind, committed: Hash, nonce: bytes) -> AssetId:
    """The id of an asset, a UUIDv8 (RFC 9562 section 5.8)."""
    return asset_id_from(digest_of("asset", (owner, kind, committed, nonce)))


def address(genesis: GenesisId, host: NodeId, asset: AssetId, kind: AssetKind) -> GlobalAddress:
    """The address of the service that gives an asset its use: memory, jobs, or control where the
    kind has no service of its own."""
    return addresses(genesis, host, asset, kind)[-1]


def addresses(
    genesis: GenesisId, host: NodeId, asset: AssetId, kind: AssetKind
) -> tuple[GlobalAddress, ...]:
    """The addresses of all services of an asset, by ascending port."""
    ports = SERVICES.get(kind, (SERVICE_CONTROL,))
    return tuple(GlobalAddress.of(genesis, host, asset, port) for port in ports)


def ipv6_view(genesis: GenesisId, host: NodeId, asset: AssetId, slot: int) -> ipaddress.IPv6Address:
    """The lossy IPv6 form of an asset's address; `registry.resolve` leads back."""
    return GlobalAddress.of(genesis, host, asset, SERVICE_CONTROL).ipv6_view(slot)
