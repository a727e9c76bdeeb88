//! The kind of path a connection has, and the settings that suit it.
//!
//! A tier is a class of rate with a class of delay. It is judged from what was observed, at most
//! once a second and when the path changes, and kept unless what is observed has left it clearly:
//! a faster class is taken as soon as most of the present one is used, a slower one only after
//! [`SLOWER_TIMES`] judgements of a busy connection.

use std::time::Duration;

use crate::limits::{
    CONNECTION_WINDOW_BYTES, LOOPBACK_MTU_BYTES, LOOPBACK_ROUND_TRIP_MAX,
    LOOPBACK_STREAM_WINDOW_BYTES, LOOPBACK_WINDOW_BYTES, PATH_STREAM_BYTES, PATH_WINDOW_BYTES_MAX,
    PATH_WINDOW_BYTES_MIN, SEGMENTS_MAX, SEND_WINDOW_BYTES, UDP_PAYLOAD_BYTES_MAX,
};

/// Between two judgements of one path.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Of a class's rate, above which the next one is taken.
const FASTER_SHARE: f64 = 0.8;

/// Of the slower class's rate, below which that is taken.
const SLOWER_SHARE: f64 = 0.5;

/// Judgements in a row that have to ask for a slower class.
pub const SLOWER_TIMES: u8 = 3;

/// A class of delay is left only beyond its bounds by this factor.
const DELAY_SLACK: f64 = 1.2;

/// What a path loses, without congestion, from which on it counts as a satellite's in low orbit;
/// and below which it does no more.
const LEO_LOSS: f64 = 0.003;
const LEO_LOSS_LEFT: f64 = 0.001;

/// Bytes per second with which a path begins that is as long as a geostationary satellite's, in place
/// of a window: the pace at which 32 datagrams leave on a path of 12 ms. A router sees that pace, and
/// not how long the round trip is; from 32 datagrams such a path would be looked for for five seconds.
const LONG_START_RATE: f64 = 30e6 / 8.0;

/// Bytes; what is in flight then, however long the path seems. Where every second datagram of it is
/// lost, the receiver still keeps all of the gaps apart (`STARTUP_DATAGRAMS` of the controller).
const LONG_START_BYTES_MAX: u64 = 2304 * 1024;

/// Bytes that an acknowledgement may wait for, on the fastest paths.
const ACKNOWLEDGED_BYTES: usize = 128 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Speed {
    M100,
    G1,
    G2_5,
    G10,
    Loopback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Below 10 ms.
    Low,
    High,
    /// A satellite in low orbit: 20 to 100 ms, and losses without congestion.
    Leo,
    /// A geostationary satellite: 400 ms and more.
    Geo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    pub speed: Speed,
    pub delay: Delay,
}

/// What suits a tier. Of these, quinn-proto changes the two connection windows at run time; the rest
/// holds from the start of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes; what the peer may send beyond what has been read, on all streams.
    pub receive_window: u32,
    /// Bytes; on one stream.
    pub stream_window: u32,
    /// Bytes; what is kept until it is acknowledged.
    pub send_window: u64,
    /// Packets that the peer may leave without acknowledgement.
    pub ack_threshold: u32,
    /// The longest it may wait with one.
    pub ack_delay: Duration,
    /// Datagrams of one system call: as many as it takes. quinn-proto's pacer bounds what leaves at
    /// once (two milliseconds' worth, ten datagrams at least), whatever the calls are.
    pub batch_segments: usize,
    /// Bytes; before anything is known of the path.
    pub initial_window: u64,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    pub loopback: bool,
    pub mtu: u16,
    /// The least of the last seconds; `None` before the first.
    pub round_trip: Option<Duration>,
    /// Bits per second that have arrived, in the faster of the two directions.
    pub delivery_rate: u64,
    /// Share of what was sent.
    pub loss: f64,
    /// The ends had nothing more to send, so the rate is no measure of the path.
    pub application_limited: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    pub tier: Tier,
    pub settings: Settings,
    /// In plain words, for people.
    pub reason: String,
    /// Judgements in a row that have asked for a slower class.
    slower: u8,
}

