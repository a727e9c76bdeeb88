//! The path of one live connection: judged now and then, and its waiting accounted for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::ConnectionStats;

use super::bottleneck::{Bound, Credit, Facts, Shares};
use super::gauge::{Gauge, Reading};
use super::tier::{Assessment, Observed, Settings, Tier, INTERVAL};
use crate::route::is_loopback;

/// Of an interval, from which on the application counts as what limited it.
const APPLICATION_SHARE: f64 = 0.5;

/// Windows a round trip that leave at most (RFC 9002 section 7.7), which quinn-proto has.
const PACE: f64 = 1.25;

/// What a connection shows of its path.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub tier: Tier,
    /// Why this tier, in plain words.
    pub reason: String,
    pub reading: Reading,
    /// What it has made of that.
    pub settings: Settings,
    /// Bits per second at which a full window leaves; 0 before the first round trip.
    pub pace: u64,
    /// What it waits for now.
    pub bound: Bound,
    /// Time spent waiting for each of [`Bound::ALL`].
    pub spent: [Duration; Bound::ALL.len()],
}

pub struct Monitor {
    gauge: Arc<Gauge>,
    assessment: Assessment,
    shares: Shares,
    credit: Credit,
    remote: IpAddr,
    within_host: bool,
    judged_at: Instant,
    judged: Totals,
}

/// Counts as of the last judgement.
#[derive(Clone, Copy, Default)]
struct Totals {
    received_bytes: u64,
    sent_packets: u64,
    lost_packets: u64,
    /// Time in which the application had nothing to send.
    quiet: Duration,
}

impl Monitor {
    /// `within_host`: `remote` is an address of this host.
    pub fn new(now: Instant, remote: IpAddr, within_host: bool, gauge: Arc<Gauge>) -> Monitor {
        Monitor {
            gauge,
            assessment: Tier::first(within_host),
            shares: Shares::new(now),
            credit: Credit::default(),
            remote,
            within_host,
            judged_at: now,
            judged: Totals::default(),
        }
    }

    /// Takes in what the connection shows now. The settings that suit it from now on, where they
    /// are others.
    pub fn observe(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        stats: &ConnectionStats,
        writers_waiting: bool,
    ) -> Option<Settings> {
        let (sent, received) = (stats.frame_tx, stats.frame_rx);
        let withheld = self.credit.observe(
            sent.data_blocked + sent.stream_data_blocked,
            received.max_data + received.max_stream_data,
        );
        let reading = self.gauge.read();
        let facts = Facts::of(&reading, stats, withheld, writers_waiting);
        self.shares.observe(now, facts);

        let moved = remote.ip() != self.remote;
        let elapsed = now.saturating_duration_since(self.judged_at);
        if elapsed < INTERVAL && !moved {
            return None;
        }
        if moved {
            self.remote = remote.ip();
            // Another address of this host counts as network: that costs speed and breaks nothing.
            self.within_host = is_loopback(self.remote);
        }
        let before = self.assessment.settings;
        let observed = self.observed(now, elapsed, stats, &reading);
        self.assessment = Tier::assess(&observed, &self.assessment);
        let settings = self.assessment.settings;
        (settings != before).then_some(settings)
    }

