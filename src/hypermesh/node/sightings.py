"""What other nodes have shown this one of their assets.

Below FullPublic the chain says that an asset is there, and only its host says what it is, to those
it lets in. An answer, yes or no, holds for one revision of the asset: whoever changes level or
audience changes the revision.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from hypermesh.node.peers import Peers
from hypermesh.wire.asset import Asset, Descriptor
from hypermesh.wire.errors import Forbidden, HyperMeshError, NotFound
from hypermesh.wire.ids import AssetId, NodeId
from hypermesh.wire.rpc import AssetView, DescribeRequest

SIGHTINGS_MAX = 65_536
ASK_TIMEOUT_MS = 3_000
SILENT_S = 30.0
"""How long a host that did not answer is not asked again."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    revision: int
    descriptor: Descriptor | None


class Sightings:
    """The answers of other hosts."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._seen: dict[AssetId, _Sighting] = {}
        self._silent: dict[NodeId, float] = {}
        self._lock = threading.Lock()

    def descriptor(self, asset_id: AssetId, asset: Asset) -> Descriptor | None:
        """What the host shows of `asset`; None where it shows nothing to this node, or is silent.
        Asks at most once a revision."""
        with self._lock:
            known = self._seen.get(asset_id)
            silent = self._silent.get(asset.host, 0.0) > time.monotonic()
        if known is not None and known.revision == asset.revision:
            return known.descriptor
        if silent:
            return None
        try:
            view = self._peers.call(
                asset.host,
                "asset.inspect",
                DescribeRequest(asset_id),
                AssetView,
                timeout_ms=ASK_TIMEOUT_MS,
            )
        except (Forbidden, NotFound):
            return self._keep(asset_id, _Sighting(asset.revision, None))
        except HyperMeshError:
            with self._lock:
                self._silent[asset.host] = time.monotonic() + SILENT_S
            return None
        return self._keep(asset_id, _Sighting(asset.revision, view.descriptor))

    def _keep(self, asset_id: AssetId, sighting: _Sighting) -> Descriptor | None:
        with self._lock:
            self._seen.pop(asset_id, None)
            if len(self._seen) >= SIGHTINGS_MAX:
                del self._seen[next(iter(self._seen))]
            self._seen[asset_id] = sighting
        return sighting.descriptor
