//! The rate at which the path delivers, measured by each acknowledgement.
//!
//! The method is that of draft-ietf-ccwg-bbr section 4.1 (before,
//! draft-cheng-iccrg-delivery-rate-estimation): every packet remembers how much had been delivered
//! when it left; when it is acknowledged, what has been delivered since, over the longer of the
//! time it took to send and the time it took to be acknowledged, is the rate. The longer, because
//! acknowledgements may be bunched together and would claim more than the path carries.
//!
//! QUIC sends in batches with one time stamp, so one note is kept for each batch and found again by
//! that time; the cost for each packet is an addition.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Notes of batches in flight. Of more, the oldest are forgotten, which only skips a sample.
const FLIGHTS_MAX: usize = 2048;

/// Batches of one round-trip time that need notes of their own; what leaves closer together shares
/// one, so that the notes stay few however long the path is.
const FLIGHTS_PER_ROUND: u32 = 256;

/// What was known when a batch left.
#[derive(Clone, Copy, Debug)]
struct Flight {
    sent: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    application_limited: bool,
}

/// What one acknowledgement tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Bytes per second; `None` where the interval is too short to mean anything.
    pub rate: Option<f64>,
    pub round_trip: Duration,
    /// All that had been delivered when the newest acknowledged packet left.
    pub delivered_before: u64,
    /// Bytes that this acknowledgement newly covers.
    pub acknowledged: u64,
    /// The sender had nothing more to send, so the path may carry more than `rate`.
    pub application_limited: bool,
}

#[derive(Clone, Debug)]
pub struct Sampler {
    delivered: u64,
    delivered_at: Instant,
    /// When the newest acknowledged packet left.
    first_sent: Instant,
    /// Packets that leave before this much is delivered belong to a pause of the application.
    limited_until: u64,
    flights: VecDeque<Flight>,
    /// As of the last acknowledgement.
    in_flight: u64,
    last_sent: Instant,
    /// Of the acknowledgement being read.
    newest: Option<Instant>,
    acknowledged: u64,
}

impl Sampler {
    pub fn new(now: Instant) -> Sampler {
        Sampler {
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            limited_until: 0,
            flights: VecDeque::new(),
            in_flight: 0,
            last_sent: now,
            newest: None,
            acknowledged: 0,
        }
    }

    /// Bytes acknowledged since the beginning.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// A batch has left.
    pub fn sent(&mut self, now: Instant, round_trip: Duration) {
        let pause = now.saturating_duration_since(self.last_sent);
        self.last_sent = now;
        if self.flights.is_empty() || (self.in_flight == 0 && pause > round_trip) {
            // The interval of a sample must not span the time in which nothing was under way.
            self.flights.clear();
            self.first_sent = now;
            self.delivered_at = now;
        }
        let grain = round_trip / FLIGHTS_PER_ROUND;
        let shared = self
            .flights
            .back()
            .is_some_and(|last| now.saturating_duration_since(last.sent) <= grain);
        if shared {
            return;
        }
        if self.flights.len() >= FLIGHTS_MAX {
            self.flights.pop_front();
        }
        self.flights.push_back(Flight {
            sent: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            application_limited: self.limited_until > self.delivered,
        });
    }

    /// One packet that left at `sent` is acknowledged.
    pub fn acknowledged(&mut self, sent: Instant, bytes: u64) {
        self.delivered += bytes;
        self.acknowledged += bytes;
        self.newest = Some(self.newest.map_or(sent, |newest| newest.max(sent)));
    }

    /// An acknowledgement has been read to its end, and `in_flight` bytes are left.
    pub fn end(
        &mut self,
        now: Instant,
        in_flight: u64,
        application_limited: bool,
        min_round_trip: Option<Duration>,
    ) -> Option<Sample> {
        self.in_flight = in_flight;
        if application_limited {
            self.limited_until = self.delivered + in_flight.max(1);
        }
        let acknowledged = std::mem::take(&mut self.acknowledged);
        let newest = self.newest.take()?;
        let found = self.flights.partition_point(|flight| flight.sent <= newest);
        // Packets of the same batch may still be acknowledged by it.
        self.flights.drain(..found.saturating_sub(1));
        let flight = *self.flights.front().filter(|_| found > 0)?;
        let sending = flight.sent.saturating_duration_since(flight.first_sent);
        let acknowledging = now.saturating_duration_since(flight.delivered_at);
        self.first_sent = flight.sent;
        self.delivered_at = now;
        let interval = sending.max(acknowledging);
        let valid = !interval.is_zero() && min_round_trip.is_none_or(|least| interval >= least);
        Some(Sample {
            rate: valid
                .then(|| (self.delivered - flight.delivered) as f64 / interval.as_secs_f64()),
            round_trip: now.saturating_duration_since(newest),
            delivered_before: flight.delivered,
            acknowledged,
            application_limited: flight.application_limited || application_limited,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(20);

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A path of 20 ms that carries 1,000 bytes a millisecond: one packet leaves and one is
    /// acknowledged each millisecond.
    fn steady(start: Instant, sampler: &mut Sampler) -> Sample {
        let mut last = None;
        for time in 0..100 {
            let now = start + millis(time);
            if time >= 20 {
                sampler.acknowledged(start + millis(time - 20), 1000);
                last = sampler.end(now, 19_000, false, Some(ROUND_TRIP));
            }
            sampler.sent(now, ROUND_TRIP);
        }
        last.unwrap()
    }

    #[test]
    fn a_steady_path_measures_its_rate() {
        let start = Instant::now();
        let sample = steady(start, &mut Sampler::new(start));
        let rate = sample.rate.unwrap();
        assert!((950_000.0..1_050_000.0).contains(&rate), "{rate}");
        assert_eq!(sample.round_trip, ROUND_TRIP);
        assert!(!sample.application_limited);
    }

    #[test]
    fn acknowledgements_in_one_heap_do_not_claim_more_than_was_sent() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        for time in 0..20 {
            sampler.sent(start + millis(time), ROUND_TRIP);
        }
        for time in 0..20 {
            sampler.acknowledged(start + millis(time), 1000);
        }
        let sample = sampler
            .end(start + millis(40), 0, false, Some(ROUND_TRIP))
            .unwrap();
        assert!(sample.rate.unwrap() <= 1_050_000.0);
    }

    #[test]
    fn a_pause_does_not_count_as_slow_delivery() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        sampler.sent(start, ROUND_TRIP);
        sampler.acknowledged(start, 1000);
        let sample = sampler
            .end(start + ROUND_TRIP, 0, true, Some(ROUND_TRIP))
            .unwrap();
        assert!(sample.application_limited);
        let later = start + Duration::from_secs(60);
        sampler.sent(later, ROUND_TRIP);
        sampler.acknowledged(later, 20_000);
        let sample = sampler
            .end(later + ROUND_TRIP, 0, false, Some(ROUND_TRIP))
            .unwrap();
        assert_eq!(sample.rate, Some(1_000_000.0));
    }

    #[test]
    fn notes_stay_few_on_a_long_and_fast_path() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let long = millis(600);
        for micros in 0..600_000 {
            sampler.sent(start + Duration::from_micros(micros), long);
        }
        assert!(sampler.flights.len() <= FLIGHTS_PER_ROUND as usize);
    }

    #[test]
    fn packets_from_before_make_no_sample_and_no_panic() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start + millis(100));
        sampler.acknowledged(start, 1000);
        assert_eq!(sampler.end(start + millis(100), 0, false, None), None);
        assert_eq!(sampler.delivered(), 1000);
    }
}
