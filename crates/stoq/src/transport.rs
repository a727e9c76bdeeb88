//! QUIC's settings for a path.

use std::net::IpAddr;
use std::sync::Arc;

use crate::limits::*;
use crate::quic::congestion::CubicConfig;
use crate::quic::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

/// For a connection with `remote`, which may open so many `streams`. On loopback the path is known,
/// so nothing has to be probed for.
pub fn config(remote: IpAddr, streams: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_UNIDIRECTIONAL_MAX.min(streams)))
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    if remote.is_loopback() {
        let mut cubic = CubicConfig::default();
        cubic.initial_window(LOOPBACK_WINDOW_BYTES);
        config
            .stream_receive_window(VarInt::from_u32(LOOPBACK_STREAM_WINDOW_BYTES))
            .initial_mtu(LOOPBACK_MTU_BYTES)
            .mtu_discovery_config(None)
            .congestion_controller_factory(Arc::new(cubic));
    } else {
        config.mtu_discovery_config(Some(MtuDiscoveryConfig::default()));
    }
    config
}