impl Speed {
    const NETWORK: [Speed; 4] = [Speed::M100, Speed::G1, Speed::G2_5, Speed::G10];

    /// Bits per second.
    pub fn rate(self) -> u64 {
        match self {
            Speed::M100 => 100_000_000,
            Speed::G1 => 1_000_000_000,
            Speed::G2_5 => 2_500_000_000,
            Speed::G10 => 10_000_000_000,
            Speed::Loopback => 40_000_000_000,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Speed::M100 => "100 Mbit/s",
            Speed::G1 => "1 Gbit/s",
            Speed::G2_5 => "2.5 Gbit/s",
            Speed::G10 => "10 Gbit/s",
            Speed::Loopback => "loopback",
        }
    }

    /// The slowest class that `rate` does not nearly fill.
    fn of(rate: u64) -> Speed {
        Speed::NETWORK
            .into_iter()
            .find(|speed| (rate as f64) < speed.rate() as f64 * FASTER_SHARE)
            .unwrap_or(Speed::G10)
    }
}

impl Delay {
    pub fn name(self) -> &'static str {
        match self {
            Delay::Low => "low delay",
            Delay::High => "high delay",
            Delay::Leo => "LEO",
            Delay::Geo => "GEO",
        }
    }

    /// `before` is kept unless it is left clearly.
    fn of(round_trip: Duration, loss: f64, before: Option<Delay>) -> Delay {
        let millis = round_trip.as_secs_f64() * 1e3;
        let within = |delay: Delay, low: f64, high: f64| {
            let slack = if before == Some(delay) {
                DELAY_SLACK
            } else {
                1.0
            };
            millis >= low / slack && millis < high * slack
        };
        let lossy = if before == Some(Delay::Leo) {
            loss >= LEO_LOSS_LEFT
        } else {
            loss >= LEO_LOSS
        };
        if before == Some(Delay::High) && within(Delay::High, 10.0, 400.0) && !lossy {
            return Delay::High;
        }
        if within(Delay::Geo, 400.0, f64::INFINITY) {
            Delay::Geo
        } else if lossy && within(Delay::Leo, 20.0, 100.0) {
            Delay::Leo
        } else if within(Delay::Low, 0.0, 10.0) {
            Delay::Low
        } else {
            Delay::High
        }
    }
}

impl Tier {
    pub fn name(self) -> String {
        match self.speed {
            Speed::Loopback => self.speed.name().to_owned(),
            speed => format!("{}, {}", speed.name(), self.delay.name()),
        }
    }

    /// Before anything is observed, with a peer on this host or elsewhere.
    pub fn first(loopback: bool) -> Assessment {
        let tier = Tier {
            speed: if loopback { Speed::Loopback } else { Speed::G1 },
            delay: Delay::Low,
        };
        let reason = if loopback {
            "both ends are on this host"
        } else {
            "nothing is measured yet"
        };
        Assessment {
            tier,
            settings: Settings::first(loopback),
            reason: reason.to_owned(),
            slower: 0,
        }
    }

