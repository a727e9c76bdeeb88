//! Every bound of the transport, in one place. Units stand last in the names.

use std::time::Duration;

/// Bytes; the longest request body and the longest answer.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Requests of one endpoint that are received or being received and not yet answered.
pub const PENDING_REQUESTS_MAX: usize = 512;

/// Those of one peer over all its connections.
pub const PENDING_OF_PEER_MAX: usize = 384;

/// Bytes; the sum of the bodies of those requests. No peer has all of it.
pub const PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The same for strangers on `hm-enrol/1`, who can be anyone, so that they cannot fill the queue.
pub const PENDING_STRANGERS_MAX: usize = 32;

/// Bytes; the longest request body of a stranger.
pub const STRANGER_BODY_BYTES_MAX: usize = 64 * 1024;

/// Bidirectional streams a peer may have open on one connection. Below `PENDING_REQUESTS_MAX`, so
/// that one connection alone cannot fill the queue of an endpoint.
pub const STREAMS_MAX: u32 = 128;

/// Streams one way that a peer may have open on one connection.
pub const STREAMS_UNIDIRECTIONAL_MAX: u32 = 32;

/// Of both, what it may have open at first. Each stream that may be opened takes 64 bytes for the
/// life of the connection, so there are more only for those who use them.
pub const STREAMS_FIRST: u32 = 16;
pub const STREAMS_UNIDIRECTIONAL_FIRST: u32 = 4;

/// Bytes; datagrams of a connection that wait to be sent, and the same of those received that
/// nobody has looked at. Beyond, senders wait, and the oldest of those received are dropped.
pub const DATAGRAM_BUFFER_BYTES: usize = 1024 * 1024;

/// Datagrams of an endpoint that wait for a service.
pub const DATAGRAMS_WAITING_MAX: usize = 4096;

/// The same for one connection.
pub const DATAGRAMS_OF_PEER_MAX: usize = 512;

/// Bytes; the sum of the datagrams of an endpoint that wait. No peer has all of it, over however many
/// connections ([`crate::places`]).
pub const DATAGRAM_BYTES_WAITING_MAX: usize = 16 * 1024 * 1024;

/// Connections that others have opened to one endpoint, at 40 KB each. Above the 10,000 that are
/// promised, because one whose client has gone without a word counts until it is idle for too long.
///
/// Nobody has them all, nor those of the two bounds that follow ([`crate::places`]).
pub const CONNECTIONS_MAX: usize = 16_384;

/// The same for those whose keys are free to make, so that they leave room for whom somebody vouches
/// for: strangers on `hm-enrol/1`, and on `hm-session/1` where everybody is let in.
#[cfg(not(test))]
pub const OUTSIDERS_MAX: usize = 4096;
#[cfg(test)]
pub const OUTSIDERS_MAX: usize = 48;

/// Handshakes and admissions in progress at one endpoint.
pub const HANDSHAKES_MAX: usize = 256;

/// Handshakes in progress above which a client must first show that it receives at its address
/// (RFC 9000 section 8.1.2).
pub const HANDSHAKES_UNVALIDATED_MAX: usize = 64;

/// Times what came from an address, which a server sends there before it is shown to be the
/// client's (RFC 9000 section 8.1).
pub const AMPLIFICATION_MAX: u64 = 3;

/// From the first packet to an admitted peer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Without any packet from the peer a connection is lost after this time.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// An idle connection sends a packet after this time, below `IDLE_TIMEOUT` by a few losses.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(8);

/// From the first byte of a request to its last; a slower sender loses the stream.
pub const REQUEST_RECEIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// For a peer to take an answer.
pub const ANSWER_SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two chunks of a bulk transfer or an echo, in either direction.
pub const BULK_STALL_TIMEOUT: Duration = Duration::from_secs(20);

/// For the closing packets of an endpoint to leave.
pub const CLOSE_WAIT: Duration = Duration::from_millis(250);

