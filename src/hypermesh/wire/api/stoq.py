"""The transport of a node as the API shows it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex32


class StoqLimits(msgspec.Struct, frozen=True):
    """Bounds of the transport, as far as native code names them: bytes of one body and of all that
    wait; requests that wait, of all, of one peer and of strangers (`hm-enrol/1`); streams of one
    connection, both ways and one way; datagrams that wait, of one peer and of all; connections of
    an endpoint, those among them for whom nobody vouches, handshakes under way, I/O threads.

    Windows are those of each connection (`StoqPathSettings`)."""

    body_bytes_max: int
    pending_requests_max: int
    pending_of_peer_max: int
    pending_bytes_max: int
    pending_strangers_max: int
    stranger_body_bytes_max: int
    streams_max: int
    streams_unidirectional_max: int
    datagrams_of_peer_max: int
    datagrams_waiting_max: int
    connections_max: int
    outsiders_max: int
    handshakes_max: int
    shards_max: int


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


class StoqPathSettings(msgspec.Struct, frozen=True):
    """What a connection has made of its path: windows in bytes, the pace in bits per second.

    `window_bytes` may be in flight and leave at `pace` (0 before the first round trip). The other
    end may send `receive_window_bytes` beyond what was read, and `stream_window_bytes` on one
    stream; this one keeps `send_window_bytes` until they are acknowledged. The other end is asked
    to acknowledge after `ack_packets` packets or `ack_delay_us`. One system call sends up to
    `batch_datagrams`, where as many fit into it.
    """

    window_bytes: int
    pace: int
    receive_window_bytes: int
    send_window_bytes: int
    stream_window_bytes: int
    ack_packets: int
    ack_delay_us: int
    batch_datagrams: int


class StoqPath(msgspec.Struct, frozen=True):
    """The path of a connection: its kind, why it is taken for that, and what the connection waits
    for (`sender`, `receiver`, `window`, `loss`, `path` or `idle`), with the share of its time that
    it has waited for each, in parts of 10,000.

    `delivery_rate` is what the path has been seen to carry from this node, in bits per second;
    `round_trip_us` the least of the last seconds, `phase` what congestion control is doing.
    """

    tier: str
    reason: str
    waits_for: str
    shares_bp: dict[str, int]
    phase: str
    delivery_rate: int
    round_trip_us: int
    loss_per_million: int
    in_flight_bytes: int
    settings: StoqPathSettings


class StoqLink(msgspec.Struct, frozen=True):
    """A live connection of this node, whoever opened it (`opened`: this node did). `node` and
    `name` are null for who is nobody, as one that asks for a certificate; `window_bytes` is what
    congestion control lets be in flight."""

    key: int
    node: Hex32 | None
    name: str | None
    remote: str
    opened: bool
    alpn: str
    key_exchange: str
    rtt_us: int
    bytes_sent: int
    bytes_received: int
    packets_sent: int
    packets_lost: int
    datagram_bytes: int
    window_bytes: int
    path: StoqPath | None


class StoqLinkPage(msgspec.Struct, frozen=True):
    """A page of live connections, oldest first; `next_cursor` is null at the end."""

    items: list[StoqLink]
    next_cursor: str | None


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


class StoqMove(Body, frozen=True):
    """`POST /v1/stoq/move`: the UDP port to go to; 0 asks the system for one."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 0


class StoqMoved(msgspec.Struct, frozen=True):
    """Where the endpoint is now, and where it was; `told` nodes knew it before it went."""

    host: str
    port: int
    before: int
    told: int


class StoqView(msgspec.Struct, frozen=True):
    """This node's endpoint.

    `connections_open` counts live connections in both directions; `connections` are those that this
    node dialled, by ascending node id, a bounded number of them; `GET /v1/stoq/connections` has
    all, with what each waits for. `handshakes` are in progress now; `accepted` and `refused` count
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
