"""Parcels of this node: sent, taken into custody, received. `parcels_passing` passes them on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from hypermesh.crypto.encryption import QuantumEncryption
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.node.neighbours import Known
from hypermesh.node.parcels_kept import Carried, KeptParcels, Received, Sent, is_forgotten
from hypermesh.node.service import Peer
from hypermesh.stoq.custody import (
    BYTES_MAX,
    PARCELS_MAX,
    Carry,
    Neighbour,
    Way,
    require_custody,
)
from hypermesh.stoq.parcel import (
    check_key,
    check_signed,
    check_way,
    is_credible,
    is_over,
    opened,
    parcel_id,
    publish,
    report,
    reported,
    seal,
)
from hypermesh.wire.api.parcel import Box, ParcelDetail, ParcelPage, ParcelSend, ParcelView
from hypermesh.wire.api.parcel import ParcelState as State
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.ids import GenesisId, Hash, NodeId, parse_hex
from hypermesh.wire.parcel import (
    Parcel,
    ParcelExpired,
    ParcelForged,
    ParcelHeader,
    ParcelKind,
    ParcelOffer,
    ParcelOutcome,
    ParcelSeen,
    ParcelSourceUnknown,
    ParcelTaken,
    ParcelUnreadable,
    SealingKey,
    SealingKeyRequest,
    SealingKeyUnknown,
    SignedSealingKey,
)

ASKED_FOR_KEYS_MAX = 2
"""Other nodes that are asked for a sealing key, beside the sequencer and its own node."""
ASK_TIMEOUT_MS = 5_000
STATE_OF = {
    ParcelOutcome.DELIVERED: State.DELIVERED,
    ParcelOutcome.EXPIRED: State.EXPIRED,
    ParcelOutcome.UNREADABLE: State.UNREADABLE,
}

T = TypeVar("T")
log = logging.getLogger(__name__)


class Caller(Protocol):
    """How other nodes are called: `Peers.call`."""

    def __call__(
        self, node: NodeId, method: str, argument: object, kind: type[T], *, timeout_ms: int = ...
    ) -> T: ...


class Directory(Protocol):
    """Whom the ledger knows: `Neighbours`."""

    def get(self, node: NodeId) -> Known | None: ...

    def all(self) -> list[Neighbour]: ...

    def meant(self, text: str) -> tuple[Known, int | None]: ...


class Post:
    """What every part of a node that deals with parcels needs: who it is, whom it knows, its
    keys, its file of parcels, its clock."""

    def __init__(
        self,
        keys: QuantumKeys,
        genesis: GenesisId,
        own: Neighbour,
        sequencer: NodeId,
        directory: Directory,
        kept: KeptParcels,
        call: Caller,
        now_ms: Callable[[], int],
    ) -> None:
        self.keys = keys
        self.genesis = genesis
        self.own = own
        self.sequencer = sequencer
        self.directory = directory
        self.kept = kept
        self.call = call
        self.now_ms = now_ms

    def way(self, header: ParcelHeader) -> Way | None:
        """What its order of custodians depends on; None where one end is no node any more."""
        source, destination = self._end(header.source), self._end(header.destination)
        if source is None or destination is None:
            return None
        return Way(source, destination, self.sequencer)

    def _end(self, node: NodeId) -> Neighbour | None:
        if node == self.own.node:
            return self.own
        known = self.directory.get(node)
        return None if known is None else known.neighbour

    def learn_key(self, record: SignedSealingKey) -> None:
        """Keep a sealing key that its node has signed. Raises `SignatureInvalid`, or
        `ParcelSourceUnknown` for a node that the ledger does not know."""
        known = self.directory.get(record.key.node)
        if known is None:
            raise ParcelSourceUnknown(f"No such node: {record.key.node.hex()[:16]}")
        check_key(record, known.keys, self.genesis)
        self.kept.keep_key(record)


class Parcels:
    """The parcels of this node, for its owner and for other nodes. By any thread."""

    def __init__(
        self,
        post: Post,
        encryption: QuantumEncryption,
        carry: Carry,
        name: Callable[[NodeId], str],
        came: Callable[[], None],
    ) -> None:
        """`came` is told of each parcel that is to be passed on."""
        self._post = post
        self._kept = post.kept
        self._encryption = encryption
        self._carry = carry
        self._name = name
        self._came = came
        self._taking = threading.Lock()
        self.own_key = publish(post.keys, post.genesis, encryption.public, post.now_ms())

    # For this node's owner

    def send(self, order: ParcelSend) -> ParcelView:
        """Accept a message: it is durable when this returns, and goes by itself from then on."""
        to, port = self._post.directory.meant(order.to)
        if to.neighbour.node == self._post.own.node:
            raise InvalidInput("A node sends no parcels to itself")
        service = order.service if order.service is not None else port or 0
        now_ms = self._post.now_ms()
        self._kept.load().require_room(len(order.body), PARCELS_MAX, BYTES_MAX, "in all")
        parcel = seal(
            self._post.keys,
            self._post.genesis,
            self._sealing_key(to.neighbour),
            service,
            order.body,
            now_ms=now_ms,
            lifetime_ms=order.lifetime_ms,
        )
        self._kept.send(parcel, now_ms)
        self._came()
        return self.get(parcel_id(parcel.header).hex()).parcel

    def page(self, box: Box, service: int | None, cursor: str | None, limit: int) -> ParcelPage:
        """Parcels of one box, newest first; `service` chooses among the received ones."""
        found: list[Sent] | list[Received] | list[Carried]
        if box is Box.SENT:
            found = self._kept.sent(cursor, limit + 1)
        elif box is Box.RECEIVED:
            found = self._kept.received(service, cursor, limit + 1)
        else:
            found = self._kept.carried(cursor, limit + 1)
        items = [self._view(each) for each in found[:limit]]
        more = len(found) > limit
        return ParcelPage(items, str(found[limit - 1].number) if more else None)

    def get(self, parcel: str) -> ParcelDetail:
        """One parcel, with its body where it was received. Raises `UnknownParcel`."""
        found, body = self._kept.one(parse_hex(parcel, 32, "parcel id"))
        return ParcelDetail(self._view(found), body)

    def remove(self, parcel: str) -> ParcelView:
        """Take a received message, or one whose end is known, off the list."""
        identifier = parse_hex(parcel, 32, "parcel id")
        found, _ = self._kept.one(identifier)
        self._kept.remove(identifier)
        return self._view(found)

    # For other nodes

    def take(self, peer: Peer, offer: ParcelOffer) -> ParcelTaken:
        """`parcel.take`: keep a parcel, for this node or for another. Durable when answered.

        The same parcel from the same node is answered again: its first answer was lost.
        """
        parcel, now_ms = offer.parcel, self._post.now_ms()
        identifier = parcel_id(parcel.header)
        check_way(offer, now_ms)
        if is_forgotten(parcel.header, self._kept, now_ms):
            raise ParcelExpired(why="this node has forgotten what expired as early")
        if self._is_again(identifier, peer.id):
            return ParcelTaken(identifier)
        source = self._post.directory.get(parcel.header.source)
        if source is None:
            raise ParcelSourceUnknown(f"No such node: {parcel.header.source.hex()[:16]}")
        check_signed(parcel, source.keys, self._post.genesis)
        with self._taking:
            if not self._is_again(identifier, peer.id):
                self._accept(parcel, peer.id, offer.hops + 1, now_ms)
        self._came()
        return ParcelTaken(identifier)

    def greet(self, peer: Peer, record: SignedSealingKey) -> SignedSealingKey:
        """`parcel.greet`: a node says how to seal for it."""
        if record.key.node != peer.id:
            raise InvalidInput("A node tells its own sealing key only")
        self._post.learn_key(record)
        return self.own_key

    def key(self, peer: Peer, request: SealingKeyRequest) -> SignedSealingKey:
        """`parcel.key`: how to seal for a node. Raises `SealingKeyUnknown`."""
        del peer
        own = request.node == self._post.own.node
        record = self.own_key if own else self._kept.key(request.node)
        if record is None:
            raise SealingKeyUnknown
        return record

    def _is_again(self, parcel: Hash, giver: NodeId) -> bool:
        """Whether the same node has handed it over before. Raises `ParcelSeen` where it came from
        another."""
        before = self._kept.giver_of(parcel)
        if before is None or before == giver:
            return before is not None
        raise ParcelSeen(why=f"node {before.hex()[:16]} handed it over")

    def _accept(self, parcel: Parcel, giver: NodeId, hops: int, now_ms: int) -> None:
        header = parcel.header
        if header.destination != self._post.own.node:
            way = self._post.way(header)
            if way is None:
                raise ParcelSourceUnknown(
                    "The destination of the parcel is no node in this network"
                )
            owner, size = self._post.own.owner, len(parcel.content)
            load, of_giver = self._kept.load(), self._kept.load(giver)
            require_custody(way, owner, self._carry, size, load, of_giver)
            self._kept.take(parcel, giver, hops, now_ms)
        elif header.kind is ParcelKind.REPORT:
            self._hear(parcel, giver)
        else:
            self._receive(parcel, giver, now_ms)

    def _receive(self, parcel: Parcel, giver: NodeId, now_ms: int) -> None:
        keys, genesis, header = self._post.keys, self._post.genesis, parcel.header
        try:
            body = opened(parcel, self._encryption)
        except ParcelUnreadable as error:
            log.warning("a parcel of node %s: %s", header.source.hex()[:16], error)
            answer = report(keys, genesis, header, ParcelOutcome.UNREADABLE, now_ms)
            self._kept.refuse(parcel, giver, answer, now_ms)
        else:
            answer = report(keys, genesis, header, ParcelOutcome.DELIVERED, now_ms)
            self._kept.receive(parcel, body, giver, answer, now_ms)

    def _hear(self, parcel: Parcel, giver: NodeId) -> None:
        said = reported(parcel)
        about = self._kept.sent_header(said.parcel)
        if about is not None and not is_credible(said, parcel.header.source, about):
            raise ParcelForged(why=f"only its destination can say that it was {said.outcome.value}")
        self._kept.learn(parcel, giver, said.parcel, said.outcome, said.at_ms)

    # Keys of others

    def _sealing_key(self, to: Neighbour) -> SealingKey:
        """The key of `to`, asked for where it is not known. Raises `SealingKeyUnknown`."""
        known = self._kept.key(to.node)
        if known is not None:
            return known.key
        post = self._post
        alike = (to.owner, post.own.owner)
        others = [each.node for each in post.directory.all() if each.owner in alike]
        asked = [post.sequencer, to.node, *others]
        reasons = []
        for node in list(dict.fromkeys(asked))[: 2 + ASKED_FOR_KEYS_MAX]:
            if node == post.own.node:
                continue
            try:
                request = SealingKeyRequest(to.node)
                record = post.call(
                    node, "parcel.key", request, SignedSealingKey, timeout_ms=ASK_TIMEOUT_MS
                )
                if record.key.node == to.node:
                    post.learn_key(record)
                    return record.key
            except HyperMeshError as error:
                reasons.append(f"{self._name(node)}: {error.what}")
        raise SealingKeyUnknown(why="; ".join(reasons) or "there is nobody to ask")

    # As the API shows them

    def _view(self, found: Sent | Received | Carried) -> ParcelView:
        header = found.header
        custodian = found.custodian if isinstance(found, Sent) else None
        return ParcelView(
            parcel=found.id.hex(),
            box=_box(found),
            kind=header.kind,
            state=self._state(found),
            source=header.source.hex(),
            source_name=self._name(header.source),
            destination=header.destination.hex(),
            destination_name=self._name(header.destination),
            service=header.service,
            size_bytes=found.size,
            created_ms=header.created_ms,
            expires_ms=header.expires_ms,
            custodian=None if custodian is None else custodian.hex(),
            custodian_name=None if custodian is None else self._name(custodian),
            received_ms=found.received_ms if isinstance(found, Received) else None,
            ended_ms=found.ended_ms if isinstance(found, Sent) else None,
        )

    def _state(self, found: Sent | Received | Carried) -> State:
        if isinstance(found, Received):
            return State.RECEIVED
        if isinstance(found, Carried):
            return State.CARRIED
        if found.outcome is not None:
            return STATE_OF[found.outcome]
        if found.custodian is None:
            return State.WAITING
        over = is_over(found.header, self._post.now_ms())
        return State.UNCONFIRMED if over else State.FORWARDED


def _box(found: Sent | Received | Carried) -> Box:
    if isinstance(found, Sent):
        return Box.SENT
    return Box.RECEIVED if isinstance(found, Received) else Box.CARRIED
