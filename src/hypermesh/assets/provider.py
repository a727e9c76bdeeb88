"""The hosting node's own decisions: what to register, what to show to whom, whether to offer. Pure.

Everything here is computed from the ledger's row of the asset, the node's record of it, and what
the transport has proven of the caller. The node signs an offer that this returns; it signs nothing
else.
"""

from __future__ import annotations

import msgspec

from hypermesh.assets import address, privacy
from hypermesh.assets.hosting import Hosted
from hypermesh.assets.privacy import Caller, Terms
from hypermesh.wire.asset import (
    Asset,
    AssetState,
    AssetTerms,
    Audience,
    ConsumerIdentity,
    Descriptor,
    Offer,
    Price,
    PrivacyLevel,
    Requirement,
    Sharing,
    TitleOffer,
)
from hypermesh.wire.errors import Conflict
from hypermesh.wire.ids import AssetId, GenesisId, OwnerId
from hypermesh.wire.rpc import AssetView
from hypermesh.wire.tx import AssetRegister, AssetSetTerms

OFFER_MS = 60_000
"""How long an offer holds, in block time."""


class RecordStale(Conflict):
    """The owner has committed to terms that this node does not know."""

    code = "HM-ASSET-0007"
    title = "The hosting node does not know the asset's present terms"
    remedy = "Let the owner set the terms again: `hm asset share ID --level LEVEL`"


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
    identity: ConsumerIdentity = ConsumerIdentity.ANONYMOUS,
    region: str = "",
) -> Hosted:
    """The record of a new asset, lent as a whole. `randomness` is 48 fresh random bytes: nonce and
    salts."""
    if len(randomness) != 3 * address.SALT_BYTES:
        raise ValueError("an asset needs 48 random bytes")
    nonce, salt, terms_salt = (randomness[at : at + 16] for at in (0, 16, 32))
    committed = address.commitment(salt, descriptor)
    return Hosted(
        asset=address.asset_id(owner, descriptor.kind, committed, nonce),
        owner=owner,
        id_nonce=nonce,
        descriptor=descriptor,
        salt=salt,
        sharing=Sharing(
            level=level,
            audience=audience,
            identity=identity,
            requirement=Requirement(),
            price=price,
            share=10_000,
            concurrent_max=concurrent_max,
            duration_ms_min=1,
            duration_ms_max=duration_ms_max,
            region=region,
            salt=terms_salt,
        ),
    )


def registration(record: Hosted) -> AssetRegister:
    """The transaction body that registers the asset: at its level, disclosing what that wants."""
    sharing = record.sharing
    public = sharing.level is PrivacyLevel.FULL_PUBLIC
    return AssetRegister(
        asset=record.asset,
        kind=record.descriptor.kind,
        id_nonce=record.id_nonce,
        level=sharing.level,
        commitment=address.commitment(record.salt, record.descriptor),
        descriptor=record.descriptor if public else None,
        salt=record.salt if public else b"",
        price=sharing.price if public else None,
        concurrent_max=sharing.concurrent_max,
        audience_hash=_audience_hash(sharing),
    )


def terms_change(
    asset: AssetId, sharing: Sharing, descriptor: Descriptor, salt: bytes
) -> AssetSetTerms:
    """The transaction body that brings the ledger to `sharing`. `descriptor` and its `salt` are
    disclosed at FullPublic alone."""
    public = sharing.level is PrivacyLevel.FULL_PUBLIC
    return AssetSetTerms(
        asset=asset,
        level=sharing.level,
        audience_hash=_audience_hash(sharing),
        descriptor=descriptor if public else None,
        salt=salt if public else b"",
        price=sharing.price if public else None,
        terms=address.terms_commitment(sharing),
        concurrent_max=sharing.concurrent_max,
        duration_ms_min=sharing.duration_ms_min,
        region=sharing.region if public else "",
    )


def proposed(record: Hosted, sharing: Sharing) -> Hosted:
    """The record of an asset whose owner is about to put `sharing` on the ledger. Raises
    `InvalidInput` where that contradicts itself."""
    privacy.check(sharing)
    return msgspec.structs.replace(record, pending=sharing)


def settled(record: Hosted, asset: Asset, committed: AssetTerms | None) -> Hosted:
    """The record as the ledger has it: pending terms hold once it commits to them, and what a
    former owner set of whom to let in ends with a change of owner."""
    if record.owner != asset.owner:
        return msgspec.structs.replace(
            record, owner=asset.owner, sharing=_passed_on(record.sharing), pending=None
        )
    pending = record.pending
    if (
        pending is not None
        and committed is not None
        and address.terms_commitment(pending) == committed.commitment
    ):
        return msgspec.structs.replace(record, sharing=pending, pending=None)
    return record


