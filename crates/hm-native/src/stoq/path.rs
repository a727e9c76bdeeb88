//! What connections show of themselves, as tuples for `hypermesh/stoq/path.py`.

use stoq::{ConnectionStats, LiveConnection, PathReport};

/// rtt in µs, bytes sent, bytes received, packets sent, packets lost, datagram bytes, window
pub type Stats = (u64, u64, u64, u64, u64, u64, u64);

/// window, pace in bits per second, receive window, send window, stream window, packets and µs that
/// an acknowledgement may wait for, datagrams of one system call
pub type Settings = (u64, u64, u32, u64, u32, u32, u64, u64);

/// tier, reason, phase, what it waits for, bytes in flight, bits per second, least round trip in
/// µs, losses per million, µs waited for each bound, settings
pub type Path = (
    String,
    String,
    &'static str,
    &'static str,
    u64,
    u64,
    u64,
    u32,
    Vec<u64>,
    Settings,
);

/// key, peer, remote, whether this side opened it, ALPN, key exchange group, and both of the above
pub type Live = (
    u64,
    Option<[u8; 32]>,
    (String, u16),
    bool,
    &'static str,
    String,
    Stats,
    Option<Path>,
);

pub fn stats(stats: &ConnectionStats) -> Stats {
    (
        stats.rtt_us,
        stats.bytes_sent,
        stats.bytes_received,
        stats.packets_sent,
        stats.packets_lost,
        stats.mtu_bytes,
        stats.window_bytes,
    )
}

pub fn path(report: PathReport) -> Path {
    let reading = report.reading;
    let settings = report.settings;
    (
        report.tier.name(),
        report.reason,
        reading.phase.name(),
        report.bound.name(),
        reading.in_flight_bytes,
        reading.delivery_rate,
        reading.round_trip_us,
        reading.loss_per_million,
        report.spent.map(|spent| spent.as_micros() as u64).into(),
        (
            reading.window_bytes,
            report.pace,
            settings.receive_window,
            settings.send_window,
            settings.stream_window,
            settings.ack_threshold,
            settings.ack_delay.as_micros() as u64,
            settings.batch_segments as u64,
        ),
    )
}

pub fn live((key, connection): (u64, LiveConnection)) -> Live {
    (
        key,
        connection.peer,
        (connection.remote.ip().to_string(), connection.remote.port()),
        connection.opened,
        connection.alpn.text(),
        connection.group,
        stats(&connection.stats),
        connection.path.map(path),
    )
}
