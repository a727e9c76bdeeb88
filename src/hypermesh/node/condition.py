"""How this node is: gathers the facts that `node.health` judges."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hypermesh.consensus.attestation import bundle_of
from hypermesh.ledger import identity
from hypermesh.node.chain import Chain
from hypermesh.node.health import (
    SEQUENCER_SILENT_MS,
    Facts,
    Member,
    OwnAsset,
    WaitingLease,
    health,
)
from hypermesh.node.hearing import Hearing
from hypermesh.node.holdings import Holdings
from hypermesh.node.lending import LEASABLE, Lending
from hypermesh.node.membership import Membership
from hypermesh.wire.api.health import HealthView
from hypermesh.wire.asset import Enforcement, LeaseState
from hypermesh.wire.ids import NodeId

LOOK_S = 0.5


class Condition:
    """The health of a node, looked at anew at most twice a second."""

    def __init__(
        self,
        data: Path,
        membership: Membership,
        chain: Chain,
        lending: Lending,
        holdings: Holdings,
        hearing: Hearing,
        settled: Callable[[], str],
        name: Callable[[NodeId], str],
        contradictions: Callable[[], Sequence[str]],
    ) -> None:
        """`settled` says "ok" or what is not settled yet; `name` what a node calls itself;
        `contradictions` why transparency logs are not to be believed."""
        self._data = data
        self._membership = membership
        self._chain = chain
        self._lending = lending
        self._holdings = holdings
        self._hearing = hearing
        self._settled = settled
        self._name = name
        self._contradictions = contradictions
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._looked = 0.0
        self._seen: HealthView | None = None

    def health(self) -> HealthView:
        """In words."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._looked >= LOOK_S:
                self._seen, self._looked = health(self.facts()), time.monotonic()
            return self._seen

    def facts(self) -> Facts:
        """As they are now."""
        chain, membership = self._chain, self._membership
        wall_ms, block_ms = time.time_ns() // 1_000_000, chain.now_ms()
        ledger, contact_ms = chain.ledger.status(), chain.contact_age_ms
        disk = shutil.disk_usage(self._data)
        in_touch = contact_ms is None or contact_ms <= SEQUENCER_SILENT_MS
        with chain.ledger.state() as state:
            attested = bundle_of(state, membership.keys.id) is not None
            members = [
                Member(self._name(node), bundle_of(state, node) is not None, self._silent_ms(node))
                for node, row in identity.nodes(state)
                if node != membership.keys.id and not row.revoked
            ]
        return Facts(
            data=self._data,
            now_ms=wall_ms,
            ledger_failure=None if chain.failure is None else str(chain.failure),
            height=ledger.height,
            block_age_ms=max(0, block_ms - ledger.time_ms),
            epoch_ms=membership.genesis.proofs.epoch_ms,
            contact_age_ms=contact_ms,
            settled=self._settled(),
            attested=attested,
            certificate_ends_in_ms=membership.not_after_s * 1000 - wall_ms,
            keys_protected=membership.store.protected,
            disk_free_bytes=disk.free,
            disk_total_bytes=disk.total,
            # Out of touch, a follower does not know what time it is elsewhere.
            clock_off_ms=block_ms - wall_ms if in_touch else 0,
            members=members,
            leases=self._waiting(block_ms),
            assets=self._assets(),
            contradictions=self._contradictions(),
        )

    def _silent_ms(self, node: NodeId) -> int | None:
        if not self._membership.is_founder:
            return None
        age_ms = self._hearing.age_ms(node)
        return int((time.monotonic() - self._began) * 1000) if age_ms is None else age_ms

    def _waiting(self, now_ms: int) -> list[WaitingLease]:
        waiting: list[WaitingLease] = []
        for row in self._holdings.held().leases.values():
            if row.state is LeaseState.RESERVED:
                waiting.append(WaitingLease(ended=False, waits_ms=now_ms - row.opened_ms))
            elif row.state is LeaseState.ENDED:
                waiting.append(WaitingLease(ended=True, waits_ms=now_ms - row.ends_ms))
        return waiting

    def _assets(self) -> list[OwnAsset]:
        found: list[OwnAsset] = []
        for asset_id, asset in self._holdings.held().assets.items():
            record = self._lending.record(asset_id)
            if record is not None and asset.kind in LEASABLE:
                enforced = record.descriptor.enforcement is not Enforcement.UNENFORCED
                found.append(OwnAsset(asset.kind, asset.level, enforced))
        return found
