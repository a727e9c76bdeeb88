"""Reacting to the ledger: one thread that follows its blocks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hypermesh.ledger.errors import LedgerStopped
from hypermesh.ledger.feed import Commit
from hypermesh.node.admission import Admission
from hypermesh.node.attesting import Attesting
from hypermesh.node.chain import Chain
from hypermesh.node.lending import Lending
from hypermesh.node.metrics import Metrics
from hypermesh.node.refusals import Refusals
from hypermesh.node.replaying import Replaying
from hypermesh.node.trouble import Trouble
from hypermesh.node.whereabouts import Whereabouts
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.wire.errors import HyperMeshError

POLICY_EVENTS = frozenset(
    {
        "identity.revoked",
        "identity.issuer_replaced",
        "federation.added",
        "federation.dropped",
    }
)
"""What changes whom the transport lets in."""
WATCH_S = 1.0
WATCH_S_MAX = 30.0
"""Between two tries of what failed; it doubles up to this."""

log = logging.getLogger(__name__)


class Watching:
    """What a block sets off at this node."""

    def __init__(
        self,
        chain: Chain,
        endpoint: Endpoint,
        attesting: Attesting,
        lending: Lending,
        whereabouts: Whereabouts,
        metrics: Metrics,
        refusals: Refusals,
        admission: Admission,
        renew: Callable[[], None],
        replaying: Replaying,
    ) -> None:
        """`renew` has the certificate of this node looked at soon."""
        self._refusals = refusals
        self._admission = admission
        self._renew = renew
        self._replaying = replaying
        self._chain = chain
        self._endpoint = endpoint
        self._attesting = attesting
        self._lending = lending
        self._whereabouts = whereabouts
        self._metrics = metrics
        self._trouble = Trouble(log, "reacting to the ledger")
        self._owed_at: float | None = None
        self._pause_s = WATCH_S
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Before the ledger starts, so that no block is missed. The thread ends with the ledger."""
        self._commits = self._chain.feed.subscribe()
        self._thread.start()

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Those that last as long as the node."""
        return (self._thread,)

    def _watch(self) -> None:
        while True:
            try:
                commit = self._commits.next(WATCH_S)
            except LedgerStopped:
                return
            except HyperMeshError as error:
                log.warning("the event feed was cut: %s", error)
                if not self._follow_anew():
                    return
                commit = None
            self._round(commit)

    def _follow_anew(self) -> bool:
        """Whether there is anything to follow."""
        while True:
            try:
                self._commits = self._chain.feed.subscribe()
            except LedgerStopped:
                return False
            except HyperMeshError as error:
                self._trouble.note(error)
                time.sleep(WATCH_S)
            else:
                self._owe(0.0)
                return True

    def _round(self, commit: Commit | None) -> None:
        """What has to be done now. Whatever goes wrong with it, the next block comes."""
        try:
            self._report_refusals()
            self._admission.obey_in_time()
            self._replaying.record()
            if commit is not None:
                self._react(commit)
            if self._owed_at is not None and time.monotonic() >= self._owed_at:
                self._catch_up()
        except Exception as error:  # noqa: BLE001
            self._trouble.note(error)
            self._owe(self._pause_s)
        else:
            self._trouble.over()

    def _owe(self, after_s: float) -> None:
        """What blocks asked for was missed or failed: it is to be found in the state."""
        self._owed_at = time.monotonic() + after_s

    def _catch_up(self) -> None:
        self._pause_s = min(2 * self._pause_s, WATCH_S_MAX)
        self._admission.obey()
        self._renew()
        self._attesting.epoch_turned()
        if self._lending.catch_up():
            self._owed_at, self._pause_s = None, WATCH_S
        else:
            self._owe(self._pause_s)

    def _react(self, commit: Commit) -> None:
        """Revocations and epochs first: what follows them may have to wait for another node."""
        names = {event.name for event in commit.events}
        if names & POLICY_EVENTS:
            self._admission.obey()
        if "identity.issuer_replaced" in names:
            self._renew()
        if "consensus.epoch" in names:
            self._attesting.epoch_turned()
        self._count(commit)
        if not self._lending.observe(commit) and self._owed_at is None:
            self._owe(self._pause_s)
        for event in commit.events:
            if (
                event.name == "consensus.attested"
                and event.subject not in self._whereabouts.locators
            ):
                self._whereabouts.locate(event.subject)

    def _count(self, commit: Commit) -> None:
        self._metrics.height.set(commit.block.header.height)
        self._metrics.operations_seen += len(commit.block.results) - 1
        for result in commit.block.results[1:]:
            self._metrics.transactions.labels("ok" if result.code == "ok" else "refused").inc()
        for event in commit.events:
            if event.name.startswith("lease."):
                self._metrics.leases.labels(event.name.removeprefix("lease.")).inc()

    def _report_refusals(self) -> None:
        """Why peers were turned away: they learn it, and so shall this node's operator."""
        for refusal in self._endpoint.refusals():
            self._metrics.refusals.labels(refusal.error.code).inc()
            self._refusals.note(refusal.error)
            peer = "unknown" if refusal.peer is None else refusal.peer.hex()[:16]
            log.info("refused %s (%s, %s): %s", peer, refusal.remote, refusal.alpn, refusal.error)
