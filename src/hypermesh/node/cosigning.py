"""Cosignatures of other nodes under the checkpoints of the authority's logs, at the node with it.

One thread. A log that has grown is shown to those nodes that follow, `WITNESSES_MAX` at most and of
as many owners as there are; each keeps what it cosigned, and cosigns nothing that does not continue
it (`node.witnessing`). Nobody waits for them.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypermesh.ledger import identity
from hypermesh.ledger.errors import LedgerStopped
from hypermesh.ledger.identity import Node
from hypermesh.node.admitting import Admitting
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.node.trouble import Trouble
from hypermesh.trustchain.certificate import server_name
from hypermesh.trustchain.cosigner import cosigner_verifiers
from hypermesh.trustchain.ct.checkpoint import read_checkpoint
from hypermesh.trustchain.ct.errors import LogContradicted, NotInLog, WitnessConflict
from hypermesh.trustchain.ct.log import LogView
from hypermesh.trustchain.ct.note import read_note
from hypermesh.trustchain.ct.witness import AddCheckpoint, Cosigning
from hypermesh.wire.api.ct import LogWitness
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import NodeId, OwnerId
from hypermesh.wire.rpc import CosignRequest, CosignResponse

WITNESSES_MAX = 8
"""Of one checkpoint. Its note has 64 lines at most, and a bundle the row of each."""
LOOK_S = 0.5
INTERVAL_S = 3.0
"""Between two looks at one log at least."""
REST_S = 30.0
"""For which a node that did not cosign is not asked again."""
HEARD_MS = 30_000
"""A node that follows calls at least every 10 s; one that is away is not dialled."""
CALL_MS = 10_000
STOP_S = 15.0

Call = Callable[..., Any]

log = logging.getLogger(__name__)


class MeshWitness:
    """A `ct.witness.CosigningWitness`: a node, over STOQ."""

    def __init__(self, node: NodeId, row: Node, genesis: bytes, call: Call) -> None:
        self.node = node
        self.owner: OwnerId = row.owner
        self.name = server_name(node, genesis)
        self.verifiers = cosigner_verifiers(node, row.keys, genesis)
        self._call = call

    def add_checkpoint(self, request: AddCheckpoint) -> bytes:
        """As `Witness.add_checkpoint`; raises what a call to another node raises as well."""
        body = CosignRequest(request.old, list(request.proof), request.note)
        answer: CosignResponse = self._call(
            self.node, "log.cosign", body, CosignResponse, timeout_ms=CALL_MS
        )
        if not answer.lines:
            conflict = WitnessConflict(why=f"it stands at {answer.size} entries")
            conflict.size = answer.size
            raise conflict
        return answer.lines


@dataclass
class _Log:
    """One log's cosignatures. `note` is the newest checkpoint that anybody cosigned, of `size`
    entries; `signed` has who did and how far, `refused` who did not and why."""

    view: LogView
    cosigning: Cosigning
    note: bytes = b""
    size: int = 0
    looked: float = float("-inf")
    signed: dict[NodeId, tuple[OwnerId, int]] = field(default_factory=dict)
    refused: dict[NodeId, tuple[OwnerId, HyperMeshError]] = field(default_factory=dict)


class Gathering:
    """Nothing on a node without the authority."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        admitting: Admitting,
        call: Call,
        heard_ms: Callable[[NodeId], int | None],
    ) -> None:
        """`heard_ms` is how long ago a node called; None where it has not."""
        self._membership = membership
        self._chain = chain
        self._admitting = admitting
        self._call = call
        self._heard_ms = heard_ms
        self._logs: dict[str, _Log] = {}
        self._rests: dict[NodeId, float] = {}
        self._stopping = threading.Event()
        self._trouble = Trouble(log, "gathering cosignatures")
        self._thread = threading.Thread(target=self._run, name="cosign", daemon=True)

    def start(self) -> None:
        if self._admitting.logs is not None:
            self._thread.start()

    def stop(self) -> None:
        """Ask nobody any more."""
        self._stopping.set()

    def close(self) -> None:
        """Wait for what is under way, which ends with the node's connections."""
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Those that last as long as the node."""
        return () if self._admitting.logs is None else (self._thread,)

    def cosigned(self, origin: str, index: int) -> tuple[bytes, list[bytes]]:
        """The newest cosigned checkpoint of a log, as a note, and the path from entry `index` to
        it. Raises `NotInLog` where none has the entry."""
        found = self._logs.get(origin)
        if found is None or index >= found.size:
            raise NotInLog("No checkpoint with this entry is cosigned yet")
        note, size = found.note, found.size
        return note, found.view.inclusion(index, size)

    def witnesses(self, origin: str) -> list[LogWitness]:
        """Who was asked to cosign a log, and what came of it."""
        found = self._logs.get(origin)
        if found is None:
            return []
        signed, refused = dict(found.signed), dict(found.refused)
        shown = [
            LogWitness(node.hex(), owner.hex(), size, None)
            for node, (owner, size) in signed.items()
            if node not in refused
        ]
        for node, (owner, error) in refused.items():
            size = signed[node][1] if node in signed else None
            shown.append(LogWitness(node.hex(), owner.hex(), size, error.why or error.what))
        return sorted(shown, key=lambda each: each.node)

    def contradictions(self) -> Iterator[str]:
        """What witnesses say against the logs here."""
        for found in list(self._logs.values()):
            for node, (_, error) in dict(found.refused).items():
                if error.code == LogContradicted.code:
                    yield f"node {node.hex()[:16]} says: {error.why or error.what}"

    # The thread

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                self._round()
            except LedgerStopped:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the next round tries again
                if self._stopping.is_set():
                    return
                self._trouble.note(error)
                self._stopping.wait(INTERVAL_S)
            else:
                self._trouble.over()

    def _round(self) -> None:
        logs = self._admitting.logs
        if logs is None:
            return
        for view in (logs.present.certificates, logs.present.acts):
            origin = view.identity.origin
            found = self._logs.setdefault(origin, _Log(view, Cosigning(view)))
            if time.monotonic() - found.looked >= INTERVAL_S:
                found.looked = time.monotonic()
                self._gather(found)

    def _gather(self, found: _Log) -> None:
        size = found.view.head.size
        have = {node for node, (_, signed) in found.signed.items() if signed == size}
        asked = [each for each in self._candidates() if each.node not in have]
        asked = asked[: max(0, WITNESSES_MAX - len(have))]
        if not asked or not size:
            return
        cosigned = found.cosigning.gather(size, asked)
        reached = read_checkpoint(read_note(cosigned.note).text).size
        for each in asked:
            if each.name in cosigned.names:
                found.signed[each.node] = (each.owner, reached)
                found.refused.pop(each.node, None)
                continue
            error = cosigned.refused[each.name]
            if each.name in cosigned.ahead:
                error = LogContradicted(why=error.why)
            said = found.refused.get(each.node)
            if said is None or (said[1].code, said[1].why) != (error.code, error.why):
                level = logging.ERROR if error.code == LogContradicted.code else logging.INFO
                log.log(level, "%s does not cosign: %s", each.name, error)
            found.refused[each.node] = (each.owner, error)
            self._rests[each.node] = time.monotonic() + REST_S
        if cosigned.names:
            found.note, found.size = cosigned.note, reached

    def _candidates(self) -> Iterator[MeshWitness]:
        """The nodes that follow now, of each owner one before any has two."""
        now, now_ms = time.monotonic(), self._chain.now_ms()
        self._rests = {node: until for node, until in self._rests.items() if until > now}
        genesis_id, own = self._membership.genesis_id, self._membership.keys.id
        of_owners: dict[OwnerId, list[tuple[NodeId, Node]]] = {}
        with self._chain.ledger.state() as state:
            for node, row in identity.nodes(state):
                heard_ms = self._heard_ms(node)
                is_here = heard_ms is not None and heard_ms <= HEARD_MS and node != own
                if is_here and not row.revoked and row.not_after_ms > now_ms:
                    of_owners.setdefault(row.owner, []).append((node, row))
        return _in_turn(of_owners, self._rests, genesis_id, self._call)


def _in_turn(
    of_owners: Mapping[OwnerId, list[tuple[NodeId, Node]]],
    resting: Mapping[NodeId, float],
    genesis: bytes,
    call: Call,
) -> Iterator[MeshWitness]:
    for row in itertools.zip_longest(*of_owners.values()):
        for each in row:
            if each is not None and each[0] not in resting:
                yield MeshWitness(each[0], each[1], genesis, call)
