"""What a transaction says, and why an amount moved, in a sentence. Pure.

Names are what nodes call themselves and identify nothing; ids stand beside them in the API.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypermesh.crypto.digest import digest_of
from hypermesh.node.index.database import Entry
from hypermesh.wire.amount import format_caes
from hypermesh.wire.api.account import Reason
from hypermesh.wire.asset import UNIT, AssetKind, Lease
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import Undecodable, decode
from hypermesh.wire.ids import AssetId, LeaseId, NodeId, OwnerId
from hypermesh.wire.tx import (
    AssetAccept,
    AssetOffer,
    AssetRegister,
    AssetSetPrivacy,
    AssetSetState,
    AssetSetTerms,
    AssetTransfer,
    AssetWithdraw,
    BankFaucet,
    BankTransfer,
    BlockOpening,
    Body,
    ConsensusAttest,
    FederationAdd,
    FederationDrop,
    IdentityEnrol,
    IdentityOwn,
    IdentityReplaceIssuer,
    IdentityRevoke,
    LeaseActivate,
    LeaseClaim,
    LeaseOpen,
    LeaseSettle,
    NameDrop,
    NameSet,
    StakeBond,
    StakeUnbond,
    TransparencyAnchor,
    TransparencyBegin,
)

SHORT = 8
"""Hex digits of an id in a sentence."""


@dataclass(frozen=True, slots=True)
class Names:
    """How to call what has an id."""

    node: Callable[[NodeId], str]
    owner: Callable[[OwnerId], str]
    asset: Callable[[AssetId], tuple[AssetKind, NodeId] | None]
    """Kind and host."""
    lease: Callable[[LeaseId], Lease | None]


def amount(count: int, kind: AssetKind | None) -> str:
    """A number of units: `256 MiB`, `0.5 cores`."""
    unit = "" if kind is None else UNIT.get(kind, "")
    if unit == "byte":
        return _bytes(count)
    if unit == "millicore":
        return f"{count / 1000:g} core" + ("" if count == 1000 else "s")
    return f"{count} {unit or 'units'}"


def duration(milliseconds: int) -> str:
    """A length of time: `10 min`, `1.5 s`, `250 ms`."""
    for size, unit in ((3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if milliseconds >= size and (milliseconds % size == 0 or unit == "s"):
            return f"{milliseconds / size:g} {unit}"
    return f"{milliseconds} ms"


def caes(nano: int) -> str:
    return f"{format_caes(nano)} CAES"


def opening(body: BlockOpening) -> str:
    if body.vdf is None:
        return "the clock"
    return "the clock, and the proof of time that turns the epoch"


def operation(body: Body, signer: str, names: Names) -> str:
    """What `signer` asks for; whether it was granted is the result's to say."""
    match body:
        case IdentityOwn():
            return "an owner makes its keys known"
        case IdentityEnrol():
            return f"{signer} makes its certificate known"
        case IdentityRevoke():
            return f"{signer} revokes node {names.node(body.node)}: {body.reason}"
        case NameSet(label=label, node=None, asset=None):
            return f"{signer} calls nothing {label}"
        case NameSet(label=label, asset=asset_id) if asset_id is not None:
            return f"{signer} calls {_asset(asset_id, names)} {label}"
        case NameSet(label=label, node=node):
            return f"{signer} calls node {names.node(node or b'')} {label}"
        case NameDrop():
            return f"{signer} gives up the name {body.label}"
        case IdentityReplaceIssuer():
            return f"{signer} replaces the network's issuing CA: {body.reason}"
        case TransparencyBegin():
            return f"{signer} begins the transparency log {body.log.origin}"
        case TransparencyAnchor():
            return f"{signer} anchors {body.size} entries of the transparency log {body.origin}"
        case FederationAdd():
            return f"{signer} lets nodes of network {_network(body.document)} in"
        case FederationDrop():
            network = body.network.hex()[:SHORT]
            return f"{signer} lets nodes of network {network} in no more: {body.reason}"
        case BankFaucet():
            return f"{signer} claims its grant from the faucet"
        case BankTransfer():
            memo = f": {body.memo}" if body.memo else ""
            return f"{signer} pays {names.owner(body.to)} {caes(body.amount)}{memo}"
        case StakeBond():
            return f"{signer} bonds {caes(body.amount)} for node {names.node(body.node)}"
        case StakeUnbond():
            return f"{signer} asks {caes(body.amount)} back from the bond of node " + names.node(
                body.node
            )
        case ConsensusAttest():
            return f"{signer} attests space, stake, work and time for epoch {body.bundle.epoch}"
        case AssetRegister():
            return f"{signer} registers its {body.kind.value} at level {body.level.value}"
        case AssetSetState():
            return f"{signer} sets {_asset(body.asset, names)} to {body.state.value}"
        case AssetSetPrivacy():
            return f"{signer} shares {_asset(body.asset, names)} at level {body.level.value}"
        case LeaseOpen():
            what = _units(body.offer.asset, body.amount, names)
            escrow = caes(body.escrow)
            return f"{signer} leases {what} for {duration(body.duration_ms)}, escrow {escrow}"
        case LeaseActivate():
            return f"{signer} activates {_lease(body.lease, names)}"
        case LeaseSettle():
            held = duration(body.receipt.held_ms)
            return f"{signer} settles {_lease(body.receipt.lease, names)}, held {held}"
        case LeaseClaim():
            held = duration(body.receipt.held_ms)
            return f"{signer} claims payment for {_lease(body.receipt.lease, names)}, held {held}"
        case AssetSetTerms():
            return f"{signer} sets the terms of {_asset(body.asset, names)}"
        case AssetTransfer():
            return f"{signer} gives {_asset(body.asset, names)} to {names.owner(body.to)}"
        case AssetOffer():
            whom = "" if body.to is None else f" to {names.owner(body.to)}"
            return f"{signer} offers {_asset(body.asset, names)} for {caes(body.price)}{whom}"
        case AssetWithdraw():
            return f"{signer} takes back the offer of {_asset(body.asset, names)}"
        case AssetAccept():
            return f"{signer} buys {_asset(body.asset, names)} for {caes(body.price)}"


