"""Files on their way from this node: kept, tried until they are there, shown."""

from __future__ import annotations

import heapq
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypermesh.ledger import identity
from hypermesh.node import transfers
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.node.peers import Peers
from hypermesh.node.transfers import Record
from hypermesh.node.transfers_kept import KeptTransfers
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.delivery_document import document
from hypermesh.stoq.transfer.progress import Progress
from hypermesh.stoq.transfer.sender import Parties, Source, send
from hypermesh.stoq.transfer.store import checked_name
from hypermesh.wire.address import GlobalAddress, network_prefix
from hypermesh.wire.api.transfer import (
    DeliveryDocument,
    SendRequest,
    TransferCancelled,
    TransferPage,
    TransferState,
    TransferView,
)
from hypermesh.wire.delivery import DeliveryProof, TransferId
from hypermesh.wire.errors import (
    Conflict,
    HyperMeshError,
    InvalidInput,
    NotAvailable,
    NotFound,
    Overloaded,
)
from hypermesh.wire.ids import NodeId, parse_hex
from hypermesh.wire.rpc import SERVICE_TRANSFER

SENDING_MAX = 4
"""Files on their way at one time."""
WAITING_MAX = 1_000
"""Files that are not there yet."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Active:
    """A transfer that is not over. `record` is changed under the lock of `Sending`."""

    record: Record
    is_running: bool = False
    is_cancelled: bool = False
    connection: Connection | None = None


class Sending:
    """Sends files. By any thread; `close` once."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        peers: Peers,
        kept: KeptTransfers,
        node_name: Callable[[NodeId], str],
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._peers = peers
        self._kept = kept
        self._node_name = node_name
        self._changed = threading.Condition()
        self._active: dict[TransferId, _Active] = {}
        self._due: list[tuple[int, TransferId]] = []
        self._closing = False
        self._workers = tuple(
            threading.Thread(target=self._work, name=f"sending-{number}", daemon=True)
            for number in range(SENDING_MAX)
        )

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        return self._workers

    def start(self) -> None:
        """Go on with what an earlier process left."""
        now_ms = _now_ms()
        with self._changed:
            for record in self._kept.unfinished():
                self._queue(_Active(transfers.resumed(record, now_ms)), now_ms)
        for worker in self._workers:
            worker.start()

    def close(self) -> None:
        """Cut off what is on its way; it goes on when the node is up again."""
        with self._changed:
            self._closing = True
            connections = [each.connection for each in self._active.values()]
            self._changed.notify_all()
        for connection in connections:
            if connection is not None:
                connection.close()
        for worker in self._workers:
            if worker.ident is not None:
                worker.join()
        self._kept.close()

    # What is asked

    def submit(self, request: SendRequest) -> TransferView:
        """Send a file. It is kept, durably, when this returns. Raises `NotFound`, `InvalidInput`,
        `FileFailed`, `NotAFile`, `Overloaded`."""
        path = Path(request.path)
        if not path.is_absolute():
            raise InvalidInput(f"{request.path[:200]!r} is not an absolute path")
        to = self._meant(request.to)
        checked_name(path.name)
        with Source(path) as source:
            size = source.size
        now_ms = _now_ms()
        record = Record(
            transfer=secrets.token_bytes(16),
            state=TransferState.QUEUED,
            name=path.name,
            path=str(path),
            to=to,
            size=size,
            submitted_ms=now_ms,
        )
        with self._changed:
            if len(self._active) >= WAITING_MAX:
                raise Overloaded(f"{WAITING_MAX} files wait to be sent")
            self._kept.keep(record)
            self._queue(_Active(record), now_ms)
        return self._view(record)

    def get(
        self, transfer: str, wait_ms: int = 0, seen: tuple[str, int] | None = None
    ) -> TransferView:
        """A transfer. Where it still is in the state and at the byte that were `seen`, waits up to
        `wait_ms` for more. Raises `UnknownTransfer`."""
        number = parse_hex(transfer, 16, "transfer id")
        deadline = time.monotonic() + wait_ms / 1000
        with self._changed:
            while (active := self._active.get(number)) is not None:
                record = active.record
                left = deadline - time.monotonic()
                if (record.state.value, record.done) != seen or left <= 0 or self._closing:
                    return self._view(record)
                self._changed.wait(left)
        return self._view(self._kept.get(number))

    def page(self, cursor: str | None, limit: int) -> TransferPage:
        """Transfers from here, newest first."""
        found = self._kept.newest(cursor, limit + 1)
        with self._changed:
            now = {number: active.record for number, active in self._active.items()}
        items = [self._view(now.get(record.transfer, record)) for _, record in found[:limit]]
        return TransferPage(items, str(found[limit - 1][0]) if len(found) > limit else None)

    def cancel(self, transfer: str) -> TransferView:
        """End a transfer. One that is over stays as it is. What has arrived of it is dropped there
        after some days, unless the file is sent again."""
        number = parse_hex(transfer, 16, "transfer id")
        with self._changed:
            active = self._active.get(number)
            if active is None:
                return self._view(self._kept.get(number))
            active.is_cancelled = True
            connection = active.connection
            if not active.is_running:
                self._end(active, transfers.cancelled(active.record, _now_ms()))
            self._changed.notify_all()
        if connection is not None:
            connection.close()
        with self._changed:
            while number in self._active and not self._closing:
                self._changed.wait()
        return self.get(transfer)

    def proof(self, transfer: str) -> DeliveryDocument:
        """Raises `UnknownTransfer`; `Conflict` where it is not delivered."""
        record = self._kept.get(parse_hex(transfer, 16, "transfer id"))
        if record.proof is None:
            raise Conflict(f"{record.name} is not delivered: it is {record.state.value}")
        return document(record.proof)

    # Sending

    def _work(self) -> None:
        while (active := self._next()) is not None:
            try:
                proof = self._attempt(active)
            except HyperMeshError as error:
                self._ended(active, error)
            except Exception as error:
                log.exception("Sending %s failed", active.record.name)
                self._ended(active, HyperMeshError("The node failed", why=str(error)))
            else:
                with self._changed:
                    self._end(active, transfers.delivered(active.record, proof, _now_ms()))

    def _next(self) -> _Active | None:
        """The next transfer that is due; None at the end."""
        with self._changed:
            while not self._closing:
                now_ms = _now_ms()
                if self._due and self._due[0][0] <= now_ms:
                    _, number = heapq.heappop(self._due)
                    active = self._active.get(number)
                    if active is None or active.is_running:
                        continue
                    active.is_running = True
                    active.record = transfers.begun(active.record)
                    self._kept.keep(active.record)
                    self._changed.notify_all()
                    return active
                self._changed.wait((self._due[0][0] - now_ms) / 1000 if self._due else None)
        return None

    def _attempt(self, active: _Active) -> DeliveryProof:
        record = active.record
        keys = self._membership.keys
        with Source(Path(record.path), record.name) as source:
            connection = self._peers.dial(record.to)
            with self._changed:
                active.connection = connection
                is_over = active.is_cancelled or self._closing
            try:
                if is_over:
                    raise TransferCancelled
                return send(
                    connection.open_stream(SERVICE_TRANSFER),
                    source,
                    record.transfer,
                    Parties(self._membership.genesis_id, keys, record.to),
                    since_ms=record.submitted_ms,
                    watcher=lambda progress: self._advance(active, progress),
                )
            finally:
                with self._changed:
                    active.connection = None
                connection.close()

    def _advance(self, active: _Active, progress: Progress) -> None:
        with self._changed:
            if active.is_cancelled:
                raise TransferCancelled
            active.record = transfers.advanced(active.record, progress)
            self._changed.notify_all()

    def _ended(self, active: _Active, error: HyperMeshError) -> None:
        """After an attempt that did not bring it there."""
        now_ms = _now_ms()
        with self._changed:
            if self._closing:
                return
            if active.is_cancelled:
                self._end(active, transfers.cancelled(active.record, now_ms))
                return
            record = transfers.failed(active.record, error, now_ms)
            if record.is_final:
                self._end(active, record)
                return
            self._kept.keep(record)
            active.record, active.is_running = record, False
            self._queue(active, now_ms)

    def _end(self, active: _Active, record: Record) -> None:
        self._kept.keep(record)
        active.record = record
        self._active.pop(record.transfer, None)
        self._changed.notify_all()

    def _queue(self, active: _Active, now_ms: int) -> None:
        record = active.record
        self._active[record.transfer] = active
        heapq.heappush(self._due, (max(record.next_ms, now_ms), record.transfer))
        self._changed.notify_all()

    def _view(self, record: Record) -> TransferView:
        return transfers.view(record, self._node_name(record.to))

    # Who is meant

    def _meant(self, text: str) -> NodeId:
        """The node that a name, an id, the beginning of one or an address means."""
        if text.startswith("hm://"):
            node = self._host(GlobalAddress.parse(text))
        else:
            node = self._named(text)
        if node == self._membership.keys.id:
            raise InvalidInput("That is this node", fix="Send it to another: hm node ls")
        return node

    def _host(self, address: GlobalAddress) -> NodeId:
        if address.network_prefix != network_prefix(self._membership.genesis_id):
            raise NotAvailable(
                "That address is of another network, and nodes of one only are known"
            )
        with self._chain.ledger.state() as state:
            node = identity.resolve_prefix(state, address.node_id)
        if node is None:
            raise NotFound(f"No node of this network hosts {address}", fix="See `hm asset ls`")
        return node

    def _named(self, text: str) -> NodeId:
        known = list(self._standing())
        found = [node for node in known if self._node_name(node) == text] or [
            node for node in known if node.hex().startswith(text)
        ]
        if len(found) == 1:
            return found[0]
        if not found:
            raise NotFound(f"No node is called {text[:80]!r} or begins so", fix="See `hm node ls`")
        raise InvalidInput(
            f"{len(found)} nodes are meant by {text[:80]!r}",
            why=", ".join(f"{self._node_name(each)} {each.hex()[:16]}" for each in found[:5]),
            fix="Give the node's id, as far as it takes",
        )

    def _standing(self) -> Iterator[NodeId]:
        with self._chain.ledger.state() as state:
            for node, row in identity.nodes(state):
                if not row.revoked:
                    yield node


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
