"""The hosting node's own decisions: what to register, what to show to whom, whether to offer. Pure.

Everything here is computed from the ledger's row of the asset, the node's record of it, and what
the transport has proven of the caller. The node signs an offer that this returns; it signs nothing
else.
"""

from __future__ import annotations

import msgspec

from hypermesh.assets import address, privacy
from hypermesh.assets.hosting import Hosted
from hypermesh.assets.privacy import Caller, Identity, Terms
from hypermesh.wire.asset import (
    Asset,
    AssetState,
    Audience,
    Descriptor,
    Offer,
    Price,
    PrivacyLevel,
)
from hypermesh.wire.errors import Conflict
from hypermesh.wire.ids import AssetId, GenesisId, OwnerId
from hypermesh.wire.rpc import AssetView
from hypermesh.wire.tx import AssetRegister, AssetSetPrivacy

OFFER_MS = 60_000
"""How long an offer holds, in block time."""


class RecordStale(Conflict):
    """The owner has committed to an audience that this node does not know."""

    code = "HM-ASSET-0007"
    title = "This node does not know the asset's present audience"
    remedy = "Set the privacy level again at the hosting node"


class NotOffered(Conflict):
    """The caller might lease the asset, but not now."""

    code = "HM-ASSET-0008"
    title = "The asset cannot be leased now"


def hosted(
    owner: OwnerId,
    descriptor: Descriptor,
    price: Price,
    *,
    level: PrivacyLevel,
    concurrent_max: int,
    duration_ms_max: int,
    randomness: bytes,
    audience: Audience = privacy.NOBODY,
    identity: Identity = Identity.ANONYMOUS,
) -> Hosted:
    """The record of a new asset. `randomness` is 48 fresh random bytes: nonce and salts."""
    if len(randomness) != 3 * address.SALT_BYTES:
        raise ValueError("an asset needs 48 random bytes")
    nonce, salt, audience_salt = (randomness[at : at + 16] for at in (0, 16, 32))
    committed = address.commitment(salt, descriptor)
    return Hosted(
        asset=address.asset_id(owner, descriptor.kind, committed, nonce),
        owner=owner,
        id_nonce=nonce,
        descriptor=descriptor,
        salt=salt,
        level=level,
        audience=audience,
        audience_salt=audience_salt,
        identity=identity,
        price=price,
        concurrent_max=concurrent_max,
        duration_ms_max=duration_ms_max,
    )


def registration(record: Hosted) -> AssetRegister:
    """The transaction body that registers the asset: at its level, disclosing what that wants."""
    public = record.level is PrivacyLevel.FULL_PUBLIC
    return AssetRegister(
        asset=record.asset,
        kind=record.descriptor.kind,
        id_nonce=record.id_nonce,
        level=record.level,
        commitment=address.commitment(record.salt, record.descriptor),
        descriptor=record.descriptor if public else None,
        salt=record.salt if public else b"",
        price=record.price if public else None,
        concurrent_max=record.concurrent_max,
        audience_hash=address.audience_hash(record.level, record.audience_salt, record.audience),
    )


def reshared(
    record: Hosted,
    *,
    level: PrivacyLevel,
    audience: Audience,
    price: Price,
    identity: Identity,
    audience_salt: bytes,
) -> Hosted:
    """The record after its owner changed who may lease it and on what terms. `audience_salt` is 16
    fresh random bytes, so that two commitments to one audience do not look alike."""
    return msgspec.structs.replace(
        record,
        level=level,
        audience=audience,
        price=price,
        identity=identity,
        audience_salt=audience_salt,
    )


def privacy_change(record: Hosted) -> AssetSetPrivacy:
    """The transaction body that brings the ledger to the record's level, audience and price."""
    public = record.level is PrivacyLevel.FULL_PUBLIC
    return AssetSetPrivacy(
        asset=record.asset,
        level=record.level,
        audience_hash=address.audience_hash(record.level, record.audience_salt, record.audience),
        descriptor=record.descriptor if public else None,
        salt=record.salt if public else b"",
        price=record.price if public else None,
    )


def terms(asset: Asset, record: Hosted, trusted: frozenset[GenesisId]) -> Terms:
    """What the owner has set, by the ledger's level and the record's lists. `trusted` are the
    networks whose roots this node trusts.

    Raises `RecordStale` where the audience on record is not the one the ledger commits to: better
    closed than open to the wrong people.
    """
    known = address.audience_hash(asset.level, record.audience_salt, record.audience)
    if known != asset.audience_hash:
        raise RecordStale(why="the ledger commits to another audience than the one on record here")
    return Terms(asset.owner, asset.level, record.audience, record.identity, trusted)


def view(
    asset_id: AssetId,
    asset: Asset,
    record: Hosted,
    caller: Caller,
    trusted: frozenset[GenesisId],
    *,
    free: int,
    in_use: bool,
) -> AssetView:
    """The asset as `caller` may see it. Raises `AccessRefused` or `RecordStale`."""
    privacy.may_discover(terms(asset, record, trusted), caller).require()
    return AssetView(
        asset=asset_id,
        owner=asset.owner,
        host=asset.host,
        kind=asset.kind,
        level=asset.level,
        state=asset.state,
        descriptor=record.descriptor,
        in_use=in_use,
        free=free,
    )


def offer(
    genesis: GenesisId,
    asset_id: AssetId,
    asset: Asset,
    record: Hosted,
    caller: Caller,
    trusted: frozenset[GenesisId],
    *,
    free: int,
    now_ms: int,
) -> Offer:
    """The consent to lease, for `caller`'s owner and at most what is free; to be signed.

    Raises `AccessRefused`, `RecordStale`, or `NotOffered` where the asset is out of service or
    nothing of it is free. `now_ms` is block time.
    """
    privacy.may_lease(terms(asset, record, trusted), caller).require()
    if caller.owner is None:
        raise privacy.AccessRefused(why="a lease needs an account that pays")
    if asset.state is not AssetState.AVAILABLE:
        raise NotOffered(why=f"its state is {asset.state}")
    if free < 1:
        raise NotOffered(why="nothing of it is free", fix="Wait for a lease to end")
    return Offer(
        genesis=genesis,
        asset=asset_id,
        provider=asset.host,
        consumer=caller.owner,
        revision=asset.revision,
        price=record.price if asset.price is None else asset.price,
        amount_max=free,
        duration_ms_max=record.duration_ms_max,
        expires_ms=now_ms + OFFER_MS,
    )