    /// What the interval that ends has shown.
    fn observed(
        &mut self,
        now: Instant,
        elapsed: Duration,
        stats: &ConnectionStats,
        reading: &Reading,
    ) -> Observed {
        let spent = self.shares.spent(now);
        let totals = Totals {
            received_bytes: stats.udp_rx.bytes,
            sent_packets: stats.path.sent_packets,
            lost_packets: stats.path.lost_packets,
            quiet: spent[Bound::Sender as usize] + spent[Bound::Idle as usize],
        };
        // Counts start anew with a path.
        let since = |now: u64, before: u64| now.saturating_sub(before) as f64;
        let before = std::mem::replace(&mut self.judged, totals);
        self.judged_at = now;
        let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
        let received = since(totals.received_bytes, before.received_bytes) * 8.0 / seconds;
        let quiet = totals.quiet.saturating_sub(before.quiet).as_secs_f64() / seconds;
        let sent = since(totals.sent_packets, before.sent_packets);
        Observed {
            loopback: self.within_host,
            mtu: stats.path.current_mtu,
            round_trip: reading.round_trip(),
            delivery_rate: reading.delivery_rate.max(received as u64),
            loss: since(totals.lost_packets, before.lost_packets) / sent.max(1.0),
            application_limited: quiet > APPLICATION_SHARE,
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.assessment.settings
    }

    /// `smoothed`: the round-trip time that quinn-proto paces by.
    pub fn report(&self, now: Instant, smoothed: Duration) -> Report {
        let reading = self.gauge.read();
        let known = reading.round_trip_us > 0 && !smoothed.is_zero();
        let window = reading.window_bytes as f64 * 8.0 * PACE;
        Report {
            tier: self.assessment.tier,
            reason: self.assessment.reason.clone(),
            reading,
            settings: *self.settings(),
            pace: if known {
                (window / smoothed.as_secs_f64()) as u64
            } else {
                0
            },
            bound: self.shares.bound(now),
            spent: self.shares.spent(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::gauge::Phase;
    use crate::path::tier::Speed;

    const ROUND_TRIP: Duration = Duration::from_millis(5);
    const REMOTE: &str = "[2001:db8::1]:1";

    fn remote(text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| unreachable!("{text}"))
    }

    fn busy(megabits: u64) -> Reading {
        Reading {
            window_bytes: 1_000_000,
            in_flight_bytes: 1_000_000,
            delivery_rate: megabits * 1_000_000,
            round_trip_us: 5_000,
            phase: Phase::Cruise,
            ..Reading::default()
        }
    }

    fn stats() -> ConnectionStats {
        let mut stats = ConnectionStats::default();
        stats.path.current_mtu = 1452;
        stats
    }

    #[test]
    fn it_judges_once_a_second_and_says_what_has_to_change() {
        let start = Instant::now();
        let gauge = Arc::new(Gauge::default());
        let mut monitor = Monitor::new(start, remote(REMOTE).ip(), false, gauge.clone());
        gauge.write(&busy(1_500));
        let mut observe = |millis| {
            let now = start + Duration::from_millis(millis);
            monitor.observe(now, remote(REMOTE), &stats(), true)
        };
        assert_eq!(observe(500), None);
        let settings = observe(1_000);
        assert!(settings.is_some_and(|it| it.batch_segments > 16));
        assert_eq!(observe(1_500), None);
        assert_eq!(observe(2_100), None);
        let report = monitor.report(start + Duration::from_secs(3), ROUND_TRIP);
        assert_eq!(report.tier.speed, Speed::G2_5);
        assert_eq!(report.bound, Bound::Path);
    }

    #[test]
    fn a_new_address_is_judged_at_once() {
        let start = Instant::now();
        let gauge = Arc::new(Gauge::default());
        let mut monitor = Monitor::new(start, remote("[::1]:1").ip(), true, gauge.clone());
        gauge.write(&busy(50));
        let soon = start + Duration::from_millis(10);
        let changed = monitor.observe(soon, remote(REMOTE), &stats(), true);
        assert!(changed.is_some());
        assert_eq!(monitor.report(soon, ROUND_TRIP).tier.speed, Speed::M100);
        // Another port of the same host is the same path.
        let later = soon + Duration::from_millis(10);
        let same = monitor.observe(later, remote("[2001:db8::1]:2"), &stats(), true);
        assert_eq!(same, None);
    }

    #[test]
    fn a_peer_at_an_address_of_this_host_is_within_it_until_it_moves() {
        let start = Instant::now();
        let gauge = Arc::new(Gauge::default());
        let mut monitor = Monitor::new(start, remote(REMOTE).ip(), true, gauge.clone());
        gauge.write(&Reading {
            round_trip_us: 100,
            ..busy(9_000)
        });
        let mut speed = |seconds, address| {
            let now = start + Duration::from_secs(seconds);
            monitor.observe(now, remote(address), &stats(), true);
            monitor.report(now, ROUND_TRIP).tier.speed
        };
        assert_eq!(speed(1, REMOTE), Speed::Loopback);
        assert_eq!(speed(2, "[2001:db8::1]:7"), Speed::Loopback);
        assert_eq!(speed(3, "[2001:db8::2]:7"), Speed::G10);
        assert_eq!(speed(4, "[::1]:7"), Speed::Loopback);
    }

    #[test]
    fn what_is_received_counts_where_little_is_sent() {
        let start = Instant::now();
        let gauge = Arc::new(Gauge::default());
        let mut monitor = Monitor::new(start, remote(REMOTE).ip(), false, gauge.clone());
        gauge.write(&Reading {
            application_limited: true,
            in_flight_bytes: 0,
            ..busy(1)
        });
        let mut stats = stats();
        stats.udp_rx.bytes = 400_000_000;
        let later = start + Duration::from_secs(1);
        let changed = monitor.observe(later, remote(REMOTE), &stats, false);
        assert!(changed.is_some());
        assert_eq!(monitor.report(later, ROUND_TRIP).tier.speed, Speed::G10);
    }
}