    pub fn assess(observed: &Observed, previous: &Assessment) -> Assessment {
        let Some(round_trip) = observed.round_trip else {
            return previous.clone();
        };
        let before = previous.tier;
        if observed.loopback && round_trip < LOOPBACK_ROUND_TRIP_MAX {
            let speed = Speed::Loopback;
            return previous.moved(
                Tier { speed, ..before },
                0,
                observed,
                round_trip,
                "both ends are on this host",
            );
        }
        let delay = Delay::of(round_trip, observed.loss, Some(before.delay));
        let seen = Speed::of(observed.delivery_rate);
        let (speed, slower, why) = if before.speed == Speed::Loopback {
            (
                seen,
                0,
                "more than this host lies between the ends".to_owned(),
            )
        } else if seen > before.speed {
            let why = format!("it fills most of {}", before.speed.name());
            (seen, 0, why)
        } else if observed.application_limited || !fits_slower(observed, before.speed) {
            let why = if observed.application_limited {
                "the ends have nothing more to send"
            } else {
                "it stays within its class"
            };
            (before.speed, 0, why.to_owned())
        } else if previous.slower + 1 < SLOWER_TIMES {
            let times = previous.slower + 1;
            let why = format!("below its class {times} of {SLOWER_TIMES} times");
            (before.speed, times, why)
        } else {
            let why = format!("{SLOWER_TIMES} times far below {}", before.speed.name());
            (seen, 0, why)
        };
        previous.moved(Tier { speed, delay }, slower, observed, round_trip, &why)
    }
}

/// Whether what arrives would fit well into a slower class than `speed`.
fn fits_slower(observed: &Observed, speed: Speed) -> bool {
    Speed::NETWORK
        .into_iter()
        .filter(|slower| *slower < speed)
        .any(|slower| (observed.delivery_rate as f64) < slower.rate() as f64 * SLOWER_SHARE)
}

impl Assessment {
    fn moved(
        &self,
        tier: Tier,
        slower: u8,
        observed: &Observed,
        round_trip: Duration,
        why: &str,
    ) -> Assessment {
        let reason = format!(
            "delivers {} at {} with {:.1} % loss: {why}",
            rate_words(observed.delivery_rate),
            time_words(round_trip),
            observed.loss * 100.0,
        );
        Assessment {
            tier,
            settings: Settings::of(tier, round_trip, observed.mtu, &self.settings),
            reason,
            slower,
        }
    }
}

impl Settings {
    /// What a connection starts with.
    pub fn first(loopback: bool) -> Settings {
        let mtu = usize::from(if loopback { LOOPBACK_MTU_BYTES } else { 1200 });
        Settings {
            receive_window: CONNECTION_WINDOW_BYTES,
            // The bound on memory is the window of the connection; this one cannot change and
            // only has to be out of its way.
            stream_window: if loopback {
                // What lies ready stays in the processor's cache.
                LOOPBACK_STREAM_WINDOW_BYTES
            } else {
                PATH_STREAM_BYTES
            },
            send_window: if loopback {
                SEND_WINDOW_BYTES
            } else {
                u64::from(CONNECTION_WINDOW_BYTES)
            },
            ack_threshold: if loopback {
                (ACKNOWLEDGED_BYTES / mtu) as u32
            } else {
                8
            },
            ack_delay: if loopback {
                Duration::from_millis(1)
            } else {
                Duration::from_millis(5)
            },
            batch_segments: SEGMENTS_MAX,
            initial_window: if loopback {
                LOOPBACK_WINDOW_BYTES
            } else {
                // Three times RFC 6928's ten segments; it leaves at the pacer's rate, not at once.
                32 * mtu as u64
            },
        }
    }

    /// Bytes that may be in flight once the first `round_trip` is known, where that shows a path
    /// which has to begin with more than any other. They leave at the pacer's rate.
    pub fn long_start(round_trip: Duration) -> Option<u64> {
        if Delay::of(round_trip, 0.0, None) != Delay::Geo {
            return None;
        }
        let bytes = (LONG_START_RATE * round_trip.as_secs_f64()) as u64;
        Some(bytes.min(LONG_START_BYTES_MAX))
    }

