"""What the ledger remembers of epochs and bundles."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.ledger.table import Table
from hypermesh.wire.asset import TimeMs
from hypermesh.wire.ids import BundleId, Hash, NodeId
from hypermesh.wire.proof import VdfOutput


class Epoch(msgspec.Struct, frozen=True, array_like=True):
    """The present epoch.

    `previous` is the hash of the last block of the epoch before and `opened_by` the VDF output that
    turned it; in epoch 0 they are the genesis id and the founder's VDF output.
    """

    number: Annotated[int, Meta(ge=0, le=2**53)]
    seed: Hash
    previous: Hash
    opened_by: VdfOutput
    opened_ms: TimeMs
    opened_height: int


class Attestation(msgspec.Struct, frozen=True, array_like=True):
    """A bundle that was verified: whose, of which epoch, in which block."""

    node: NodeId
    epoch: int
    height: int


class Product(msgspec.Struct, frozen=True, array_like=True):
    """A matrix product that a node committed to: what seeded it, and the root over its rows."""

    challenge: Hash
    root: Hash


class LastBundle(msgspec.Struct, frozen=True, array_like=True):
    """A node's last bundle and the product it committed to. It outlives the bundle's rights: the
    node's next bundle opens rows of it, however late that comes. `before` is the product that the
    last bundle opened, so that another bundle for the same epoch is judged like the first."""

    bundle: BundleId
    epoch: int
    product: Product
    before: Product | None


PRESENT = b"present"

EPOCH: Table[Epoch] = Table("consensus/epoch/", Epoch)
"""Key: `PRESENT`."""

ATTESTATIONS: Table[Attestation] = Table("consensus/attestation/", Attestation)
"""Key: bundle id. Those of the present epoch and the one before; older ones are pruned."""

LAST_BUNDLES: Table[LastBundle] = Table("consensus/last/", LastBundle)
"""Key: node id. One row a node that ever attested."""
