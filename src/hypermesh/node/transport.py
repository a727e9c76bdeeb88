"""The transport of this node as its users see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypermesh.node.peers import Link
from hypermesh.node.refusals import Refusals
from hypermesh.stoq.endpoint import KEY_EXCHANGE, Endpoint, LiveConnection, limits
from hypermesh.stoq.path import Path
from hypermesh.wire.api.stoq import (
    StoqConnection,
    StoqLimits,
    StoqLink,
    StoqLinkPage,
    StoqPath,
    StoqPathSettings,
    StoqRegions,
    StoqView,
)
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import ALPN_ENROL, ALPN_NODE, ALPN_SESSION

CONNECTIONS_SHOWN_MAX = 256
"""In one view."""
KEY_DIGITS_MAX = 18
"""Of a connection's key, which 64 bits hold."""


class Transport:
    """Reads, by any thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        links: Callable[[], Mapping[NodeId, Link]],
        refusals: Refusals,
        name: Callable[[NodeId], str],
    ) -> None:
        """`links` are the connections that this node dialled."""
        self._endpoint = endpoint
        self._links = links
        self._refusals = refusals
        self._name = name

    def view(self) -> StoqView:
        """The endpoint as it is now."""
        host, port = self._endpoint.address
        stats, sizes = self._endpoint.stats(), self._endpoint.regions.sizes
        return StoqView(
            host=host,
            port=port,
            alpns=[ALPN_NODE, ALPN_ENROL, ALPN_SESSION],
            key_exchange=KEY_EXCHANGE,
            limits=StoqLimits(**limits()),
            connections_open=stats.connections,
            handshakes=stats.handshakes,
            accepted=stats.accepted,
            refused=stats.refused,
            requests_waiting=stats.requests_waiting,
            requests_unanswered=stats.requests_unanswered,
            request_bytes_unanswered=stats.request_bytes_unanswered,
            connections=[
                self._connection(node, link)
                for node, link in sorted(self._links().items())[:CONNECTIONS_SHOWN_MAX]
            ],
            refusals=self._refusals.by_code(),
            regions=StoqRegions(len(sizes), sum(sizes.values())),
        )

    def connections(self, cursor: str | None, limit: int) -> StoqLinkPage:
        """Live connections, oldest first, those after `cursor`. Raises `InvalidInput`."""
        found = self._endpoint.connections(after=_key(cursor), limit=limit + 1)
        items = [self._link(each) for each in found[:limit]]
        return StoqLinkPage(items, str(items[-1].key) if len(found) > limit else None)

    def _link(self, live: LiveConnection) -> StoqLink:
        host, port = live.remote
        stats = live.stats
        return StoqLink(
            key=live.key,
            node=None if live.peer is None else live.peer.hex(),
            name=None if live.peer is None else self._name(live.peer),
            remote=f"[{host}]:{port}",
            opened=live.opened,
            alpn=live.alpn,
            key_exchange=live.negotiated_group,
            rtt_us=stats.rtt_us,
            bytes_sent=stats.bytes_sent,
            bytes_received=stats.bytes_received,
            packets_sent=stats.packets_sent,
            packets_lost=stats.packets_lost,
            datagram_bytes=stats.datagram_bytes,
            window_bytes=stats.window_bytes,
            path=None if live.path is None else _path(live.path),
        )

    def _connection(self, node: NodeId, link: Link) -> StoqConnection:
        return StoqConnection(
            node=node.hex(),
            name=self._name(node),
            alpn=link.alpn,
            since_ms=link.since_ms,
            heard_ms_ago=link.heard_ms_ago,
            rtt_us=link.rtt_us,
            bytes_sent=link.bytes_sent,
            bytes_received=link.bytes_received,
        )


def _path(path: Path) -> StoqPath:
    return StoqPath(
        tier=path.tier,
        reason=path.reason,
        waits_for=path.waits_for,
        shares_bp={bound: round(share * 10_000) for bound, share in path.shares.items()},
        phase=path.phase,
        delivery_rate=path.delivery_rate,
        round_trip_us=path.round_trip_us,
        loss_per_million=path.loss_per_million,
        in_flight_bytes=path.in_flight_bytes,
        settings=StoqPathSettings(**path.settings._asdict()),
    )


def _key(cursor: str | None) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= KEY_DIGITS_MAX):
        raise InvalidInput("The cursor is none that a page has ended with")
    return int(cursor)
