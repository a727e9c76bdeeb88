"""The transport of this node as its users see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypermesh.node.peers import Link
from hypermesh.node.refusals import Refusals
from hypermesh.stoq.endpoint import KEY_EXCHANGE, Endpoint, limits
from hypermesh.wire.api.stoq import StoqConnection, StoqLimits, StoqRegions, StoqView
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import ALPN_ENROL, ALPN_NODE, ALPN_SESSION

CONNECTIONS_SHOWN_MAX = 256
"""In one view."""


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
