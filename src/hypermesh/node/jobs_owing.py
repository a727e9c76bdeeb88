"""What remains to be done for jobs that nobody runs any more: their end, and their leases."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from hypermesh.assets import lease as leases
from hypermesh.node import jobs
from hypermesh.node.borrowing import Borrowing
from hypermesh.node.jobs import Record
from hypermesh.node.jobs_kept import KeptJobs
from hypermesh.wire.api.job import JobState, NodeWentDown
from hypermesh.wire.api.lease import LeaseView
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import JobId, LeaseId

log = logging.getLogger(__name__)


class Owing:
    """Brings every job to its end, and every lease of a job to its settlement."""

    def __init__(
        self, kept: KeptJobs, borrowing: Borrowing, lease: Callable[[LeaseId], LeaseView]
    ) -> None:
        self._kept = kept
        self._borrowing = borrowing
        self._lease = lease

    def end(self, is_active: Callable[[JobId], bool]) -> None:
        """End what is written down as under way and is not: a former run left it, or its end could
        not be written. Raises `JobsNotKept`."""
        now_ms = time.time_ns() // 1_000_000
        for under_way in self._kept.unfinished():
            if is_active(under_way.job):
                continue
            # A job is written down before it is active no more: it may have ended since.
            record = self._kept.get(under_way.job)
            if record.is_final:
                continue
            if record.state is JobState.SETTLING:
                over = jobs.finished(record, now_ms, cancelled=False)
            else:
                over = jobs.cut_short(record, NodeWentDown(), now_ms)
            self._kept.keep(over, owed=record.lease is not None)

    def settle(self) -> bool:
        """Settle the leases of jobs that are over; whether none is left."""
        left = [record for record in self._kept.owed() if not self._is_settled(record)]
        return not left

    def _is_settled(self, record: Record) -> bool:
        lease, asset = record.lease, record.asset
        if lease is None or asset is None:
            self._kept.keep(record, owed=False)
            return True
        try:
            if self._borrowing.row(lease).state not in leases.FINAL:
                self._borrowing.release(asset, lease)
            shown = self._lease(lease)
        except leases.UnknownLease:
            self._kept.keep(record, owed=False)
            return True
        except HyperMeshError as error:
            log.info("lease %s is not settled yet: %s", lease.hex()[:16], error)
            return False
        if shown.paid is None:
            return False
        self._kept.keep(jobs.settled(record, shown.paid, shown.fee or 0), owed=False)
        return True
