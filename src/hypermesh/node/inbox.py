"""Files that other nodes send here: whose are taken, and what has come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from hypermesh.crypto.files import replace
from hypermesh.node.kept import read
from hypermesh.node.membership import Membership
from hypermesh.node.transfers_kept import before
from hypermesh.stoq.delivery_document import document
from hypermesh.stoq.request import Request
from hypermesh.stoq.stream import Stream
from hypermesh.stoq.transfer.errors import FileTooLarge, TransferRefused
from hypermesh.stoq.transfer.receiver import Receiver
from hypermesh.stoq.transfer.sender import Parties
from hypermesh.stoq.transfer.store import Arrived, Store
from hypermesh.wire.api.transfer import (
    DeliveryDocument,
    ReceivedPage,
    ReceivedView,
    SenderLimit,
    SenderPage,
    SenderView,
    UnknownTransfer,
)
from hypermesh.wire.codec import encode
from hypermesh.wire.delivery import DeliveryProof
from hypermesh.wire.errors import (
    Conflict,
    Forbidden,
    HyperMeshError,
    InvalidInput,
    NotFound,
    Overloaded,
)
from hypermesh.wire.ids import NodeId, OwnerId, parse_hex
from hypermesh.wire.rpc import ALPN_NODE
from hypermesh.wire.transfer import Offer

RECEIVING_MAX = 8
"""Files that arrive at one time."""
SENDERS_MAX = 1_000

log = logging.getLogger(__name__)


class Allowed(msgspec.Struct, frozen=True, array_like=True):
    """An owner whose files are taken, up to so many bytes in all."""

    owner: OwnerId
    bytes_max: int


class Inbox:
    """Takes files of the owner's own nodes, and of those whom the owner allows. By any thread."""

    def __init__(
        self, membership: Membership, data: Path, node_name: Callable[[NodeId], str]
    ) -> None:
        """Raises `InboxDamaged`, `FileDamaged`."""
        self._membership = membership
        self._node_name = node_name
        self._file = data / "inbox-senders"
        self._store = Store(data / "inbox")
        self._receiver = Receiver(self._store, self._check, _now_ms)
        self._places = threading.BoundedSemaphore(RECEIVING_MAX)
        self._lock = threading.Lock()
        allowed: list[Allowed] = []
        if self._file.exists():
            allowed = read(list[Allowed], self._file, "Remove it: then only own nodes may send")
        self._allowed = {each.owner: each for each in allowed}

    # Receiving

    def take(self, request: Request) -> None:
        """Take the file that a peer wants to send, on a thread of its own. Raises `Forbidden`,
        `InvalidInput`, `Overloaded`."""
        stream, peer, owner = request.stream, request.peer_id, request.peer_owner
        if request.alpn != ALPN_NODE or peer is None or owner is None:
            raise Forbidden("Files come from nodes with a certificate")
        if stream is None:
            raise InvalidInput("A file comes on a stream")
        if not self._places.acquire(blocking=False):
            raise Overloaded(f"{RECEIVING_MAX} files are arriving already")
        arguments = (stream, owner, peer)
        threading.Thread(target=self._take, args=arguments, name="inbox", daemon=True).start()

    def _take(self, stream: Stream, owner: OwnerId, peer: NodeId) -> None:
        parties = Parties(self._membership.genesis_id, self._membership.keys, peer)
        try:
            arrived = self._receiver.receive(stream, owner, parties)
            log.info(
                "%s came from %s: %s", arrived.name, self._node_name(peer), arrived.delivery.size
            )
        except HyperMeshError as error:
            log.info("A file of %s did not arrive: %s", self._node_name(peer), error)
        except Exception:
            log.exception("A file of %s did not arrive", self._node_name(peer))
        finally:
            self._places.release()

    def _check(self, owner: OwnerId, offer: Offer) -> None:
        if owner == self._membership.owner:
            return
        allowed = self._allowed.get(owner)
        if allowed is None:
            raise TransferRefused(
                fix=f"Its owner may allow it there: hm inbox allow {owner.hex()[:16]}"
            )
        held = self._store.bytes_of(owner)
        if held + offer.size > allowed.bytes_max:
            raise FileTooLarge(
                f"{offer.name} is more than the receiver takes",
                why=f"{offer.size} bytes; {held} of {allowed.bytes_max} that are allowed are there",
            )

    # What has come

    def page(self, cursor: str | None, limit: int) -> ReceivedPage:
        """Files in the inbox, newest first."""
        found = self._store.newest(before(cursor), limit + 1)
        items = [self._view(arrived) for _, arrived in found[:limit]]
        return ReceivedPage(items, str(found[limit - 1][0]) if len(found) > limit else None)

    def proof(self, transfer: str) -> DeliveryDocument:
        """Raises `UnknownTransfer`; `Conflict` where the sender has not signed."""
        arrived = self._store.arrived(parse_hex(transfer, 16, "transfer id"))
        if arrived is None:
            raise UnknownTransfer(f"No file came here by transfer {transfer}", fix="hm inbox ls")
        if arrived.sender_signature is None:
            raise Conflict(
                "There is no proof of this delivery",
                why="its sender was cut off before it signed",
                fix="It signs when it sends the same file again",
            )
        return document(
            DeliveryProof(
                arrived.delivery,
                arrived.sender,
                arrived.receiver,
                arrived.sender_signature,
                arrived.receiver_signature,
            )
        )

    def _view(self, arrived: Arrived) -> ReceivedView:
        said = arrived.delivery
        return ReceivedView(
            transfer=said.transfer.hex(),
            name=arrived.name,
            path=str(self._store.directory / arrived.name),
            sender=said.sender.hex(),
            sender_name=self._node_name(said.sender),
            owner=arrived.owner.hex(),
            size=said.size,
            root=said.root.hex(),
            received_ms=said.time_ms,
            is_countersigned=arrived.sender_signature is not None,
        )

    # Whose files are taken

    def senders(self) -> SenderPage:
        """Who else may send files here."""
        kept = sorted(self._allowed.values(), key=lambda each: each.owner)
        return SenderPage([SenderView(each.owner.hex(), each.bytes_max) for each in kept], None)

    def allow(self, owner: str, limit: SenderLimit) -> SenderView:
        """Take files of this owner's nodes from now on."""
        allowed = Allowed(parse_hex(owner, 32, "owner id"), limit.bytes_max)
        if allowed.owner == self._membership.owner:
            raise InvalidInput("Your own nodes may send here anyway")
        with self._lock:
            kept = {**self._allowed, allowed.owner: allowed}
            if len(kept) > SENDERS_MAX:
                raise Overloaded(f"{SENDERS_MAX} owners may send here already")
            self._replace(kept)
        return SenderView(owner, allowed.bytes_max)

    def deny(self, owner: str) -> SenderView:
        """Take no more files of this owner's nodes. Those that are here stay."""
        known = parse_hex(owner, 32, "owner id")
        with self._lock:
            kept = dict(self._allowed)
            gone = kept.pop(known, None)
            if gone is None:
                raise NotFound("This owner may not send here", fix="See `hm inbox senders`")
            self._replace(kept)
        return SenderView(owner, gone.bytes_max)

    def close(self) -> None:
        """Those that are arriving are cut off with the endpoint, and go on another time."""
        self._store.close()

    def _replace(self, kept: dict[OwnerId, Allowed]) -> None:
        replace(self._file, encode([kept[owner] for owner in sorted(kept)]))
        self._allowed = kept


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