/// Bytes; what a peer may at first send on all streams together beyond what has been read.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Bytes; what a connection on this host keeps to send again until the peer has acknowledged it.
pub const SEND_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes; between these the windows of a connection follow its path (`path::tier`).
pub const PATH_WINDOW_BYTES_MIN: u32 = 4 * 1024 * 1024;
pub const PATH_WINDOW_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Bytes; the same for one stream, which cannot follow. quinn-proto ends a connection over 1,024
/// gaps in one stream, and 1 % of the datagrams in this window, lost twice, stay below.
pub const PATH_STREAM_BYTES: u32 = 32 * 1024 * 1024;

/// Bytes; asked of the kernel for a socket, which grants at most its own limit.
pub const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Bytes; the largest UDP payload over IPv6 without jumbograms, and so the largest GSO batch.
pub const UDP_PAYLOAD_BYTES_MAX: usize = 65_535 - 40 - 8;

/// Sockets, and so I/O threads, of one endpoint.
pub const SHARDS_MAX: usize = 64;

/// Datagrams that one system call sends. The kernel takes as many.
pub const SEGMENTS_MAX: usize = 64;

/// Batches of a connection that one flush sends, before others have their turn.
pub const TRANSMITS_PER_FLUSH_MAX: usize = 8;

/// Bytes; a received batch that is handed on without a copy, because so much of it is payload.
pub const RECEIVE_DENSE_BYTES: usize = 8 * 1024;

/// Receive buffers of 64 KiB of a shard in use elsewhere; beyond, what is received is copied.
pub const RECEIVE_LENT_MAX: usize = 64;

/// Datagrams that wait for a shard because the kernel gave them to another one.
pub const FORWARDED_MAX: usize = 1024;

/// Tasks that an I/O thread runs before it looks at its socket again.
pub const TASKS_PER_TURN_MAX: usize = 256;

/// How long a thread that waits asks the kernel again and again before it sleeps. A wake-up across
/// cores takes as long.
pub const SPIN: Duration = Duration::from_micros(60);

/// Bytes of one system call from which on a shard moves bulk data, where asking again and again takes
/// more from the ends than it spares them: what is under way lasts longer than a wake-up.
pub const BULK_BYTES: usize = 32 * 1024;

/// Smaller calls in a row until it no longer does; acknowledgements lie between the large ones.
pub const BULK_CALLS: u32 = 16;

/// How long received bulk data may wait for a thread that has left the socket and will likely be back,
/// before the I/O thread takes it: handing the socket over and back costs more than what it brings.
pub const BULK_ABSENCE_MAX: Duration = Duration::from_millis(1);

/// Bytes; the datagrams of a connection at first, which every path carries (RFC 9000 section 14).
pub const INITIAL_MTU_BYTES: u16 = 1200;

/// Bytes; the same where both ends are on this host, once that is proven.
pub const LOOPBACK_MTU_BYTES: u16 = UDP_PAYLOAD_BYTES_MAX as u16;

/// Bytes; the same for one stream where both ends are on this host: what is under way then stays in
/// the caches, and below what the socket of a receiver that is late holds.
pub const LOOPBACK_STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// A longer round trip to an address of this host goes through something that makes it a network.
pub const LOOPBACK_ROUND_TRIP_MAX: Duration = Duration::from_millis(5);

/// The same for what bounds connections by the socket of a receiver on this host: the threads of both
/// ends may be late by this much on busy cores.
pub const ROOM_ROUND_TRIP_MAX: Duration = Duration::from_millis(20);

/// Bytes; what a connection over loopback may have in flight at first.
pub const LOOPBACK_WINDOW_BYTES: u64 = 1024 * 1024;

/// Bytes; what it may have in flight always, for flow control is what bounds it then.
pub const LOOPBACK_FLOOR_BYTES: u64 = 4 * 1024 * 1024;

/// How long datagrams stay small after large ones seemed to get nowhere. It may have been a receiver
/// that was late: a full socket has room for small ones alone. Where it was not, three probes say so,
/// and there are no more until the next search.
pub const BLACK_HOLE_PAUSE: Duration = Duration::from_secs(2);
pub const LOOPBACK_BLACK_HOLE_PAUSE: Duration = Duration::from_millis(50);