    /// What suits `tier` at `round_trip`, of what can still be changed.
    fn of(tier: Tier, round_trip: Duration, mtu: u16, before: &Settings) -> Settings {
        // Steps of two, so that jitter does not move the windows.
        let millis = (round_trip.as_millis() as u64 + 1).next_power_of_two();
        // Twice what is in flight: the receiver reads one half while the other is on its way.
        let product = u128::from(tier.speed.rate() / 8) * u128::from(millis) / 1000 * 2;
        let window = u32::try_from(product)
            .unwrap_or(u32::MAX)
            .clamp(PATH_WINDOW_BYTES_MIN, PATH_WINDOW_BYTES_MAX);
        let fitting = UDP_PAYLOAD_BYTES_MAX / usize::from(mtu.max(1));
        let batch_segments = fitting.clamp(1, SEGMENTS_MAX);
        if tier.speed == Speed::Loopback {
            return Settings {
                batch_segments,
                ..Settings::first(true)
            };
        }
        Settings {
            receive_window: window,
            send_window: u64::from(window),
            batch_segments,
            ..*before
        }
    }
}

fn rate_words(rate: u64) -> String {
    match rate {
        1_000_000_000.. => format!("{:.1} Gbit/s", rate as f64 / 1e9),
        1_000_000.. => format!("{:.0} Mbit/s", rate as f64 / 1e6),
        _ => format!("{:.0} kbit/s", rate as f64 / 1e3),
    }
}

