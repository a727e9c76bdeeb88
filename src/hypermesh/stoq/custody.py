"""Who keeps a parcel, and to whom it goes next. Pure.

The custodian of a parcel has promised to keep it until another has taken it or it has expired
(RFC 9171 left custody to its predecessor, RFC 5050 section 5.10; the meaning here is that one).
There is one custodian at a time. Each passes it on to a better one only, and better is an order of
the nodes that all agree on, so a parcel cannot go round:

    0  its destination
    1  the sequencer, which every node calls when it comes up
    2  another node of the destination's owner
    3  any other node
    4  its source, before the first hop
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from hypermesh.wire.ids import NodeId, OwnerId
from hypermesh.wire.parcel import CustodyDeclined, ParcelsFull

PARCELS_MAX = 10_000
BYTES_MAX = 512 << 20
"""Of all parcels in custody, together."""
PARCELS_OF_ONE_MAX = 1_000
BYTES_OF_ONE_MAX = 64 << 20
"""Of those that one node has handed over."""
INBOX_PARCELS_MAX = 10_000
INBOX_BYTES_MAX = 256 << 20

CANDIDATES_MAX = 8
"""Nodes that one round tries for one parcel."""
RETRY_MS_MIN = 1_000
RETRY_MS_MAX = 5 * 60 * 1000
DOUBLINGS_MAX = 16


class Carry(enum.StrEnum):
    """For whom a node keeps parcels that are neither from it nor to it."""

    OWN = "own"
    """For nodes of the same owner: such a node is the source or the destination."""
    NETWORK = "network"
    """For every node of the network."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A node that may be asked to take a parcel."""

    node: NodeId
    owner: OwnerId


@dataclass(frozen=True, slots=True)
class Way:
    """What the order of custodians depends on."""

    source: Neighbour
    destination: Neighbour
    sequencer: NodeId

    def rank(self, neighbour: Neighbour) -> int:
        """The place of a node in the order above."""
        if neighbour.node == self.destination.node:
            return 0
        if neighbour.node == self.source.node:
            return 4
        if neighbour.node == self.sequencer:
            return 1
        return 2 if neighbour.owner == self.destination.owner else 3

    def next_hops(self, own: Neighbour, known: Iterable[Neighbour]) -> list[NodeId]:
        """Whom to offer the parcel, the best first; among equals the source's own machines first,
        then those whose ids are closest to the destination's: the same ones on every try."""
        mine = self.rank(own)
        better = {each.node: each for each in known if self.rank(each) < mine}

        def order(each: Neighbour) -> tuple[int, bool, int]:
            apart = int.from_bytes(each.node, "big") ^ int.from_bytes(self.destination.node, "big")
            return self.rank(each), each.owner != self.source.owner, apart

        return [each.node for each in sorted(better.values(), key=order)[:CANDIDATES_MAX]]


@dataclass(frozen=True, slots=True)
class Load:
    """Parcels in custody: how many, and their bytes."""

    parcels: int = 0
    size: int = 0

    def require_room(self, size: int, parcels_max: int, size_max: int, whose: str) -> None:
        """Raise `ParcelsFull` where one more of `size` bytes would be too much."""
        if self.parcels + 1 > parcels_max or self.size + size > size_max:
            raise ParcelsFull(why=f"{whose}: {self.parcels} parcels in {self.size} bytes are here")


def require_custody(
    way: Way, owner: OwnerId, carry: Carry, size: int, everybody: Load, giver: Load
) -> None:
    """Return where a node of `owner` takes a parcel of `size` bytes for others. Raises
    `CustodyDeclined`, or `ParcelsFull`: nothing that was accepted makes room for it."""
    is_own = owner in (way.source.owner, way.destination.owner)
    if not is_own and carry is not Carry.NETWORK:
        raise CustodyDeclined(why="it carries for nodes of its own owner alone")
    everybody.require_room(size, PARCELS_MAX, BYTES_MAX, "in all")
    giver.require_room(size, PARCELS_OF_ONE_MAX, BYTES_OF_ONE_MAX, "from the node that offers it")


def retry_after_ms(tries: int, lot: int) -> int:
    """How long to wait after `tries` rounds without success: twice as long each time, up to
    `RETRY_MS_MAX`, and up to a quarter less by `lot`, so that many do not come back together."""
    whole = min(RETRY_MS_MIN << min(max(tries - 1, 0), DOUBLINGS_MAX), RETRY_MS_MAX)
    return whole - lot % (whole // 4 + 1)
