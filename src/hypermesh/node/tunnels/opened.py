"""Local sockets that lead to services of other nodes: kept in one file, opened at each start."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hypermesh.crypto.files import replace
from hypermesh.node.kept import read
from hypermesh.node.membership import Membership
from hypermesh.node.tunnels.shown import counters, failure
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.tunnel import Failure, Forwarding, Tunnel, bound_place, listen
from hypermesh.wire.address import GlobalAddress, network_prefix
from hypermesh.wire.api.tunnel import TunnelOpen, TunnelPage, TunnelView
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import Conflict, HyperMeshError, InvalidInput, NotFound
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import SERVICE_TUNNEL
from hypermesh.wire.tunnel import Place

TUNNELS_MAX = 64
ID_BYTES = 8
POLL_S = 0.02
RETRY_S = 5.0
"""Between tries to listen at a place that somebody else has."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a tunnel."""

    id: str
    address: str
    node: NodeId
    listen: str
    limit: int


@dataclass(slots=True)
class _Opened:
    kept: Kept
    tunnel: Tunnel
    forwarding: Forwarding | None
    failed: Failure | None = None


class Opened:
    """The tunnels of this node. Any thread."""

    def __init__(
        self,
        membership: Membership,
        file: Path,
        resolve: Callable[[bytes], NodeId | None],
        dial: Callable[[NodeId], Connection],
        name: Callable[[NodeId], str],
    ) -> None:
        """`resolve` finds a node by the front of its id on the ledger; `dial` gives a new
        connection. Raises `FileDamaged`."""
        self._membership = membership
        self._file = file
        self._resolve = resolve
        self._dial = dial
        self._name = name
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._retrying = threading.Thread(target=self._retry, name="tunnels", daemon=True)
        kept: list[Kept] = []
        if file.exists():
            kept = read(list[Kept], file, "Remove it: every tunnel must then be opened again")
        self._by_id = {each.id: _Opened(each, Tunnel(each.limit), None) for each in kept}

    def start(self) -> None:
        """Listen where this node did before."""
        self._retrying.start()

    def retire(self) -> None:
        """Listen no more. What is open goes on until `stop`."""
        self._stopping.set()
        if self._retrying.is_alive():
            self._retrying.join()
        for each in self._forwardings():
            each.retire()

    def drain(self, within_s: float) -> bool:
        """Wait for the connections that are open; whether all have ended."""
        deadline = time.monotonic() + within_s
        while any(each.is_busy for each in self._forwardings()):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        return True

    def stop(self) -> None:
        """Listen no more, and end what is open."""
        self.retire()
        for each in self._forwardings():
            each.stop()

    def _forwardings(self) -> list[Forwarding]:
        with self._lock:
            found = [each.forwarding for each in self._by_id.values()]
        return [each for each in found if each is not None]

    def open(self, request: TunnelOpen) -> TunnelView:
        """Listen from now on, also after restarts. Raises `InvalidInput`, `NotFound`,
        `BindRefused`, `Conflict`."""
        address = GlobalAddress.parse(request.address)
        node = self._node_of(address)
        asked = Place.parse(request.listen)
        with self._lock:
            if len(self._by_id) >= TUNNELS_MAX:
                raise Conflict(f"This node has {TUNNELS_MAX} tunnels already")
            listener = listen(asked)
            place = bound_place(asked, listener)
            kept = Kept(secrets.token_hex(ID_BYTES), str(address), node, str(place), request.limit)
            tunnel = Tunnel(request.limit)
            forwarding = Forwarding(
                tunnel, listener, place, address.asset_id, lambda: self._dial(node)
            )
            made = _Opened(kept, tunnel, forwarding)
            try:
                self._keep({**self._by_id, kept.id: made})
            except OSError:
                listener.close()
                raise
            forwarding.start()
        return self._view(made)

    def close(self, tunnel_id: str) -> TunnelView:
        """Listen there no more, and end what is open. Raises `NotFound`."""
        with self._lock:
            found = self._by_id.get(tunnel_id)
            if found is None:
                raise NotFound(f"There is no tunnel {tunnel_id[:40]!r}", fix="See `hm tunnel ls`")
            self._keep({key: each for key, each in self._by_id.items() if each is not found})
            view = self._view(found)
            if found.forwarding is not None:
                found.forwarding.stop()
        return view

    def page(self, cursor: str | None, limit: int) -> TunnelPage:
        """Tunnels by ascending id, those after `cursor`."""
        known = sorted(self._by_id.values(), key=lambda each: each.kept.id)
        after = [each for each in known if cursor is None or each.kept.id > cursor]
        items = [self._view(each) for each in after[:limit]]
        return TunnelPage(items, items[-1].id if len(after) > limit else None)

    def _node_of(self, address: GlobalAddress) -> NodeId:
        if address.network_prefix != network_prefix(self._membership.genesis_id):
            raise InvalidInput("The address is on another network")
        if address.service_port != SERVICE_TUNNEL:
            raise InvalidInput(
                f"The address is not that of a service: it ends with :{address.service_port}",
                fix="Copy an address from `hm tunnel ls` of the node that offers the service",
            )
        node = self._resolve(address.node_id)
        if node is None:
            raise NotFound(f"No node of this network has an id {address.node_id.hex()}...")
        return node

    def _retry(self) -> None:
        """Until all listen: another program may have the place for a while."""
        while not self._stopping.is_set():
            with self._lock:
                waiting = [each for each in self._by_id.values() if each.forwarding is None]
                for each in waiting:
                    self._listen_again(each)
                left = any(each.forwarding is None for each in waiting)
            if not left or self._stopping.wait(RETRY_S):
                return

    def _listen_again(self, opened: _Opened) -> None:
        kept, place = opened.kept, Place.parse(opened.kept.listen)
        try:
            listener = listen(place)
        except HyperMeshError as error:
            opened.failed = Failure(error, time.time_ns() // 1_000_000)
            return
        service = GlobalAddress.parse(kept.address).asset_id
        opened.forwarding = Forwarding(
            opened.tunnel, listener, place, service, lambda: self._dial(kept.node)
        )
        opened.forwarding.start()
        opened.failed = None

    def _keep(self, by_id: dict[str, _Opened]) -> None:
        replace(self._file, encode([each.kept for each in by_id.values()]))
        self._by_id = by_id

    def _view(self, opened: _Opened) -> TunnelView:
        kept = opened.kept
        return TunnelView(
            id=kept.id,
            address=kept.address,
            node=kept.node.hex(),
            node_name=self._name(kept.node),
            listen=kept.listen,
            limit=kept.limit,
            listening=opened.forwarding is not None and opened.forwarding.alive,
            counters=counters(opened.tunnel),
            last_failure=failure(opened.failed or opened.tunnel.last),
        )
