"""Passing parcels on: a thread that tries, waits longer each time, and begins at once when a node
that was away is heard of."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass

from hypermesh.node.parcels import Post
from hypermesh.node.parcels_kept import Held
from hypermesh.node.trouble import Trouble
from hypermesh.stoq.custody import retry_after_ms
from hypermesh.stoq.errors import PeerRefused
from hypermesh.stoq.parcel import is_over, report
from hypermesh.wire.errors import HyperMeshError, Unreachable
from hypermesh.wire.ids import NodeId
from hypermesh.wire.parcel import (
    CLOCK_TOLERANCE_MS,
    ParcelKind,
    ParcelOffer,
    ParcelOutcome,
    ParcelSeen,
    ParcelSourceUnknown,
    ParcelTaken,
    SealingKeyRequest,
    SealingKeyUnknown,
    SignedSealingKey,
)

HANDOVER_TIMEOUT_MS = 60_000
"""A parcel has up to 4 MiB, and the path may be slow."""
PARCELS_A_ROUND = 64
GREETED_A_ROUND = 8
KEYS_ASKED_MAX = 64
PAUSE_S_MAX = 30.0
PAUSE_S_MIN = 0.05
FAULT_PAUSE_S = 5.0
UNHEARD_MS = 60_000
"""A node that was not heard of for so long comes up when it is."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Absence:
    """A node that did not answer: how often in a row, and until when it is left alone."""

    tries: int
    until_ms: int


