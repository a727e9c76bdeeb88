//! What a congestion controller shows to others while the connection owns it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What the controller is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Looking for the path's rate by doubling.
    #[default]
    Startup = 0,
    /// Emptying the queue that this has built.
    Drain = 1,
    /// At the path's rate, now and then trying more.
    Cruise = 2,
    ProbeUp = 3,
    ProbeDown = 4,
    /// Nearly silent for a moment, to see the round-trip time without a queue.
    ProbeRoundTrip = 5,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Startup => "startup",
            Phase::Drain => "drain",
            Phase::Cruise => "cruise",
            Phase::ProbeUp => "probe-up",
            Phase::ProbeDown => "probe-down",
            Phase::ProbeRoundTrip => "probe-rtt",
        }
    }

    fn from_bits(bits: u32) -> Phase {
        match bits {
            1 => Phase::Drain,
            2 => Phase::Cruise,
            3 => Phase::ProbeUp,
            4 => Phase::ProbeDown,
            5 => Phase::ProbeRoundTrip,
            _ => Phase::Startup,
        }
    }
}

/// One reading. Its parts may be of neighbouring moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub window_bytes: u64,
    pub in_flight_bytes: u64,
    /// Bits per second that the path has been seen to deliver; 0 before the first sample.
    pub delivery_rate: u64,
    /// Microseconds; the least of the last seconds, 0 before the first.
    pub round_trip_us: u64,
    /// Losses per million packets' worth of bytes, over the last interval with enough of them.
    pub loss_per_million: u32,
    pub phase: Phase,
    /// Loss or ECN holds the window below what the model of the path would allow.
    pub held_by_loss: bool,
    /// At the last acknowledgement there was nothing to send, or no leave of the receiver to.
    pub application_limited: bool,
}

impl Reading {
    pub fn round_trip(&self) -> Option<Duration> {
        (self.round_trip_us > 0).then(|| Duration::from_micros(self.round_trip_us))
    }
}

/// Written by the controller, read by whoever shares it. Without locks: a reader is never waited
/// for.
#[derive(Debug, Default)]
pub struct Gauge {
    window: AtomicU64,
    in_flight: AtomicU64,
    delivery_rate: AtomicU64,
    round_trip_us: AtomicU64,
    loss_per_million: AtomicU32,
    /// Phase in the low byte, the two flags above it.
    state: AtomicU32,
}

const HELD_BY_LOSS: u32 = 1 << 8;
const APPLICATION_LIMITED: u32 = 1 << 9;

impl Gauge {
    pub fn read(&self) -> Reading {
        let state = self.state.load(Relaxed);
        Reading {
            window_bytes: self.window.load(Relaxed),
            in_flight_bytes: self.in_flight.load(Relaxed),
            delivery_rate: self.delivery_rate.load(Relaxed),
            round_trip_us: self.round_trip_us.load(Relaxed),
            loss_per_million: self.loss_per_million.load(Relaxed),
            phase: Phase::from_bits(state & 0xff),
            held_by_loss: state & HELD_BY_LOSS != 0,
            application_limited: state & APPLICATION_LIMITED != 0,
        }
    }

    pub(super) fn write(&self, reading: &Reading) {
        let mut state = reading.phase as u32;
        if reading.held_by_loss {
            state |= HELD_BY_LOSS;
        }
        if reading.application_limited {
            state |= APPLICATION_LIMITED;
        }
        self.window.store(reading.window_bytes, Relaxed);
        self.in_flight.store(reading.in_flight_bytes, Relaxed);
        self.delivery_rate.store(reading.delivery_rate, Relaxed);
        self.round_trip_us.store(reading.round_trip_us, Relaxed);
        self.loss_per_million
            .store(reading.loss_per_million, Relaxed);
        self.state.store(state, Relaxed);
    }

    pub(super) fn write_in_flight(&self, bytes: u64) {
        self.in_flight.store(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let gauge = Gauge::default();
        assert_eq!(gauge.read(), Reading::default());
        for phase in [
            Phase::Startup,
            Phase::Drain,
            Phase::Cruise,
            Phase::ProbeUp,
            Phase::ProbeDown,
            Phase::ProbeRoundTrip,
        ] {
            let reading = Reading {
                window_bytes: 1,
                in_flight_bytes: 2,
                delivery_rate: 3,
                round_trip_us: 5,
                loss_per_million: 4,
                phase,
                held_by_loss: phase != Phase::Startup,
                application_limited: phase == Phase::Startup,
            };
            gauge.write(&reading);
            assert_eq!(gauge.read(), reading);
        }
    }
}
