"""The registry: which assets there are, whose they are, which node hosts them, in which state.

An asset is registered by the node that hosts it, for the owner whom that node's certificate names.
Below FullPublic the chain holds commitments only. Every `asset.*` needs the present attestation of
the **host**, whoever of the owner's signers sends it: while the host has lapsed, or once it is
revoked, its assets can neither be changed nor leased, and what the registry says of them stays.

States (`TRANSITIONS` is the rule, this picture the reading):

    Available <-> Allocated          by leases: full, no longer full
    Available, Allocated -> Suspended, Maintenance, Failed
    Suspended <-> Maintenance        by the owner
    Suspended, Maintenance -> Available, Failed
    Failed -> Maintenance            what failed is looked at before it serves again

Allocated means that leases fill the asset: as many as it allows at once, or its whole capacity
where the chain knows that. An asset taken out of service keeps its leases until they end; when it
returns while they still fill it, it returns as Allocated.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator

import msgspec

from hypermesh.assets import address
from hypermesh.consensus.attestation import require_attested
from hypermesh.ledger import identity
from hypermesh.ledger.module import Call, Context, Event, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.wire.address import network_prefix
from hypermesh.wire.asset import (
    Asset,
    AssetKind,
    AssetState,
    AssetTerms,
    Descriptor,
    Price,
    PrivacyLevel,
)
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import ZERO_HASH, AssetId, GenesisId, Hash, NodeId, OwnerId
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.rpc import AssetView
from hypermesh.wire.tx import (
    AssetRegister,
    AssetSetPrivacy,
    AssetSetState,
    AssetSetTerms,
    BlockOpening,
)

ASSETS_PER_OWNER_MAX = 65_536
ASSETS_PER_HOST_MAX = 65_535
"""Slots 1 to 65,535 of the IPv6 view; a slot is never given twice, so the view never lies."""

UNITS_MAX = 2**63 - 1

ASSETS: Table[Asset] = Table("asset/row/", Asset)
"""Asset id -> asset."""

TERMS: Table[AssetTerms] = Table("asset/terms/", AssetTerms)
"""Asset id -> what its owner has set besides; no row before `asset.set_terms`."""

_SLOTS: Table[bytes] = Table("asset/slot/", bytes)
"""First 6 bytes of the host, slot (u16), the rest of the host -> asset id."""

_HOSTS: Table[int] = Table("asset/host/", int)
"""Host -> the last slot given."""

_OWNERS: Table[int] = Table("asset/owner/", int)
"""Owner -> how many assets."""


class UnknownAsset(Refusal):
    """No asset has this id."""

    code = "HM-TX-ASSET-0001"
    status = 404
    exit_code = 5
    title = "There is no such asset on this network"


class AssetExists(Refusal):
    """An asset of this id is registered; another nonce gives another id."""

    code = "HM-TX-ASSET-0002"
    title = "This asset is registered already"


class AssetIdMismatch(Refusal):
    """The id is not the one that owner, kind, commitment and nonce give."""

    code = "HM-TX-ASSET-0003"
    title = "The asset id does not follow from what is registered"


class DisclosureMismatch(Refusal):
    """Descriptor, salt, price and audience do not fit the privacy level or the commitment."""

    code = "HM-TX-ASSET-0004"
    title = "What is disclosed does not fit the privacy level"


class NotTheOwner(Refusal):
    """Only the owner of an asset changes it."""

    code = "HM-TX-ASSET-0005"
    status = 403
    exit_code = 4
    title = "The asset belongs to someone else"
    remedy = "Act as its owner, whom `hm asset show` names"


class NotAHost(Refusal):
    """An asset is registered by the node that hosts it."""

    code = "HM-TX-ASSET-0006"
    status = 403
    exit_code = 4
    title = "Only a node registers an asset, one that it hosts itself"


class TransitionRefused(Refusal):
    """The states of an asset follow a table, and this step is not in it."""

    code = "HM-TX-ASSET-0007"
    title = "The asset cannot go from its state to that one"


class TooManyAssets(Refusal):
    """The owner or the host has as many assets as one may have."""

    code = "HM-TX-ASSET-0008"
    exit_code = 8
    title = "No more assets can be registered here"


class HostGone(Refusal):
    """The hosting node is unknown or revoked; its assets and receipts have no force."""

    code = "HM-TX-ASSET-0009"
    title = "The node that hosts this asset has been revoked"


class ShownFalsely(HyperMeshError):
    """The hosting node says of an asset what the ledger refutes."""

    code = "HM-ASSET-0011"
    status = 502
    exit_code = 9
    title = "The hosting node shows an asset that is not there"
    remedy = "Lease and buy elsewhere; this node cannot be believed"


class Cause(enum.Enum):
    """What moves an asset from one state to another."""

    OWNER = "owner"
    LEASES = "leases"


TRANSITIONS: dict[tuple[AssetState, AssetState], Cause] = {
    (AssetState.AVAILABLE, AssetState.ALLOCATED): Cause.LEASES,
    (AssetState.ALLOCATED, AssetState.AVAILABLE): Cause.LEASES,
    (AssetState.AVAILABLE, AssetState.SUSPENDED): Cause.OWNER,
    (AssetState.AVAILABLE, AssetState.MAINTENANCE): Cause.OWNER,
    (AssetState.AVAILABLE, AssetState.FAILED): Cause.OWNER,
    (AssetState.ALLOCATED, AssetState.SUSPENDED): Cause.OWNER,
    (AssetState.ALLOCATED, AssetState.MAINTENANCE): Cause.OWNER,
    (AssetState.ALLOCATED, AssetState.FAILED): Cause.OWNER,
    (AssetState.SUSPENDED, AssetState.AVAILABLE): Cause.OWNER,
    (AssetState.SUSPENDED, AssetState.MAINTENANCE): Cause.OWNER,
    (AssetState.SUSPENDED, AssetState.FAILED): Cause.OWNER,
    (AssetState.MAINTENANCE, AssetState.AVAILABLE): Cause.OWNER,
    (AssetState.MAINTENANCE, AssetState.SUSPENDED): Cause.OWNER,
    (AssetState.MAINTENANCE, AssetState.FAILED): Cause.OWNER,
    (AssetState.FAILED, AssetState.MAINTENANCE): Cause.OWNER,
}
"""Every step an asset may take, and who takes it."""


def steps(state: AssetState) -> list[AssetState]:
    """The states to which its owner may bring an asset that is in `state`."""
    return [
        after
        for (before, after), cause in TRANSITIONS.items()
        if before is state and cause is Cause.OWNER
    ]


class Registry:
    """The ledger module of `asset.*`."""

    name = "assets"
    bodies: tuple[type, ...] = (AssetRegister, AssetSetState, AssetSetPrivacy, AssetSetTerms)

    def begin(self, context: Context) -> None:
        """A network begins without assets."""

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """Nothing happens to an asset by itself."""

    def execute(self, context: Context, call: Call) -> None:
        match call.body:
            case AssetRegister() as body:
                self._register(context, call, body)
            case AssetSetState() as body:
                self._set_state(context, call, body)
            case AssetSetPrivacy() as body:
                self._set_privacy(context, call, body)
            case AssetSetTerms() as body:
                self._set_terms(context, call, body)

    def close_block(self, context: Context) -> None:
        """Nothing falls due."""

    def next_deadline(self, state: State) -> int | None:
        """None: nothing falls due."""

    def check(self, context: Context) -> None:
        """The rows of an asset are written together; the lease table checks what it adds."""

    def _register(self, context: Context, call: Call, body: AssetRegister) -> None:
        state, host = context.state, call.transaction.signer
        if not call.signer_is_node:
            raise NotAHost(why="an owner's account signed, which hosts nothing")
        require_attested(context, call.transaction.attestation, host)
        expected = address.asset_id(call.owner, body.kind, body.commitment, body.id_nonce)
        if body.asset != expected:
            raise AssetIdMismatch(why=f"they give {expected.hex()}, not {body.asset.hex()}")
        if ASSETS.get(state, body.asset) is not None:
            raise AssetExists
        _check_disclosure(
            body.kind, body.level, body.commitment, body.descriptor, body.salt, body.price
        )
        _check_audience(body.level, body.audience_hash)
        owned, slot = _OWNERS.get(state, call.owner) or 0, (_HOSTS.get(state, host) or 0) + 1
        if owned >= ASSETS_PER_OWNER_MAX:
            raise TooManyAssets(why=f"one owner may have {ASSETS_PER_OWNER_MAX}")
        if slot > ASSETS_PER_HOST_MAX:
            raise TooManyAssets(why=f"one node may ever register {ASSETS_PER_HOST_MAX}")
        asset = Asset(
            owner=call.owner,
            host=host,
            kind=body.kind,
            level=body.level,
            state=AssetState.AVAILABLE,
            commitment=body.commitment,
            audience_hash=body.audience_hash,
            descriptor=body.descriptor,
            salt=body.salt,
            price=body.price,
            concurrent_max=body.concurrent_max,
            slot=slot,
            revision=0,
            epoch=0,
            leases=0,
            committed=0,
            registered_ms=context.time_ms,
        )
        ASSETS.put(state, body.asset, asset)
        _SLOTS.put(state, host[:6] + slot.to_bytes(2, "big") + host[6:], body.asset)
        _HOSTS.put(state, host, slot)
        _OWNERS.put(state, call.owner, owned + 1)
        context.events.append(Event("asset.registered", body.asset, encode(asset)))

    def _set_state(self, context: Context, call: Call, body: AssetSetState) -> None:
        asset = changeable(context, call, body.asset)
        if TRANSITIONS.get((asset.state, body.state)) is not Cause.OWNER:
            raise TransitionRefused(
                f"An asset cannot go from {asset.state} to {body.state} at its owner's word"
            )
        changed = _filled(msgspec.structs.replace(asset, state=body.state))
        ASSETS.put(context.state, body.asset, changed)
        context.events.append(Event("asset.state", body.asset, encode(changed)))

    def _set_privacy(self, context: Context, call: Call, body: AssetSetPrivacy) -> None:
        asset = changeable(context, call, body.asset)
        _check_disclosure(
            asset.kind, body.level, asset.commitment, body.descriptor, body.salt, body.price
        )
        _check_audience(body.level, body.audience_hash)
        changed = _filled(
            msgspec.structs.replace(
                asset,
                level=body.level,
                audience_hash=body.audience_hash,
                descriptor=body.descriptor,
                salt=body.salt,
                price=body.price,
                revision=asset.revision + 1,
            )
        )
        ASSETS.put(context.state, body.asset, changed)
        if TERMS.get(context.state, body.asset) is not None:
            TERMS.delete(context.state, body.asset)
        context.events.append(Event("asset.privacy", body.asset, encode(changed)))

    def _set_terms(self, context: Context, call: Call, body: AssetSetTerms) -> None:
        asset = changeable(context, call, body.asset)
        _check_disclosure(
            asset.kind, body.level, asset.commitment, body.descriptor, body.salt, body.price
        )
        _check_audience(body.level, body.audience_hash)
        if body.region and body.level is not PrivacyLevel.FULL_PUBLIC:
            raise DisclosureMismatch(why="below FullPublic the chain holds no region")
        changed = _filled(
            msgspec.structs.replace(
                asset,
                level=body.level,
                audience_hash=body.audience_hash,
                descriptor=body.descriptor,
                salt=body.salt,
                price=body.price,
                concurrent_max=body.concurrent_max,
                revision=asset.revision + 1,
            )
        )
        ASSETS.put(context.state, body.asset, changed)
        TERMS.put(
            context.state, body.asset, AssetTerms(body.terms, body.duration_ms_min, body.region)
        )
        context.events.append(Event("asset.terms", body.asset, encode(changed)))


def changeable(context: Context, call: Call, asset_id: AssetId) -> Asset:
    """The asset, where the call is its owner's and its host has rights now. Raises `UnknownAsset`,
    `NotTheOwner`, `HostGone` or `ProofsRefused`."""
    asset = existing(context.state, asset_id)
    if call.owner != asset.owner:
        raise NotTheOwner
    require_serving(context, call, asset)
    return asset


def require_serving(context: Context, call: Call, asset: Asset) -> None:
    """Raise `HostGone` or `ProofsRefused` where the host has no rights now, or the transaction
    does not name its attestation."""
    host_keys(context.state, asset.host)
    require_attested(context, call.transaction.attestation, asset.host)


def existing(state: State, asset_id: AssetId) -> Asset:
    """The asset, or `UnknownAsset`."""
    asset = ASSETS.get(state, asset_id)
    if asset is None:
        raise UnknownAsset(f"There is no asset {asset_id.hex()} on this network")
    return asset


def host_keys(state: State, host: NodeId) -> PublicKeys:
    """The keys that a hosting node signs offers and receipts with; raises `HostGone` where the node
    is unknown or revoked, because a stolen key must move no money."""
    node = identity.node(state, host)
    if node is None or node.revoked:
        raise HostGone
    return node.keys


def take(state: State, asset_id: AssetId, amount: int) -> Asset:
    """Count one more lease of `amount` units, under the next fencing epoch. The caller has checked
    that there is room; for the lease table only."""
    asset = existing(state, asset_id)
    taken = _filled(
        msgspec.structs.replace(
            asset,
            epoch=asset.epoch + 1,
            leases=asset.leases + 1,
            committed=asset.committed + amount,
        )
    )
    ASSETS.put(state, asset_id, taken)
    return taken


def give_back(state: State, asset_id: AssetId, amount: int) -> None:
    """Count one lease of `amount` units less; for the lease table only."""
    asset = existing(state, asset_id)
    freed = msgspec.structs.replace(
        asset, leases=asset.leases - 1, committed=asset.committed - amount
    )
    ASSETS.put(state, asset_id, _filled(freed))


def pass_on(state: State, asset_id: AssetId, to: OwnerId) -> Asset:
    """Give the asset to another owner; for the title module only. Raises `TooManyAssets`.

    It becomes Private and what it disclosed is taken back, for a level and an audience say who may
    use it relative to its owner. Older offers lose their force. Leases that run keep their payee.
    """
    asset = existing(state, asset_id)
    owned = _OWNERS.get(state, to) or 0
    if owned >= ASSETS_PER_OWNER_MAX:
        raise TooManyAssets(why=f"one owner may have {ASSETS_PER_OWNER_MAX}")
    _OWNERS.put(state, asset.owner, (_OWNERS.get(state, asset.owner) or 0) - 1)
    _OWNERS.put(state, to, owned + 1)
    passed = _filled(
        msgspec.structs.replace(
            asset,
            owner=to,
            level=PrivacyLevel.PRIVATE,
            audience_hash=ZERO_HASH,
            descriptor=None,
            salt=b"",
            price=None,
            revision=asset.revision + 1,
        )
    )
    ASSETS.put(state, asset_id, passed)
    if TERMS.get(state, asset_id) is not None:
        TERMS.delete(state, asset_id)
    return passed


def require_shown(asset_id: AssetId, asset: Asset, view: AssetView) -> None:
    """Raise `ShownFalsely` where `view`, which its host has sent, is not of this asset, or shows
    another descriptor than the one that the ledger commits to. The rest of it is the host's word.
    """
    if view.asset != asset_id:
        raise ShownFalsely(why="it shows another asset")
    if address.commitment(view.salt, view.descriptor) != asset.commitment:
        raise ShownFalsely(why="the ledger commits to another descriptor")


def owned(state: State, owner: OwnerId) -> int:
    """How many assets an owner has."""
    return _OWNERS.get(state, owner) or 0


def on_host(state: State, host: NodeId) -> Iterator[tuple[AssetId, Asset]]:
    """The assets on a node, in the order in which they were registered."""
    for key, asset_id in _SLOTS.rows(state, host[:6]):
        if key[8:] == host[6:]:
            yield asset_id, existing(state, asset_id)


def capacity(asset: Asset) -> int:
    """Units in all, as far as the chain knows. Below FullPublic only the host does, and the bound
    is what a sum of units can be."""
    return UNITS_MAX if asset.descriptor is None else asset.descriptor.capacity


def resolve(state: State, genesis: GenesisId, view: ipaddress.IPv6Address) -> list[AssetId]:
    """The assets whose IPv6 view is `view`: none, one, or several where two hosts share the first
    6 bytes of their NodeIds."""
    prefix, node, slot = view.packed[:8], view.packed[8:14], view.packed[14:]
    if prefix != network_prefix(genesis):
        return []
    return [asset_id for _, asset_id in _SLOTS.rows(state, node + slot)]


def _filled(asset: Asset) -> Asset:
    """`asset` as Allocated or Available, whichever its leases make it, when it is in service."""
    if asset.state not in (AssetState.AVAILABLE, AssetState.ALLOCATED):
        return asset
    full = asset.leases >= asset.concurrent_max or asset.committed >= capacity(asset)
    return msgspec.structs.replace(
        asset, state=AssetState.ALLOCATED if full else AssetState.AVAILABLE
    )


def _check_disclosure(
    kind: AssetKind,
    level: PrivacyLevel,
    committed: Hash,
    descriptor: Descriptor | None,
    salt: bytes,
    price: Price | None,
) -> None:
    if level is not PrivacyLevel.FULL_PUBLIC:
        if descriptor is not None or salt or price is not None:
            raise DisclosureMismatch(
                why="below FullPublic the chain holds no descriptor, salt or price",
                fix="Leave them out; the hosting node shows them to those it lets in",
            )
        return
    if descriptor is None or price is None:
        raise DisclosureMismatch(why="FullPublic needs descriptor and price on the chain")
    if descriptor.kind is not kind:
        raise DisclosureMismatch(why=f"a descriptor of kind {descriptor.kind} for a {kind}")
    if len(salt) != address.SALT_BYTES:
        raise DisclosureMismatch(why=f"the salt has {len(salt)} bytes, not {address.SALT_BYTES}")
    if address.commitment(salt, descriptor) != committed:
        raise DisclosureMismatch(why="descriptor and salt do not give the commitment")


def _check_audience(level: PrivacyLevel, hashed: Hash) -> None:
    named = level in address.NAMED_AUDIENCE
    if named and hashed == ZERO_HASH:
        raise DisclosureMismatch(why=f"{level} commits to an audience, and none is given")
    if not named and hashed != ZERO_HASH:
        raise DisclosureMismatch(why=f"{level} names no audience, so its hash must be zero")
