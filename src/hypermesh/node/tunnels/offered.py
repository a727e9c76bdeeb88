"""The services that a node offers: kept in one file, found by their id, connected by their owner's
word alone."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hypermesh.crypto.files import replace
from hypermesh.node.kept import read
from hypermesh.node.membership import Membership
from hypermesh.node.tunnels.access import check
from hypermesh.node.tunnels.shown import counters, failure
from hypermesh.stoq.request import Request
from hypermesh.stoq.tunnel import Tunnel, service_address, service_id
from hypermesh.wire.api.tunnel import ServiceOffer, ServicePage, ServiceView, Who
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import Conflict, Forbidden, HyperMeshError, InvalidInput, NotFound
from hypermesh.wire.ids import AssetId
from hypermesh.wire.rpc import ALPN_NODE
from hypermesh.wire.tunnel import Opening, Place

SERVICES_MAX = 256


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a service."""

    name: str
    to: str
    who: Who
    named: list[bytes]
    limit: int


@dataclass(frozen=True, slots=True)
class _Offered:
    kept: Kept
    target: Place
    tunnel: Tunnel


class Offered:
    """The services of this node. Any thread."""

    def __init__(self, membership: Membership, file: Path, own_socket: Path) -> None:
        """Raises `FileDamaged`."""
        self._membership = membership
        self._file = file
        self._own_socket = own_socket
        self._lock = threading.Lock()
        kept: list[Kept] = []
        if file.exists():
            kept = read(list[Kept], file, "Remove it: every service must then be offered again")
        self._by_id: dict[AssetId, _Offered] = {
            self._id(each.name): _Offered(each, Place.parse(each.to), Tunnel(each.limit))
            for each in kept
        }

    def offer(self, request: ServiceOffer) -> ServiceView:
        """Offer a service from now on, also after restarts. Raises `InvalidInput`, `Forbidden`,
        `Conflict`."""
        target = Place.parse(request.to)
        if not target.host or (target.port == 0 and target.host[0] != "/"):
            raise InvalidInput(f"{request.to} names no port")
        if target == Place.parse(f"unix:{self._own_socket}"):
            raise Forbidden(
                "The node's own control socket cannot be offered",
                why="whoever reaches it is the owner of the node",
            )
        if bool(request.named) != (request.who is Who.NAMED):
            raise InvalidInput("Nodes and owners are named where the service is for named ones")
        kept = Kept(
            request.name,
            str(target),
            request.who,
            sorted({bytes.fromhex(each) for each in request.named}),
            request.limit,
        )
        made = _Offered(kept, target, Tunnel(request.limit))
        with self._lock:
            if self._id(request.name) in self._by_id:
                raise Conflict(
                    f"This node offers a service {request.name!r} already",
                    fix=f"Withdraw it first: hm tunnel drop {request.name}",
                )
            if len(self._by_id) >= SERVICES_MAX:
                raise Conflict(f"This node offers {SERVICES_MAX} services already")
            self._keep({**self._by_id, self._id(request.name): made})
        return self._view(made)

    def drop(self, name: str) -> ServiceView:
        """Offer it no more, and end what is open on it. Raises `NotFound`."""
        with self._lock:
            found = self._by_id.get(self._id(name))
            if found is None:
                raise NotFound(
                    f"This node offers no service {name[:63]!r}", fix="See `hm tunnel ls`"
                )
            self._keep({key: each for key, each in self._by_id.items() if each is not found})
        view = self._view(found)
        found.tunnel.close()
        return view

    def page(self, cursor: str | None, limit: int) -> ServicePage:
        """Services by name, those after `cursor`."""
        known = sorted(self._by_id.values(), key=lambda each: each.kept.name)
        after = [each for each in known if cursor is None or each.kept.name > cursor]
        items = [self._view(each) for each in after[:limit]]
        return ServicePage(items, items[-1].name if len(after) > limit else None)

    def take(self, request: Request) -> None:
        """Serve a stream that a peer opens. Raises why it is not served."""
        if request.alpn != ALPN_NODE or request.peer_id is None:
            raise Forbidden(f"Services of nodes are not reached over {request.alpn}")
        opening = Opening.unpack(request.body)
        found = self._by_id.get(opening.service)
        if found is None:
            raise NotFound("This node offers no such service", fix="Ask its owner for the address")
        try:
            check(
                found.kept.who,
                found.kept.named,
                self._membership.owner,
                request.peer_id,
                request.peer_owner,
            )
            if opening.carriage is not found.target.carriage:
                raise InvalidInput(
                    f"The service speaks {found.target.family}",
                    fix=f"Listen at {found.target.family}:[::1]:PORT",
                )
        except HyperMeshError as error:
            found.tunnel.refused(error)
            raise
        found.tunnel.serve(request, found.target)

    def close(self) -> None:
        """End what is open."""
        for each in self._by_id.values():
            each.tunnel.close()

    def _id(self, name: str) -> AssetId:
        return service_id(self._membership.genesis_id, self._membership.keys.id, name)

    def _keep(self, by_id: dict[AssetId, _Offered]) -> None:
        replace(self._file, encode([each.kept for each in by_id.values()]))
        self._by_id = by_id

    def _view(self, offered: _Offered) -> ServiceView:
        kept, membership = offered.kept, self._membership
        return ServiceView(
            name=kept.name,
            address=str(service_address(membership.genesis_id, membership.keys.id, kept.name)),
            to=kept.to,
            who=kept.who,
            named=[each.hex() for each in kept.named],
            limit=kept.limit,
            counters=counters(offered.tunnel),
            last_failure=failure(offered.tunnel.last),
        )
