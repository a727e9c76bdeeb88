"""Nodes that pass parcels on under one virtual clock: the real rooms, files and signatures, with
calls in place of connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypermesh.crypto.encryption import QuantumEncryption
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.node.neighbours import Known, NodeUnknown
from hypermesh.node.parcels import Parcels, Post
from hypermesh.node.parcels_kept import KeptParcels
from hypermesh.node.parcels_passing import Passing
from hypermesh.node.service import Peer
from hypermesh.stoq.custody import Carry, Neighbour
from hypermesh.stoq.errors import HandshakeTimeout
from hypermesh.wire.api.parcel import Box, ParcelSend, ParcelView
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import error_from
from hypermesh.wire.parcel import ParcelOffer, SealingKeyRequest, SignedSealingKey
from hypermesh.wire.rpc import ALPN_NODE

GENESIS = b"g" * 32
START_MS = 1_800_000_000_000
ARGUMENTS: dict[str, Any] = {
    "parcel.take": ParcelOffer,
    "parcel.greet": SignedSealingKey,
    "parcel.key": SealingKeyRequest,
}


class PowerCut(BaseException):
    """The node is gone at this instant."""


@dataclass
class Station:
    """One node: its keys and files stay, its process comes and goes."""

    world: World
    name: str
    owner: bytes
    carry: Carry
    file: Path
    keys: QuantumKeys = field(default_factory=QuantumKeys.generate)
    encryption: QuantumEncryption = field(default_factory=QuantumEncryption.generate)
    is_up: bool = False
    clock_off_ms: int = 0
    post: Post = field(init=False)
    parcels: Parcels = field(init=False)
    passing: Passing = field(init=False)

    @property
    def neighbour(self) -> Neighbour:
        return Neighbour(self.keys.id, self.owner)

    def up(self) -> None:
        world = self.world
        self.post = Post(
            self.keys,
            GENESIS,
            self.neighbour,
            world.sequencer.keys.id,
            world,
            KeptParcels(self.file, self.keys.id),
            world.caller(self),
            lambda: world.now_ms + self.clock_off_ms,
        )
        self.passing = Passing(self.post)
        self.parcels = Parcels(
            self.post,
            self.encryption,
            self.carry,
            lambda node: world.by_id(node).name,
            self.passing.wake,
        )
        self.passing.introduce(self.parcels.own_key)
        self.passing._appeared = True
        self.is_up = True

    def down(self) -> None:
        self.is_up = False
        self.post.kept.close()

    def send(self, to: Station, body: bytes = b"hello", **more: Any) -> ParcelView:
        return self.parcels.send(ParcelSend(to=to.keys.id.hex(), body=body, **more))

    def box(self, box: Box) -> list[ParcelView]:
        return self.parcels.page(box, None, None, 500).items

    def state_of(self, parcel: str) -> str:
        return self.parcels.get(parcel).parcel.state.value

    def bodies(self) -> list[bytes | None]:
        return [self.parcels.get(each.parcel).body for each in self.box(Box.RECEIVED)]


class World:
    """All of them, and what the ledger says of each. The first one sequences."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stations: dict[str, Station] = {}
        self.now_ms = START_MS
        self.calls: list[tuple[str, str, str]] = []
        self.revoked: set[bytes] = set()
        self.disturb: Callable[[Station, Station, str, str], None] = lambda *_: None
        """Called at each instant of a call: `asked`, before the other node gets it; `answered`,
        when it has done its part and the answer is not there yet."""

    def add(self, name: str, owner: str = "", carry: Carry = Carry.OWN) -> Station:
        file = self.directory / f"{name}.sqlite"
        station = Station(self, name, (owner or name).encode().ljust(32, b"."), carry, file)
        self.stations[name] = station
        return station

    def __getitem__(self, name: str) -> Station:
        return self.stations[name]

    @property
    def sequencer(self) -> Station:
        return next(iter(self.stations.values()))

    def by_id(self, node: bytes) -> Station:
        return next(each for each in self.stations.values() if each.keys.id == node)

    # The directory

    def get(self, node: bytes) -> Known | None:
        for each in self.stations.values():
            if each.keys.id == node and node not in self.revoked:
                return Known(each.neighbour, each.keys.public)
        return None

    def all(self) -> list[Neighbour]:
        return [each.neighbour for each in self.stations.values()]

    def meant(self, text: str) -> tuple[Known, int | None]:
        known = self.get(bytes.fromhex(text))
        if known is None:
            raise NodeUnknown
        return known, None

    # The network

    def caller(self, caller: Station) -> Any:
        def call(
            node: bytes, method: str, argument: object, kind: type, *, timeout_ms: int = 0
        ) -> object:
            other = self.by_id(node)
            if not (other.is_up and caller.is_up):
                raise HandshakeTimeout
            self.calls.append((caller.name, other.name, method))
            self.disturb(caller, other, method, "asked")
            answer = self.handle(caller, other, method, argument)
            self.disturb(caller, other, method, "answered")
            return decode(kind, answer)

        return call

    def handle(self, caller: Station, other: Station, method: str, argument: object) -> bytes:
        """As a node's service does, over the wire's encoding and with the caller's proven id."""
        silent = not hasattr(other, "_heard") or caller.name not in other._heard
        other.passing.heard(caller.keys.id, None if silent else 0)
        other.__dict__.setdefault("_heard", set()).add(caller.name)
        peer = Peer(caller.keys.id, caller.owner, ALPN_NODE, bytes(32))
        read: Any = decode(ARGUMENTS[method], encode(argument))
        answer = {
            "parcel.take": other.parcels.take,
            "parcel.greet": other.parcels.greet,
            "parcel.key": other.parcels.key,
        }[method]
        try:
            return encode(answer(peer, read))
        except Exception as error:
            problem = getattr(error, "problem", None)
            if problem is None:
                raise
            raise error_from(problem) from error

    def turn(self, minutes: float = 0) -> None:
        """Time goes on, and every node that is up does what is due."""
        self.now_ms += int(minutes * 60_000)
        for _ in range(4):
            for each in list(self.stations.values()):
                if each.is_up:
                    each.passing.round()

    def only(self, *names: str) -> None:
        """These nodes are up and no others."""
        for name, each in self.stations.items():
            if each.is_up and name not in names:
                each.down()
        for name in names:
            if not self[name].is_up:
                self[name].up()
        self.turn()
