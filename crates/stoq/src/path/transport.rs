//! QUIC's settings for one connection, in one place: the tier's and the rest.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::controller::ModelConfig;
use super::gauge::Gauge;
use super::monitor::Monitor;
use super::room::{Room, Rooms};
use super::tier::Tier;
use crate::limits::*;
use crate::route::{is_loopback, Link};

/// What a connection starts with. Its monitor reads the gauge that its controller writes, so both
/// are for this one connection.
pub struct Start {
    pub config: TransportConfig,
    pub monitor: Monitor,
}

/// For a connection with `remote`, which may open `streams` bidirectional streams. `link`: the
/// first one towards it, where that is known. `rooms`: of the endpoint.
pub fn start(
    now: Instant,
    remote: SocketAddr,
    streams: u32,
    link: Option<Link>,
    rooms: &Rooms,
) -> Start {
    let gauge = Arc::new(Gauge::default());
    let address = remote.ip();
    let within_host = link.map_or(is_loopback(address), |link| link.within_host);
    let room = within_host.then(|| rooms.at(remote));
    let carries = link.map(|link| link.payload_bytes_max);
    Start {
        config: settings(within_host, streams, carries, room, gauge.clone()),
        monitor: Monitor::new(now, address, within_host, gauge),
    }
}

/// The same for connections that nobody watches.
pub fn config(remote: IpAddr, streams: u32) -> TransportConfig {
    settings(is_loopback(remote), streams, None, None, Arc::default())
}

fn settings(
    within_host: bool,
    streams: u32,
    link: Option<u16>,
    room: Option<Arc<Room>>,
    gauge: Arc<Gauge>,
) -> TransportConfig {
    let settings = Tier::first(within_host).settings;
    let model = ModelConfig {
        initial_window: settings.initial_window,
        floor: if within_host { LOOPBACK_FLOOR_BYTES } else { 0 },
        room,
        ack_threshold: settings.ack_threshold,
        ack_delay: settings.ack_delay,
        gauge,
    };
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements
        .ack_eliciting_threshold(VarInt::from_u32(settings.ack_threshold))
        .max_ack_delay(Some(settings.ack_delay));
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_UNIDIRECTIONAL_FIRST.min(streams)))
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .stream_receive_window(VarInt::from_u32(settings.stream_window))
        .receive_window(VarInt::from_u32(settings.receive_window))
        .send_window(settings.send_window)
        .ack_frequency_config(Some(acknowledgements))
        .congestion_controller_factory(Arc::new(model))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    config
        .initial_mtu(INITIAL_MTU_BYTES)
        .mtu_discovery_config(Some(discovery(within_host, link)));
    config
}

/// How a path that starts with [`INITIAL_MTU_BYTES`], as every path does, comes to what it carries.
fn discovery(within_host: bool, link: Option<u16>) -> MtuDiscoveryConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.black_hole_cooldown(BLACK_HOLE_PAUSE);
    if within_host {
        // The search ends with its bound once its next step is smaller than this, and the first one
        // is: so the first probe asks for all. Each step on the way would cost as much as 64 KiB of
        // data. Behind a relay that carries less, the search ends where it began.
        let bound = link.unwrap_or(LOOPBACK_MTU_BYTES);
        let step = bound.saturating_sub(INITIAL_MTU_BYTES) / 2 + 1;
        discovery
            .upper_bound(bound)
            .minimum_change(step)
            .interval(LOOPBACK_SEARCH_INTERVAL)
            .black_hole_cooldown(LOOPBACK_BLACK_HOLE_PAUSE);
    } else if let Some(link) = link {
        discovery.upper_bound(link);
    }
    discovery
}
