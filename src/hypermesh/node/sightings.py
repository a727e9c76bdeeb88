"""What other nodes have shown this one of their assets.

Below FullPublic the chain says that an asset is there, and only its host says what it is, to those
it lets in. An answer, yes or no, holds for one revision of the asset: whoever changes its owner or
terms changes the revision. Hosts are asked side by side, and one that is silent is left alone for a
while, so a list of assets waits for one silent host as long as for a hundred.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hypermesh.assets.registry import ShownFalsely, require_shown
from hypermesh.node.peers import Peers
from hypermesh.node.waiting import refuse_on_event_loop
from hypermesh.wire.asset import Asset, Descriptor
from hypermesh.wire.errors import Forbidden, HyperMeshError, NotFound
from hypermesh.wire.ids import AssetId, NodeId
from hypermesh.wire.rpc import AssetView, DescribeRequest

SIGHTINGS_MAX = 65_536
ASK_TIMEOUT_MS = 3_000
HOSTS_AT_ONCE = 16
SILENT_S = 30.0
"""How long a host that did not answer is not asked again."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    revision: int
    view: AssetView | None


class Sightings:
    """The answers of other hosts."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._seen: dict[AssetId, _Sighting] = {}
        self._silent: dict[NodeId, float] = {}
        self._lock = threading.Lock()

    def views(self, assets: Sequence[tuple[AssetId, Asset]]) -> dict[AssetId, AssetView]:
        """What their hosts show of `assets`, as they showed it at each one's present revision;
        those are left out of which a host shows nothing to this node, or whose host is silent."""
        found: dict[AssetId, AssetView] = {}
        unknown: dict[NodeId, list[tuple[AssetId, Asset]]] = {}
        with self._lock:
            for asset_id, asset in assets:
                known = self._seen.get(asset_id)
                if known is None or known.revision != asset.revision:
                    unknown.setdefault(asset.host, []).append((asset_id, asset))
                elif known.view is not None:
                    found[asset_id] = known.view
        if unknown:
            refuse_on_event_loop()
            with ThreadPoolExecutor(
                min(len(unknown), HOSTS_AT_ONCE), thread_name_prefix="sighting"
            ) as asking:
                for answered in asking.map(self._ask, unknown.values()):
                    found |= answered
        return found

    def remembered(self, asset_id: AssetId, asset: Asset) -> Descriptor | None:
        """What the host has shown of `asset` at its present revision; nobody is asked."""
        with self._lock:
            known = self._seen.get(asset_id)
        if known is None or known.revision != asset.revision or known.view is None:
            return None
        return known.view.descriptor

    def _ask(self, assets: Sequence[tuple[AssetId, Asset]]) -> dict[AssetId, AssetView]:
        """Assets of one host, one after another until it is silent."""
        found: dict[AssetId, AssetView] = {}
        for asset_id, asset in assets:
            with self._lock:
                silent = self._silent.get(asset.host, 0.0) > time.monotonic()
            if silent:
                break
            try:
                view = self._peers.call(
                    asset.host,
                    "asset.inspect",
                    DescribeRequest(asset_id),
                    AssetView,
                    timeout_ms=ASK_TIMEOUT_MS,
                )
                require_shown(asset_id, asset, view)
            except (Forbidden, NotFound, ShownFalsely):
                self._keep(asset_id, _Sighting(asset.revision, None))
            except HyperMeshError:
                with self._lock:
                    self._silent[asset.host] = time.monotonic() + SILENT_S
                break
            else:
                self._keep(asset_id, _Sighting(asset.revision, view))
                found[asset_id] = view
        return found

    def _keep(self, asset_id: AssetId, sighting: _Sighting) -> None:
        with self._lock:
            self._seen.pop(asset_id, None)
            if len(self._seen) >= SIGHTINGS_MAX:
                del self._seen[next(iter(self._seen))]
            self._seen[asset_id] = sighting
