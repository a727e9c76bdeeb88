"""The transport of a node as the API shows it."""

from __future__ import annotations

import msgspec

from hypermesh.wire.api.body import Hex32


class StoqLimits(msgspec.Struct, frozen=True):
    """Bounds of the transport, as far as native code names them: bytes of one body and of all that
    wait; requests that wait, those of strangers (`hm-enrol/1`) apart; streams of one connection.
    Others (connections, handshakes, windows) are compiled in and not told."""

    body_bytes_max: int
    pending_requests_max: int
    pending_bytes_max: int
    pending_strangers_max: int
    stranger_body_bytes_max: int
    streams_max: int


class StoqConnection(msgspec.Struct, frozen=True):
    """A connection that this node dialled and keeps: to whom, since when, and its bytes so far."""

    node: Hex32
    name: str
    alpn: str
    since_ms: int
    heard_ms_ago: int
    rtt_us: int
    bytes_sent: int
    bytes_received: int


class StoqRefusals(msgspec.Struct, frozen=True):
    """Peers refused for one reason: how many of those remembered, and when the last was."""

    code: str
    title: str
    count: int
    last_ms: int


class StoqRegions(msgspec.Struct, frozen=True):
    """Memory regions that this node serves now."""

    count: int
    bytes: int


class StoqView(msgspec.Struct, frozen=True):
    """This node's endpoint.

    `connections_open` counts live connections in both directions; `connections` are those that this
    node dialled, by ascending node id, a bounded number of them. Native code does not tell those
    that others dialled one by one. `handshakes` are in progress now; `accepted` and `refused` count
    since the node was started; `refusals` are the reasons of the last ones, the most recent first.
    """

    host: str
    port: int
    alpns: list[str]
    key_exchange: str
    limits: StoqLimits
    connections_open: int
    handshakes: int
    accepted: int
    refused: int
    requests_waiting: int
    requests_unanswered: int
    request_bytes_unanswered: int
    connections: list[StoqConnection]
    refusals: list[StoqRefusals]
    regions: StoqRegions
