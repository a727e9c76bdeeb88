"""Network interfaces: found and registered; leasing bandwidth does not exist yet."""

from __future__ import annotations

from hypermesh.assets.adapters.adapter import DiscoveryOnly, of_kind
from hypermesh.assets.inventory import Inventory, Share, descriptors
from hypermesh.wire.asset import AssetKind, Descriptor


class NetworkAssetAdapter(DiscoveryOnly):
    """One interface that is up."""

    kind = AssetKind.NETWORK

    @classmethod
    def discover(cls, inventory: Inventory, part: Share) -> list[Descriptor]:
        return of_kind(cls.kind, descriptors(inventory, part))