class Passing:
    """Passes on what is in custody. `heard` and `wake` by any thread; the rest is its own."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._kept = post.kept
        self._own_key: SignedSealingKey | None = None
        self._away: dict[NodeId, _Absence] = {}
        self._greeted: set[NodeId] = set()
        self._appeared = False
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="parcels", daemon=True)

    def introduce(self, own_key: SignedSealingKey) -> None:
        """The key to tell others. Before `start`."""
        self._own_key = own_key

    def start(self) -> None:
        self._appeared = True
        self.thread.start()

    def stop(self) -> None:
        """Begin nothing more. What is under way ends with the connections of this node."""
        self._stopping.set()
        self._awake.set()

    def close(self) -> None:
        """Wait for the thread, then close the file."""
        if self.thread.ident is not None:
            self.thread.join()
        self._kept.close()

    def wake(self) -> None:
        """There is something to pass on."""
        self._awake.set()

    def heard(self, node: NodeId, silent_ms: int | None) -> None:
        """`node` has called, for the first time or after it was silent for so long. Where it was
        away, what waits for it goes now."""
        is_new = silent_ms is None or silent_ms > UNHEARD_MS
        if self._away.pop(node, None) is not None or is_new:
            self._appeared = True
            self._awake.set()

    def round(self) -> None:
        """Everything that is due now, once."""
        if self._appeared:
            self._appeared = False
            self._kept.hurry(self._post.now_ms())
        self._kept.forget(self._post.now_ms())
        self._greet()
        for parcel in self._kept.due(self._post.now_ms(), PARCELS_A_ROUND):
            held = self._kept.held(parcel)
            if held is None or self._stopping.is_set():
                return
            if is_over(held.parcel.header, self._post.now_ms()):
                self._expire(held)
            else:
                self._pass_on(held)

    def _run(self) -> None:
        trouble = Trouble(log, "passing parcels on")
        while not self._stopping.is_set():
            self._awake.clear()
            try:
                self.round()
                pause_s = self._pause_s()
            except Exception as error:  # noqa: BLE001
                trouble.note(error)
                pause_s = FAULT_PAUSE_S
            else:
                trouble.over()
            self._awake.wait(pause_s)

    def _pause_s(self) -> float:
        due_ms = self._kept.next_due_ms()
        if due_ms is None:
            return PAUSE_S_MAX
        return min(max((due_ms - self._post.now_ms()) / 1000, PAUSE_S_MIN), PAUSE_S_MAX)

    def _pass_on(self, held: Held) -> None:
        way = self._post.way(held.parcel.header)
        hops = [] if way is None else way.next_hops(self._post.own, self._post.directory.all())
        offer = ParcelOffer(held.parcel, held.hops)
        for node in hops:
            if self._stopping.is_set():
                return
            if not self._is_away(node) and self._offered(node, offer):
                self._kept.passed(held.id, node)
                return
        now_ms, tries = self._post.now_ms(), held.tries + 1
        due_ms = now_ms + retry_after_ms(tries, int.from_bytes(held.id[:4], "big"))
        over_ms = held.parcel.header.expires_ms + CLOCK_TOLERANCE_MS + 1
        self._kept.put_off(held.id, tries, min(due_ms, over_ms))

    def _offered(self, node: NodeId, offer: ParcelOffer) -> bool:
        """Whether `node` has it now, durably."""
        try:
            self._post.call(node, "parcel.take", offer, ParcelTaken, timeout_ms=HANDOVER_TIMEOUT_MS)
        except ParcelSeen:
            # Its destination had it from another node: that is the end of its way. Any other node
            # has passed it on, maybe to this one, and must not be believed to have it.
            return node == offer.parcel.header.destination
        except (Unreachable, PeerRefused) as error:
            self._miss(node, error)
            return False
        except HyperMeshError as error:
            log.info("node %s does not take a parcel: %s", node.hex()[:16], error)
            return False
        self._away.pop(node, None)
        return True

    def _expire(self, held: Held) -> None:
        header = held.parcel.header
        answer = None
        if header.kind is ParcelKind.MESSAGE and header.source != self._post.own.node:
            keys, genesis, now_ms = self._post.keys, self._post.genesis, self._post.now_ms()
            answer = report(keys, genesis, header, ParcelOutcome.EXPIRED, now_ms)
        self._kept.expire(held, answer, self._post.now_ms())

    def _greet(self) -> None:
        """Tell the sealing key to those who pass it on, and hear theirs."""
        own = self._post.own
        if self._own_key is None:
            return
        alike = [each.node for each in self._post.directory.all() if each.owner == own.owner]
        wanted = [each for each in (self._post.sequencer, *alike) if each != own.node]
        pending = [
            node
            for node in dict.fromkeys(wanted)
            if node not in self._greeted and not self._is_away(node)
        ]
        for node in pending[:GREETED_A_ROUND]:
            if self._stopping.is_set():
                return
            try:
                theirs = self._post.call(node, "parcel.greet", self._own_key, SignedSealingKey)
                self._post.learn_key(theirs)
                if node == self._post.sequencer:
                    self._learn_keys(alike)
            except HyperMeshError as error:
                self._miss(node, error)
            else:
                self._greeted.add(node)

    def _learn_keys(self, nodes: list[NodeId]) -> None:
        """Ask the sequencer how to seal for `nodes`, so that this one can send to them also when
        it is alone."""
        unknown = [each for each in nodes if self._kept.key(each) is None]
        for node in unknown[:KEYS_ASKED_MAX]:
            if node == self._post.own.node or self._stopping.is_set():
                continue
            with contextlib.suppress(SealingKeyUnknown, ParcelSourceUnknown):
                request = SealingKeyRequest(node)
                sequencer = self._post.sequencer
                record = self._post.call(sequencer, "parcel.key", request, SignedSealingKey)
                self._post.learn_key(record)

    def _is_away(self, node: NodeId) -> bool:
        absence = self._away.get(node)
        return absence is not None and self._post.now_ms() < absence.until_ms

    def _miss(self, node: NodeId, error: HyperMeshError) -> None:
        before = self._away.get(node)
        tries = 1 if before is None else before.tries + 1
        if before is None:
            log.info("node %s is away: %s", node.hex()[:16], error)
        until_ms = self._post.now_ms() + retry_after_ms(tries, int.from_bytes(node[:4], "big"))
        self._away[node] = _Absence(tries, until_ms)