fn time_words(time: Duration) -> String {
    match time.as_micros() {
        micros @ ..1000 => format!("{micros} µs"),
        micros @ ..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        micros => format!("{:.0} ms", micros as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MBIT: u64 = 1_000_000;

    fn network() -> Assessment {
        Tier::first(false)
    }

    fn observed(megabits: u64, millis: u64) -> Observed {
        Observed {
            loopback: false,
            mtu: 1452,
            round_trip: Some(Duration::from_millis(millis)),
            delivery_rate: megabits * MBIT,
            loss: 0.0,
            application_limited: false,
        }
    }

    fn settled(observed: Observed) -> Assessment {
        (0..10).fold(network(), |previous, _| Tier::assess(&observed, &previous))
    }

    #[test]
    fn each_profile_has_its_tier() {
        let lossy = |observed| Observed {
            loss: 0.01,
            ..observed
        };
        let cases = [
            (observed(40, 2), "100 Mbit/s, low delay"),
            (observed(95, 30), "1 Gbit/s, high delay"),
            (observed(700, 1), "1 Gbit/s, low delay"),
            (observed(1_500, 1), "2.5 Gbit/s, low delay"),
            (observed(4_000, 80), "10 Gbit/s, high delay"),
            (observed(90_000, 1), "10 Gbit/s, low delay"),
            (lossy(observed(40, 40)), "100 Mbit/s, LEO"),
            (lossy(observed(40, 600)), "100 Mbit/s, GEO"),
            (observed(40, 600), "100 Mbit/s, GEO"),
            (lossy(observed(40, 5)), "100 Mbit/s, low delay"),
        ];
        for (observed, name) in cases {
            assert_eq!(settled(observed).tier.name(), name, "{observed:?}");
        }
    }

    #[test]
    fn only_a_geostationary_path_begins_with_more() {
        let start = |millis| Settings::long_start(Duration::from_millis(millis));
        for millis in [0, 1, 40, 250, 399] {
            assert_eq!(start(millis), None, "{millis} ms");
        }
        assert_eq!(start(400), Some(1_500_000));
        assert_eq!(start(600), Some(2_250_000));
        // Interplanetary, or a clock that stood still.
        assert_eq!(start(60_000), Some(LONG_START_BYTES_MAX));
    }

    #[test]
    fn loopback_is_known_by_its_address_and_left_with_it() {
        let first = Tier::first(true);
        assert_eq!(first.tier.name(), "loopback");
        let here = Observed {
            loopback: true,
            ..observed(1, 1)
        };
        let stays = Tier::assess(&here, &first);
        assert_eq!(stays.tier.speed, Speed::Loopback);
        let away = Tier::assess(&observed(300, 20), &stays);
        assert_eq!(away.tier.name(), "1 Gbit/s, high delay");
        assert!(away.reason.contains("more than this host"));
    }

    #[test]
    fn a_relay_on_this_host_is_a_network() {
        let first = Tier::first(true);
        let relayed = Observed {
            loopback: true,
            ..observed(50, 20)
        };
        let assessed = Tier::assess(&relayed, &first);
        assert_eq!(assessed.tier.name(), "100 Mbit/s, high delay");
        assert_eq!(Tier::assess(&relayed, &assessed).tier.speed, Speed::M100);
    }

    #[test]
    fn faster_is_taken_at_once_and_slower_after_a_while() {
        let fast = Tier::assess(&observed(900, 1), &network());
        assert_eq!(fast.tier.speed, Speed::G2_5);
        let slow = observed(20, 1);
        let mut assessed = fast;
        for _ in 1..SLOWER_TIMES {
            assessed = Tier::assess(&slow, &assessed);
            assert_eq!(assessed.tier.speed, Speed::G2_5, "{}", assessed.reason);
        }
        assessed = Tier::assess(&slow, &assessed);
        assert_eq!(assessed.tier.speed, Speed::M100);
        assert!(assessed.reason.contains("3 times far below 2.5 Gbit/s"));
    }

    #[test]
    fn one_good_second_ends_the_count() {
        let slow = observed(20, 1);
        let mut assessed = network();
        for _ in 0..10 {
            assessed = Tier::assess(&slow, &assessed);
            assessed = Tier::assess(&observed(500, 1), &assessed);
            assert_eq!(assessed.tier.speed, Speed::G1);
        }
    }

    #[test]
    fn an_application_that_sends_little_says_nothing_of_the_path() {
        let quiet = Observed {
            application_limited: true,
            ..observed(1, 1)
        };
        assert_eq!(settled(quiet).tier.speed, Speed::G1);
    }

    #[test]
    fn at_the_edge_of_two_classes_nothing_flaps() {
        for (low, high) in [((79, 8), (81, 11)), ((100, 9), (130, 10))] {
            let mut assessed = settled(observed(high.0, high.1));
            let tier = assessed.tier;
            for _ in 0..20 {
                assessed = Tier::assess(&observed(low.0, low.1), &assessed);
                assert_eq!(assessed.tier, tier, "{}", assessed.reason);
                assessed = Tier::assess(&observed(high.0, high.1), &assessed);
                assert_eq!(assessed.tier, tier, "{}", assessed.reason);
            }
        }
    }

    #[test]
    fn windows_hold_twice_the_path_within_their_bounds() {
        let geo = settled(observed(40, 600)).settings;
        // 100 Mbit/s for 600 ms is 7.5 MB.
        assert!(geo.receive_window >= 15_000_000);
        assert_eq!(u64::from(geo.receive_window), geo.send_window);
        let short = settled(observed(40, 1)).settings;
        assert_eq!(short.receive_window, PATH_WINDOW_BYTES_MIN);
        let long = settled(observed(9_000, 300)).settings;
        assert_eq!(long.receive_window, PATH_WINDOW_BYTES_MAX);
    }

    #[test]
    fn a_batch_never_exceeds_what_the_kernel_takes() {
        for mtu in [1200, 1452, 8952, 16_000, 65_487] {
            for megabits in [10, 500, 2_000, 8_000] {
                let seen = Observed {
                    mtu,
                    ..observed(megabits, 1)
                };
                let batch = settled(seen).settings.batch_segments;
                assert!(batch >= 1 && batch * usize::from(mtu) <= UDP_PAYLOAD_BYTES_MAX);
            }
        }
    }

    #[test]
    fn reasons_are_words_with_numbers() {
        let lossy = Observed {
            loss: 0.012,
            ..observed(38, 40)
        };
        let reason = Tier::assess(&lossy, &network()).reason;
        assert_eq!(
            reason,
            "delivers 38 Mbit/s at 40 ms with 1.2 % loss: below its class 1 of 3 times"
        );
    }

    #[test]
    fn without_a_round_trip_nothing_is_said() {
        let nothing = Observed {
            round_trip: None,
            ..observed(1, 1)
        };
        assert_eq!(Tier::assess(&nothing, &network()), network());
    }
}
