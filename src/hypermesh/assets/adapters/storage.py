"""Storage: the file system of the data directory. Found and registered; leasing comes with sharded
storage."""

from __future__ import annotations

from hypermesh.assets.adapters.adapter import DiscoveryOnly, of_kind
from hypermesh.assets.inventory import Inventory, Share, descriptors
from hypermesh.wire.asset import AssetKind, Descriptor


class StorageAssetAdapter(DiscoveryOnly):
    """Discovery; every step of a lease raises `NotAvailable`."""

    kind = AssetKind.STORAGE

    @classmethod
    def discover(cls, inventory: Inventory, part: Share) -> list[Descriptor]:
        return of_kind(cls.kind, descriptors(inventory, part))
