"""Values that several tests of the assets need."""

from __future__ import annotations

import msgspec

from hypermesh.assets import address
from hypermesh.assets.hosting import Hosted
from hypermesh.wire.asset import (
    AssetKind,
    Descriptor,
    Enforcement,
    Lease,
    LeaseState,
    Price,
    PrivacyLevel,
)
from hypermesh.wire.tx import AssetSetPrivacy

PRICE = Price(amount=3, per_units=1024, per_ms=1000)


def memory(capacity: int = 1 << 20) -> Descriptor:
    return Descriptor(AssetKind.MEMORY, capacity, Enforcement.ALLOCATION, [("share", "3333")])


def cpu(millicores: int = 1000) -> Descriptor:
    return Descriptor(AssetKind.CPU, millicores, Enforcement.CGROUP1, [("model", "test")])


def reserved(amount: int, *, epoch: int = 1, duration_ms: int = 10_000) -> Lease:
    """A lease as it stands on the ledger after `lease.open`."""
    return Lease(
        asset=b"a" * 16,
        host=b"h" * 32,
        payee=b"p" * 32,
        consumer=b"c" * 32,
        session=b"s" * 32,
        level=PrivacyLevel.P2P,
        price=PRICE,
        amount=amount,
        duration_ms=duration_ms,
        escrow=1_000_000,
        epoch=epoch,
        state=LeaseState.RESERVED,
        opened_ms=1_000,
        starts_ms=0,
        ends_ms=0,
        deadline_ms=6_000,
    )


def shared(record: Hosted, **terms: object) -> Hosted:
    """`record` on other terms."""
    sharing = msgspec.structs.replace(record.sharing, **terms)
    return msgspec.structs.replace(record, sharing=sharing)


def privacy_change(record: Hosted) -> AssetSetPrivacy:
    """The body with which a node of the first version brought the ledger to a record's level."""
    sharing = record.sharing
    public = sharing.level is PrivacyLevel.FULL_PUBLIC
    return AssetSetPrivacy(
        asset=record.asset,
        level=sharing.level,
        audience_hash=address.audience_hash(sharing.level, sharing.salt, sharing.audience),
        descriptor=record.descriptor if public else None,
        salt=record.salt if public else b"",
        price=sharing.price if public else None,
    )
