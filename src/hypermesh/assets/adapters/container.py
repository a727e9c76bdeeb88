"""Containers. None are offered until an engine of the catalog runs them."""

from __future__ import annotations

from hypermesh.assets.adapters.adapter import DiscoveryOnly, of_kind
from hypermesh.assets.inventory import Inventory, Share, descriptors
from hypermesh.wire.asset import AssetKind, Descriptor


class ContainerAssetAdapter(DiscoveryOnly):
    """Discovery; every step of a lease raises `NotAvailable`."""

    kind = AssetKind.CONTAINER

    @classmethod
    def discover(cls, inventory: Inventory, part: Share) -> list[Descriptor]:
        return of_kind(cls.kind, descriptors(inventory, part))
