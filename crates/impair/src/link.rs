//! One direction of a link: what becomes of each datagram, decided without a clock or a socket.
//!
//! A datagram passes, in this order, the largest size, random loss, the queue in front of the
//! bottleneck, the bottleneck itself, and the wire. It may arrive twice, damaged, or behind those
//! that left after it. Each datagram draws the same count of random numbers whatever the settings
//! are, so that one seed makes the same decisions when another impairment is switched on.

use std::time::Duration;

use crate::random::Random;

/// Bytes waiting in front of the bottleneck, where nothing else is said.
pub const QUEUE_BYTES: usize = 256 * 1024;

/// What one direction does. The default does nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// One way.
    pub delay: Duration,
    /// Up to this much is added to the delay; it changes no order.
    pub jitter: Duration,
    /// Shares of datagrams, 0 to 1.
    pub loss: f64,
    pub duplicate: f64,
    /// One bit is turned over.
    pub corrupt: f64,
    pub reorder: f64,
    /// Of those whose sender understands it: congestion experienced (RFC 3168 section 5).
    pub mark: f64,
    /// By how much a reordered datagram comes later than it would have.
    pub reorder_delay: Duration,
    /// Bits per second of UDP payload; `None` for no bottleneck.
    pub rate: Option<u64>,
    /// What may wait for the bottleneck.
    pub queue_bytes: usize,
    /// Bytes of UDP payload; larger datagrams vanish, as in an MTU black hole.
    pub mtu: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            corrupt: 0.0,
            reorder: 0.0,
            mark: 0.0,
            reorder_delay: Duration::from_millis(2),
            rate: None,
            queue_bytes: QUEUE_BYTES,
            mtu: usize::MAX,
        }
    }
}

/// What a direction has done, in datagrams (and bytes where the name says so).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub received: u64,
    pub received_bytes: u64,
    pub delivered: u64,
    pub delivered_bytes: u64,
    pub lost: u64,
    pub overflowed: u64,
    pub too_large: u64,
    pub duplicated: u64,
    pub corrupted: u64,
    pub reordered: u64,
    /// Chosen for a mark, which only a datagram whose sender understands it gets.
    pub marked: u64,
}

/// One arrival of a datagram at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// On the clock of the caller.
    pub at: Duration,
    /// The bit that is turned over on the way.
    pub flipped_bit: Option<usize>,
    /// It says that it has met congestion, where its sender understands that.
    pub marked: bool,
}

/// What becomes of one datagram: no arrival, one or two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    pub first: Option<Arrival>,
    pub second: Option<Arrival>,
}

impl Passage {
    pub fn arrivals(self) -> impl Iterator<Item = Arrival> {
        self.first.into_iter().chain(self.second)
    }
}

/// One direction.
#[derive(Clone, Debug)]
pub struct Link {
    pub settings: Settings,
    pub counters: Counters,
    random: Random,
    /// Apart, so that a seed keeps its history of everything else.
    marking: Random,
    /// When the bottleneck has sent all that waits for it.
    free_at: Duration,
    /// Of the latest datagram in order.
    last_arrival: Duration,
}

impl Link {
    pub fn new(settings: Settings, seed: u64) -> Link {
        Link {
            settings,
            counters: Counters::default(),
            random: Random::new(seed),
            marking: Random::new(!seed),
            free_at: Duration::ZERO,
            last_arrival: Duration::ZERO,
        }
    }

