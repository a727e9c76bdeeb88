"""GPUs: found through NVML and sysfs, whole devices only. Leasing comes with an engine that can
hold a job to one device."""

from __future__ import annotations

from hypermesh.assets.adapters.adapter import DiscoveryOnly, of_kind
from hypermesh.assets.inventory import Inventory, Share, descriptors
from hypermesh.wire.asset import AssetKind, Descriptor


class GpuAssetAdapter(DiscoveryOnly):
    """Discovery; every step of a lease raises `NotAvailable`."""

    kind = AssetKind.GPU

    @classmethod
    def discover(cls, inventory: Inventory, part: Share) -> list[Descriptor]:
        return of_kind(cls.kind, descriptors(inventory, part))
