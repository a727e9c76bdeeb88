//! QUIC's settings for one connection, in one place: the tier's and the rest.

use std::net::IpAddr;
use std::sync::Arc;

use quinn_proto::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::controller::ModelConfig;
use super::gauge::Gauge;
use super::tier::{Assessment, Settings, Tier};
use crate::limits::{IDLE_TIMEOUT, KEEP_ALIVE_INTERVAL, LOOPBACK_MTU_BYTES, LOOPBACK_WINDOW_BYTES};

/// What a connection starts with. The gauge belongs to this one connection, so the configuration
/// does too.
pub struct Start {
    pub config: Arc<TransportConfig>,
    pub gauge: Arc<Gauge>,
    pub assessment: Assessment,
}

/// For a connection with `remote`, which may open `streams` bidirectional streams.
pub fn start(remote: IpAddr, streams: u32) -> Start {
    let assessment = Tier::first(remote);
    let gauge = Arc::new(Gauge::default());
    let config = config(
        remote.is_loopback(),
        streams,
        &assessment.settings,
        gauge.clone(),
    );
    Start {
        config: Arc::new(config),
        gauge,
        assessment,
    }
}

fn config(loopback: bool, streams: u32, settings: &Settings, gauge: Arc<Gauge>) -> TransportConfig {
    let model = ModelConfig {
        initial_window: settings.initial_window,
        floor: if loopback { LOOPBACK_WINDOW_BYTES } else { 0 },
        gauge,
    };
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements
        .ack_eliciting_threshold(VarInt::from_u32(settings.ack_threshold))
        .max_ack_delay(Some(settings.ack_delay));
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .stream_receive_window(VarInt::from_u32(settings.stream_window))
        .receive_window(VarInt::from_u32(settings.receive_window))
        .send_window(settings.send_window)
        .ack_frequency_config(Some(acknowledgements))
        .congestion_controller_factory(Arc::new(model))
        .datagram_receive_buffer_size(None);
    if loopback {
        // The path is known, so nothing has to be probed for.
        config
            .initial_mtu(LOOPBACK_MTU_BYTES)
            .mtu_discovery_config(None);
    } else {
        config.mtu_discovery_config(Some(MtuDiscoveryConfig::default()));
    }
    config
}
