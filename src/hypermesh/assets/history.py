"""The history of an asset, checked offline: pure, from the genesis document alone.

What the proofs show of every entry: its block, signed by the sequencer, holds exactly these bytes
at this index, and they were executed there with this result. The row shows the asset as it was
after a block.

What they show of the list: the row counts the leases that the asset ever had (`epoch`) and the
changes of its privacy, terms, price and owner (`revision`), so none of those is left out or made
up, nor is the registration. **Not shown**: that no other operation is left out. Nothing on the
ledger counts changes of state, offers to sell, activations and settlements; for those the list is
complete on the word of the node that gave it. Whose keys signed an operation is not shown either:
that the ledger executed it says that they were the signer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypermesh.assets import registry
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.kernel import OK
from hypermesh.ledger.shown import RowProof
from hypermesh.ledger.verify import Included, verify_row, verify_transaction
from hypermesh.wire.asset import Asset
from hypermesh.wire.block import Genesis, TransactionProof
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import AssetId
from hypermesh.wire.tx import (
    AssetAccept,
    AssetRegister,
    AssetSetPrivacy,
    AssetSetTerms,
    AssetTransfer,
    Body,
    LeaseActivate,
    LeaseClaim,
    LeaseOpen,
    LeaseSettle,
)

COUNTED = (AssetSetPrivacy, AssetSetTerms, AssetTransfer, AssetAccept)
"""Each of these raises the asset's `revision` by one."""


@dataclass(frozen=True, slots=True)
class History:
    """A history whose proofs hold. `counted` of its entries are shown to be all of their kind; for
    the `uncounted` no proof says that there are no more."""

    asset: AssetId
    row: Asset
    height: int
    entries: tuple[Included, ...]
    counted: int
    uncounted: int


def verify_history(
    genesis: Genesis, asset_id: AssetId, row: RowProof, proofs: Sequence[TransactionProof]
) -> History:
    """The history of an asset, oldest first, as `row` and `proofs` show it.

    Raises `ProofInvalid` and says which entry does not hold, or what the list leaves out.
    """
    asset = _asset(genesis, asset_id, row)
    entries: list[Included] = []
    leases: set[bytes] = set()
    place = (0, 0)
    for number, proof in enumerate(proofs, start=1):
        try:
            entry = verify_transaction(genesis, proof)
        except ProofInvalid as error:
            raise ProofInvalid(f"Entry {number}: {error.what}", why=error.why) from error
        if entry.result.code != OK:
            raise ProofInvalid(f"Entry {number} was refused", why=entry.result.code)
        if (entry.height, entry.index) <= place:
            raise ProofInvalid(f"Entry {number} is not after the one before it")
        if not _is_about(entry, asset_id, leases):
            raise ProofInvalid(f"Entry {number} is not about asset {asset_id.hex()}")
        if isinstance(entry.signed.transaction.body, LeaseOpen):
            leases.add(entry.tx)
        place = (entry.height, entry.index)
        entries.append(entry)
    height = row.header.header.height
    if place[0] > height:
        raise ProofInvalid(
            "The row is older than the history", why=f"it is of block {height}, not {place[0]}"
        )
    counted = _count(asset, entries)
    return History(asset_id, asset, height, tuple(entries), counted, len(entries) - counted)


def _asset(genesis: Genesis, asset_id: AssetId, row: RowProof) -> Asset:
    if row.key != registry.ASSETS.key(asset_id):
        raise ProofInvalid("The row is of another asset", why=row.key.hex())
    if row.value is None:
        raise ProofInvalid(f"There is no asset {asset_id.hex()}")
    verify_row(genesis, row.header, row.proof, row.value)
    try:
        return decode(Asset, row.value)
    except InvalidInput as error:
        raise ProofInvalid("The row is no asset", why=str(error)) from error


def _is_about(entry: Included, asset_id: AssetId, leases: set[bytes]) -> bool:
    body: Body = entry.signed.transaction.body
    match body:
        case LeaseOpen():
            return body.offer.asset == asset_id
        case LeaseActivate():
            return body.lease in leases
        case LeaseSettle() | LeaseClaim():
            return body.receipt.lease in leases
        case _:
            return getattr(body, "asset", None) == asset_id


def _count(asset: Asset, entries: Sequence[Included]) -> int:
    """How many of `entries` the row counts. Raises `ProofInvalid` where it counts others."""
    bodies = [entry.signed.transaction.body for entry in entries]
    if not bodies or not isinstance(bodies[0], AssetRegister):
        raise ProofInvalid("The history does not begin with the registration")
    opened = sum(isinstance(body, LeaseOpen) for body in bodies)
    if opened != asset.epoch:
        raise ProofInvalid(
            f"The history has {opened} leases, the asset had {asset.epoch}",
            why="the row counts them all",
        )
    changed = sum(isinstance(body, COUNTED) for body in bodies)
    if changed != asset.revision:
        raise ProofInvalid(
            f"The history has {changed} changes of terms or owner, the asset had {asset.revision}",
            why="the row counts them all",
        )
    return 1 + opened + changed