    /// Takes a datagram of `bytes` at `now`, which never runs backwards.
    pub fn pass(&mut self, now: Duration, bytes: usize) -> Passage {
        let settings = self.settings;
        let lost = self.random.fraction() < settings.loss;
        let duplicated = self.random.fraction() < settings.duplicate;
        let corrupted = self.random.fraction() < settings.corrupt;
        let bit = self.random.word() as usize % (bytes.max(1) * 8);
        let reordered = self.random.fraction() < settings.reorder;
        let jitter = settings.jitter.mul_f64(self.random.fraction());
        let marked = self.marking.fraction() < settings.mark;

        self.counters.received += 1;
        self.counters.received_bytes += bytes as u64;
        if bytes > settings.mtu {
            self.counters.too_large += 1;
            return Passage::default();
        }
        if lost {
            self.counters.lost += 1;
            return Passage::default();
        }
        let Some(sent) = self.transmit(now, bytes) else {
            self.counters.overflowed += 1;
            return Passage::default();
        };
        let in_order = (sent + settings.delay + jitter).max(self.last_arrival);
        let at = if reordered {
            self.counters.reordered += 1;
            in_order + settings.reorder_delay
        } else {
            self.last_arrival = in_order;
            in_order
        };
        let flipped_bit = (corrupted && bytes > 0).then_some(bit);
        self.counters.corrupted += u64::from(flipped_bit.is_some());
        self.counters.duplicated += u64::from(duplicated);
        self.counters.marked += u64::from(marked);
        let arrivals = 1 + u64::from(duplicated);
        self.counters.delivered += arrivals;
        self.counters.delivered_bytes += arrivals * bytes as u64;
        Passage {
            first: Some(Arrival {
                at,
                flipped_bit,
                marked,
            }),
            // The second is whole: a network damages one copy, not both in the same way.
            second: duplicated.then_some(Arrival {
                at,
                flipped_bit: None,
                marked,
            }),
        }
    }

    /// Bytes that wait for the bottleneck.
    pub fn queued_bytes(&self, now: Duration) -> usize {
        match self.settings.rate {
            Some(rate) => {
                let waiting = self.free_at.saturating_sub(now);
                (waiting.as_secs_f64() * rate as f64 / 8.0) as usize
            }
            None => 0,
        }
    }