/// Between two searches for a larger datagram within a host, where one that found nothing may have met
/// a receiver that was late. Elsewhere it is ten minutes (RFC 8899 section 5.1.1).
pub const LOOPBACK_SEARCH_INTERVAL: Duration = Duration::from_secs(20);

/// Bytes; one step of a bulk transfer out of a region, copied under the region's lock.
pub const CHUNK_BYTES: usize = 128 * 1024;

/// Streams of one tunnel.
pub const TUNNEL_STREAMS_MAX: usize = 1024;

/// For a local service to take the connection of a tunnel.
pub const TUNNEL_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For a peer to allow one more stream of a tunnel and take its opening.
pub const TUNNEL_OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes; one step of a tunnel out of a local socket.
pub const TUNNEL_READ_BYTES: usize = 64 * 1024;

/// Bytes; what one direction of a tunnel moves before others on its thread have their turn.
pub const TUNNEL_TURN_BYTES: u64 = 256 * 1024;

/// Senders of datagrams to one local socket at a time; each has a stream. Below `STREAMS_MAX`.
pub const TUNNEL_SENDERS_MAX: usize = 96;

/// Datagrams of one sender that wait for its stream; more are lost.
pub const TUNNEL_DATAGRAMS_WAITING_MAX: usize = 64;

/// A stream of datagrams on which nothing moves ends after this time (RFC 4787 section 4.3 asks
/// the same of a NAT: two minutes).
pub const TUNNEL_DATAGRAM_IDLE: Duration = Duration::from_secs(120);

/// Bytes; the longest UDP datagram over IPv6 or IPv4 without jumbograms.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Refusals kept for whoever asks; the oldest are dropped.
pub const REFUSALS_MAX: usize = 256;

/// Completed asynchronous calls handed to the event loop at once.
pub const DRAIN_MAX: usize = 256;

/// Ranges of one gather or scatter; longer ones go in several operations.
pub const RANGES_MAX: usize = 1024;

/// Requests or operations of one batch that are in flight, as many as a peer takes of streams.
pub const PIPELINED_MAX: usize = STREAMS_MAX as usize;

/// Bytes; what is up to this is copied behind its header, what is longer is handed down as it is.
pub const JOINED_BYTES_MAX: usize = 8 * 1024;

/// Regions of one endpoint.
pub const REGIONS_MAX: usize = 4096;

/// Grants of one region.
pub const GRANTS_MAX: usize = 1024;

/// Bytes; the longest reason sent with a close.
pub const REASON_BYTES_MAX: usize = 512;

/// Asynchronous calls of one event loop that have not completed.
pub const CALLS_MAX: usize = 4096;

/// Bytes; the longest first message of a TLS handshake that is read.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

/// How long a ticket is good for resumption, if no certificate ends before.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(3600);

/// Tickets offered to one peer, and tickets held for one destination.
pub const TICKETS_PER_PEER_MAX: usize = 4;

/// Tickets that an endpoint has offered to others.
pub const TICKETS_OFFERED_MAX: usize = 4096;

/// Bytes; the longest of them. It holds the client's certificate chain.
pub const TICKET_BYTES_MAX: usize = 64 * 1024;

/// Bytes; all of them together.
pub const TICKET_BYTES_TOTAL_MAX: usize = 16 * 1024 * 1024;

/// Tickets that an endpoint holds of others.
pub const TICKETS_HELD_MAX: usize = 256;

/// How long a connection uses one key (RFC 9001 section 6.6 bounds packets; this bounds time too).
pub const KEY_LIFETIME: Duration = Duration::from_secs(3600);

/// Bytes; how much a connection sends and receives under one key.
pub const KEY_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// Between two looks at the age of keys.
pub const KEY_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Connections of one open endpoint.
pub const OPEN_CONNECTIONS_MAX: usize = 1024;

/// Clients of an open endpoint that nobody has taken yet.
pub const OPEN_BACKLOG_MAX: usize = 64;

/// Between two looks at what still runs while an endpoint drains.
pub const DRAIN_STEP: Duration = Duration::from_millis(5);
