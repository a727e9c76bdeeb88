//! Extremes over a recent past that moves on, in constant space.

use std::time::{Duration, Instant};

/// Round trips over which a maximum is kept: at least one whole probing cycle of the controller.
pub const ROUNDS: usize = 10;

/// The greatest value of the last [`ROUNDS`] round trips.
#[derive(Clone, Debug, Default)]
pub struct RoundMax {
    slots: [f64; ROUNDS],
    current: usize,
    max: f64,
}

impl RoundMax {
    pub fn get(&self) -> f64 {
        self.max
    }

    /// The greatest value of the round trip that goes on.
    pub fn latest(&self) -> f64 {
        self.slots[self.current]
    }

    /// Of the last whole round trip.
    pub fn before(&self) -> f64 {
        self.slots[(self.current + ROUNDS - 1) % ROUNDS]
    }

    pub fn update(&mut self, value: f64) {
        let slot = &mut self.slots[self.current];
        *slot = slot.max(value);
        self.max = self.max.max(value);
    }

    /// A round trip has passed; what is too old is forgotten.
    pub fn advance(&mut self) {
        self.current = (self.current + 1) % ROUNDS;
        self.slots[self.current] = 0.0;
        self.max = self.slots.iter().copied().fold(0.0, f64::max);
    }
}

/// The least time of one to two `SPAN`s.
#[derive(Clone, Copy, Debug)]
pub struct RecentMin {
    current: Duration,
    before: Duration,
    began: Instant,
}

/// Half of the ten seconds for which BBR keeps its least round-trip time
/// (draft-ietf-ccwg-bbr section 2.13.2), since between one and two spans count here.
pub const SPAN: Duration = Duration::from_secs(5);

impl RecentMin {
    pub fn new(now: Instant) -> RecentMin {
        RecentMin {
            current: Duration::MAX,
            before: Duration::MAX,
            began: now,
        }
    }

    /// `None` before the first value.
    pub fn get(&self) -> Option<Duration> {
        let least = self.current.min(self.before);
        (least < Duration::MAX).then_some(least)
    }

    pub fn update(&mut self, now: Instant, value: Duration) {
        if now.saturating_duration_since(self.began) >= SPAN {
            self.before = self.current;
            self.current = Duration::MAX;
            self.began = now;
        }
        self.current = self.current.min(value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_maximum_lasts_for_its_rounds() {
        let mut max = RoundMax::default();
        max.update(5.0);
        max.update(3.0);
        for _ in 1..ROUNDS {
            max.advance();
            max.update(2.0);
            assert_eq!(max.get(), 5.0);
        }
        max.advance();
        assert_eq!((max.get(), max.latest(), max.before()), (2.0, 0.0, 2.0));
    }

    #[test]
    fn a_minimum_lasts_one_to_two_spans() {
        let start = Instant::now();
        let mut min = RecentMin::new(start);
        assert_eq!(min.get(), None);
        let (low, high) = (Duration::from_millis(10), Duration::from_millis(30));
        min.update(start, low);
        min.update(start + SPAN, high);
        assert_eq!(min.get(), Some(low));
        min.update(start + 2 * SPAN, high);
        assert_eq!(min.get(), Some(high));
    }
}