    /// When the last bit of a datagram has left; `None` where the queue is full.
    fn transmit(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let Some(rate) = self.settings.rate else {
            return Some(now);
        };
        if self.queued_bytes(now) + bytes > self.settings.queue_bytes.max(bytes) {
            return None;
        }
        let duration = Duration::from_secs_f64(bytes as f64 * 8.0 / rate.max(1) as f64);
        self.free_at = self.free_at.max(now) + duration;
        Some(self.free_at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const COUNT: u64 = 20_000;
    const BYTES: usize = 1000;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// `COUNT` datagrams, one a millisecond.
    fn run(settings: Settings, seed: u64) -> (Link, Vec<Passage>) {
        let mut link = Link::new(settings, seed);
        let passages = (0..COUNT)
            .map(|number| link.pass(millis(number), BYTES))
            .collect();
        (link, passages)
    }

    fn near(count: u64, share: f64) -> bool {
        let expected = COUNT as f64 * share;
        (count as f64 - expected).abs() < 5.0 * expected.sqrt()
    }

    #[test]
    fn without_impairments_everything_arrives_at_once_and_whole() {
        let (link, passages) = run(Settings::default(), 1);
        for (number, passage) in passages.iter().enumerate() {
            let at = millis(number as u64);
            let whole = Arrival {
                at,
                flipped_bit: None,
                marked: false,
            };
            assert_eq!(passage.arrivals().collect::<Vec<_>>(), [whole]);
        }
        assert_eq!(link.counters.delivered, COUNT);
    }

    #[test]
    fn one_seed_makes_one_history_whatever_else_is_switched_on() {
        let lossy = Settings {
            loss: 0.1,
            ..Settings::default()
        };
        let worse = Settings {
            corrupt: 0.3,
            jitter: millis(1),
            ..lossy
        };
        let dropped = |(_, passages): (Link, Vec<Passage>)| {
            passages
                .iter()
                .map(|passage| passage.first.is_none())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(lossy, 7).1, run(lossy, 7).1);
        assert_ne!(run(lossy, 7).1, run(lossy, 8).1);
        assert_eq!(dropped(run(lossy, 7)), dropped(run(worse, 7)));
    }

    #[test]
    fn marks_keep_their_share_and_change_nothing_else() {
        let lossy = Settings {
            loss: 0.1,
            ..Settings::default()
        };
        let marking = Settings { mark: 0.2, ..lossy };
        let (link, passages) = run(marking, 7);
        assert!(near(link.counters.marked, 0.2 * 0.9));
        let marked = |it: &&Passage| it.first.is_some_and(|first| first.marked);
        assert_eq!(
            passages.iter().filter(marked).count() as u64,
            link.counters.marked
        );
        let plain = run(lossy, 7).1;
        let times = |of: &[Passage]| {
            of.iter()
                .map(|it| it.first.map(|first| first.at))
                .collect::<Vec<_>>()
        };
        assert_eq!(times(&plain), times(&passages));
        assert!(!plain.iter().any(|it| marked(&it)));
    }

    #[test]
    fn loss_duplication_and_corruption_keep_their_shares() {
        let (link, passages) = run(
            Settings {
                loss: 0.01,
                duplicate: 0.02,
                corrupt: 0.03,
                ..Settings::default()
            },
            3,
        );
        assert!(near(link.counters.lost, 0.01));
        assert!(near(link.counters.duplicated, 0.02 * 0.99));
        assert!(near(link.counters.corrupted, 0.03 * 0.99));
        let twice = passages.iter().filter(|it| it.second.is_some()).count();
        assert_eq!(twice as u64, link.counters.duplicated);
        let bits = passages.iter().filter_map(|it| it.first?.flipped_bit);
        assert!(bits.clone().all(|bit| bit < BYTES * 8));
        assert_eq!(bits.count() as u64, link.counters.corrupted);
        assert_eq!(link.counters.received, COUNT);
    }

    #[test]
    fn delay_and_jitter_keep_the_order_and_reordering_does_not() {
        let settings = Settings {
            delay: millis(10),
            jitter: millis(5),
            ..Settings::default()
        };
        let times = |settings| {
            let (_, passages) = run(settings, 5);
            passages
                .iter()
                .map(|passage| passage.first.unwrap().at)
                .collect::<Vec<_>>()
        };
        let ordered = times(settings);
        assert!(ordered.is_sorted());
        for (number, at) in ordered.iter().enumerate() {
            let delay = *at - millis(number as u64);
            assert!((millis(10)..millis(15)).contains(&delay));
        }
        let reordered = times(Settings {
            reorder: 0.05,
            reorder_delay: millis(20),
            ..settings
        });
        let overtaken = reordered.windows(2).filter(|it| it[0] > it[1]).count();
        assert!(near(overtaken as u64, 0.05 * 0.95));
    }

    #[test]
    fn the_bottleneck_passes_its_rate_and_its_queue_is_bounded() {
        // Offered 8 Mbit/s, twice what it passes.
        let (link, passages) = run(
            Settings {
                rate: Some(4_000_000),
                queue_bytes: 10 * BYTES,
                ..Settings::default()
            },
            5,
        );
        assert!(link.counters.delivered.abs_diff(COUNT / 2) <= 10);
        assert_eq!(
            link.counters.delivered + link.counters.overflowed,
            link.counters.received
        );
        for (number, passage) in passages.iter().enumerate() {
            if let Some(arrival) = passage.first {
                // Ten datagrams of 2 ms each.
                assert!(arrival.at - millis(number as u64) <= millis(20));
            }
        }
    }

    #[test]
    fn a_black_hole_takes_the_large_and_nothing_else() {
        let mut link = Link::new(
            Settings {
                mtu: 1200,
                ..Settings::default()
            },
            1,
        );
        assert!(link.pass(millis(0), 1200).first.is_some());
        assert!(link.pass(millis(0), 1201).first.is_none());
        assert_eq!(link.counters.too_large, 1);
        link.settings.mtu = usize::MAX;
        assert!(link.pass(millis(0), 1201).first.is_some());
    }
}