def terms(
    asset: Asset,
    record: Hosted,
    trusted: frozenset[GenesisId],
    *,
    committed: AssetTerms | None = None,
    title: TitleOffer | None = None,
) -> Terms:
    """What the owner has set, by the ledger's owner and level and the record's terms. `trusted` are
    the networks whose roots this node trusts, `committed` and `title` what the ledger holds of the
    asset besides.

    Raises `RecordStale` where the terms on record are not those that the ledger commits to: better
    closed than open to the wrong people.
    """
    record = settled(record, asset, committed)
    sharing = record.sharing
    known = address.audience_hash(asset.level, sharing.salt, sharing.audience)
    if known != asset.audience_hash:
        raise RecordStale(why="the ledger commits to another audience than the one on record here")
    if committed is not None and address.terms_commitment(sharing) != committed.commitment:
        raise RecordStale(why="the ledger commits to other terms than those on record here")
    return terms_of(asset.owner, asset.level, sharing, trusted, title)


def terms_of(
    owner: OwnerId,
    level: PrivacyLevel,
    sharing: Sharing,
    trusted: frozenset[GenesisId],
    title: TitleOffer | None = None,
) -> Terms:
    """What `sharing` means for those who ask, at a level."""
    buyer = None if title is None else title.buyer
    return Terms(
        owner, level, sharing.audience, sharing.identity, trusted, sharing.requirement, buyer
    )


def lendable(capacity: int, share: int, free: int) -> int:
    """Units of `capacity` that may be lent now where `free` are not set aside and `share`
    ten-thousandths of all may be lent at once."""
    return max(0, min(free, capacity * share // 10_000 - (capacity - free)))


def view(
    asset_id: AssetId,
    asset: Asset,
    record: Hosted,
    caller: Caller,
    trusted: frozenset[GenesisId],
    *,
    free: int,
    in_use: bool,
    committed: AssetTerms | None = None,
    title: TitleOffer | None = None,
) -> AssetView:
    """The asset as `caller` may see it; `free` units are not set aside. Raises `AccessRefused` or
    `RecordStale`."""
    found = terms(asset, record, trusted, committed=committed, title=title)
    privacy.may_discover(found, caller).require()
    sharing = settled(record, asset, committed).sharing
    return AssetView(
        asset=asset_id,
        owner=asset.owner,
        host=asset.host,
        kind=asset.kind,
        level=asset.level,
        state=asset.state,
        descriptor=record.descriptor,
        in_use=in_use,
        free=lendable(record.descriptor.capacity, sharing.share, free),
        share=sharing.share,
        region=sharing.region,
        salt=record.salt,
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
    committed: AssetTerms | None = None,
) -> Offer:
    """The consent to lease, for `caller`'s owner and at most what may be lent of the `free` units;
    to be signed.

    Raises `AccessRefused`, `RecordStale`, or `NotOffered` where the asset is out of service or
    nothing of it is free. `now_ms` is block time.
    """
    privacy.may_lease(terms(asset, record, trusted, committed=committed), caller).require()
    if caller.owner is None:
        raise privacy.AccessRefused(why="a lease needs an account that pays")
    if asset.state is not AssetState.AVAILABLE:
        raise NotOffered(why=f"its state is {asset.state}")
    sharing = settled(record, asset, committed).sharing
    lent = lendable(record.descriptor.capacity, sharing.share, free)
    if lent < 1:
        raise NotOffered(why="nothing of it is free", fix="Wait for a lease to end")
    return Offer(
        genesis=genesis,
        asset=asset_id,
        provider=asset.host,
        consumer=caller.owner,
        revision=asset.revision,
        price=sharing.price if asset.price is None else asset.price,
        amount_max=lent,
        duration_ms_max=sharing.duration_ms_max,
        expires_ms=now_ms + OFFER_MS,
    )


def _audience_hash(sharing: Sharing) -> bytes:
    return address.audience_hash(sharing.level, sharing.salt, sharing.audience)


def _passed_on(sharing: Sharing) -> Sharing:
    """The terms of an asset in new hands: it lets in its owner alone, and asks of whom it will let
    in what is asked by default. What concerns the machine more than the owner stays."""
    return msgspec.structs.replace(
        sharing,
        level=PrivacyLevel.PRIVATE,
        audience=privacy.NOBODY,
        identity=ConsumerIdentity.VERIFIED,
        requirement=Requirement(),
        duration_ms_min=1,
    )
