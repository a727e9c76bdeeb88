"""Anchoring: the logs of the authority on the ledger, and what the ledger says in them.

One thread, at the node with the authority. A log that has grown is anchored at once where the last
anchor is some seconds old, else soon after. A revocation on the ledger, a replaced issuing CA, a
partner network and every change of a name are leaves of the log of acts. What is done follows from
ledger and logs as they are, so a start after a crash is no other path.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator

from hypermesh.crypto.keys import key_id
from hypermesh.ledger import federation, identity, names, transparency
from hypermesh.ledger.errors import LedgerStopped
from hypermesh.ledger.history import Happened, History
from hypermesh.ledger.module import State
from hypermesh.node.admitting import Admitting
from hypermesh.node.authority_logs import (
    AuthorityLogs,
    IssuerAct,
    LedgerAct,
    NameAct,
    NameDropAct,
    NamingAct,
    PartnerAct,
    PartnerDropAct,
    RevocationAct,
)
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.node.trouble import Trouble
from hypermesh.node.wallet import Wallet
from hypermesh.trustchain.ct.checkpoint import read_checkpoint
from hypermesh.trustchain.ct.log import LogView
from hypermesh.trustchain.ct.note import read_note
from hypermesh.trustchain.logged import public_log
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.tx import TransparencyAnchor, TransparencyBegin

LOOK_S = 0.25
INTERVAL_S = 3.0
"""Between two anchors of one log at least."""
STOP_S = 10.0

log = logging.getLogger(__name__)


class Anchoring:
    """Nothing on a node without the authority."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        wallet: Wallet,
        admitting: Admitting,
        history: History,
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._wallet = wallet
        self._admitting = admitting
        self._history = history
        self._stopping = threading.Event()
        self._trouble = Trouble(log, "anchoring the transparency logs")
        self._height = -1
        self._sizes: dict[str, int] = {}
        """How far each log is known to be anchored."""
        self._anchored_at: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="anchor", daemon=True)

    def start(self) -> None:
        if self._admitting.logs is not None:
            self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Those that last as long as the node."""
        return () if self._admitting.logs is None else (self._thread,)

    def _run(self) -> None:
        logs = self._admitting.logs
        if logs is None:
            return
        while not self._stopping.wait(LOOK_S):
            try:
                self._round(logs)
            except LedgerStopped:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the next round tries again
                self._trouble.note(error)
                self._stopping.wait(INTERVAL_S)
            else:
                self._trouble.over()

    def _round(self, logs: AuthorityLogs) -> None:
        """What has to be done now: nothing, and no look at the ledger, where neither ledger nor
        logs have grown."""
        height = self._chain.feed.height
        if height != self._height:
            with self._chain.ledger.state() as state:
                if not self._is_known(state):
                    return
                acts = list(_acts(state))
            logs.enacted(acts)
            for batch in self._history.since(logs.names_from, self._stopping):
                logs.named(list(_namings(batch)), batch[-1][0].header.height)
            self._height = height
        for view in (logs.present.certificates, logs.present.acts):
            if view.head.size != self._sizes.get(view.identity.origin):
                self._anchor(view)

    def _is_known(self, state: State) -> bool:
        """Whether the ledger takes this node's word."""
        row = identity.node(state, key_id(self._membership.genesis.sequencer))
        return row is not None and not row.revoked

    def _anchor(self, view: LogView) -> None:
        origin = view.identity.origin
        if time.monotonic() - self._anchored_at.get(origin, -INTERVAL_S) < INTERVAL_S:
            return
        with self._chain.ledger.state() as state:
            known = transparency.log(state, origin)
        if known is None:
            self._wallet.submit(TransparencyBegin(public_log(view.identity)))
        newest = 0 if known is None else known.newest.size
        size = view.head.size
        if size > newest:
            checkpoint = read_checkpoint(read_note(view.checkpoint(size)).text)
            size, path = checkpoint.size, view.consistency(newest, checkpoint.size)
            self._wallet.submit(TransparencyAnchor(origin, size, checkpoint.root, path))
            self._anchored_at[origin] = time.monotonic()
        self._sizes[origin] = size


def _namings(happened: Iterable[Happened]) -> Iterator[NamingAct]:
    """What became of names in blocks, in order. Unlike a state, they tell each change."""
    for block, events in happened:
        for event in events:
            kind = _NAMINGS.get(event.name)
            if kind is not None:
                row, label = names.read_name(event.data), event.subject.decode()
                entry = 0 if event.entry is None else event.entry
                yield kind(label, row.owner, row.node, row.asset, block.header.height, entry)


_NAMINGS: dict[str, type[NamingAct]] = {names.SET: NameAct, names.DROPPED: NameDropAct}


def _acts(state: State) -> Iterator[LedgerAct]:
    """What the ledger says now. What one block said and the next one took back may be missing: that
    is on the ledger alone."""
    for node, ended in identity.revocations(state):
        yield RevocationAct(node, ended.reason, ended.height, ended.by)
    for made in identity.replacements(state):
        sha256 = fingerprint(made.certificate)
        yield IssuerAct(sha256, made.since_ms, made.grace_ms, made.reason)
    for network, row in federation.partners(state):
        sha256 = fingerprint(row.cross)
        yield PartnerAct(network, sha256, row.not_after_ms, row.height, row.by)
    for network, gone in federation.all_dropped(state):
        yield PartnerDropAct(network, gone.reason, gone.height, gone.by)