def reason(entry: Entry, names: Names) -> str:
    """Why an entry stands in an account."""
    into = entry.change[0] > 0
    other = None if entry.counterparty is None else names.owner(entry.counterparty)
    match Reason(entry.reason):
        case Reason.GENESIS:
            return "the whole supply of test units"
        case Reason.GRANT:
            return f"grant from the faucet for node {names.node(entry.subject)}"
        case Reason.TRANSFER:
            memo = f": {entry.memo}" if entry.memo else ""
            return f"{'from' if into else 'to'} {other}{memo}"
        case Reason.BOND:
            return f"bond for node {names.node(entry.subject)}"
        case Reason.UNBONDING:
            return f"from the bond of node {names.node(entry.subject)}, on its way back"
        case Reason.UNBONDED:
            return f"back from the bond of node {names.node(entry.subject)}"
        case Reason.ESCROW:
            return f"escrow of {_lease(entry.subject, names)}"
        case Reason.PAYMENT if entry.event.startswith("lease."):
            if other is None:
                return f"payment to yourself for {_lease(entry.subject, names)}"
            return f"payment {'from' if into else 'to'} {other} for " + _lease(entry.subject, names)
        case Reason.PAYMENT:
            return f"{'from' if into else 'to'} {other} for " + _asset(entry.subject, names)
        case Reason.FEE:
            return f"network fee of {_lease(entry.subject, names)}"
        case Reason.REFUND:
            over = "that came to nothing" if entry.event == "lease.expired" else "not used"
            return f"refund of {_lease(entry.subject, names)}, {over}"


def event(name: str, lease: Lease) -> str:
    """What the ledger itself did with a lease."""
    if name == "lease.ended":
        return f"its time is over, after {duration(lease.duration_ms)}"
    if name == "lease.expired":
        return "nobody came in time: the whole escrow returned"
    return name


def lease_kind(lease: Lease, names: Names) -> AssetKind | None:
    found = names.asset(lease.asset)
    return None if found is None else found[0]


def _network(document: bytes) -> str:
    try:
        genesis = decode(Genesis, document)
    except Undecodable:
        return "that cannot be read"
    return digest_of("genesis", genesis).hex()[:SHORT]


def _lease(lease_id: LeaseId, names: Names) -> str:
    short = f"lease {lease_id.hex()[:SHORT]}"
    row = names.lease(lease_id)
    return short if row is None else f"{short} ({_units(row.asset, row.amount, names)})"


def _units(asset_id: AssetId, count: int, names: Names) -> str:
    found = names.asset(asset_id)
    if found is None:
        return f"{count} units of asset {asset_id.hex()[:SHORT]}"
    kind, host = found
    return f"{amount(count, kind)} of {names.node(host)}'s {kind.value}"


def _asset(asset_id: AssetId, names: Names) -> str:
    found = names.asset(asset_id)
    if found is None:
        return f"asset {asset_id.hex()[:SHORT]}"
    kind, host = found
    return f"{names.node(host)}'s {kind.value} ({asset_id.hex()[:SHORT]})"


def _bytes(count: int) -> str:
    for size, unit in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} B"
