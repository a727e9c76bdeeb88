//! What a connection waits for: shares of its time, for whoever asks why it is not faster.
//!
//! At each moment a connection that sends is held by exactly one thing:
//!
//! | bound | what is seen |
//! |---|---|
//! | receiver | data waits to be taken or sent, and the peer's flow control gives no leave |
//! | loss | data waits, and losses or ECN marks hold the window below the path's own measure |
//! | window | data waits, and the window is full while the path's rate is still looked for; or writers wait because what was sent before is not acknowledged and the send window is full |
//! | path | data waits, the path's rate is known, and it or the pacing to it is in use |
//! | sender | nothing waits: the application gives less than could be sent |
//! | idle | the same, and no data has left for [`QUIET`] |
//!
//! What is seen holds from one observation to the next.

use std::time::{Duration, Instant};

use quinn_proto::ConnectionStats;

use super::gauge::{Phase, Reading};

/// A pause of the application up to this counts as its slowness, a longer one as rest.
pub const QUIET: Duration = Duration::from_millis(100);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Sender,
    Receiver,
    Window,
    Loss,
    Path,
    Idle,
}

impl Bound {
    pub const ALL: [Bound; 6] = [
        Bound::Sender,
        Bound::Receiver,
        Bound::Window,
        Bound::Loss,
        Bound::Path,
        Bound::Idle,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Bound::Sender => "sender",
            Bound::Receiver => "receiver",
            Bound::Window => "window",
            Bound::Loss => "loss",
            Bound::Path => "path",
            Bound::Idle => "idle",
        }
    }
}

/// What can be seen of a connection at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Data or retransmissions are ready to leave: the last poll for a datagram ended because of
    /// the window or the pacing.
    pub unsent: bool,
    /// The peer's flow control has stopped a writer ([`Credit`]).
    pub withheld: bool,
    /// Writers wait for room in the send buffer.
    pub writers_waiting: bool,
    /// Frames with data of the application that have left, as a total.
    pub data_frames: u64,
    pub in_flight_bytes: u64,
    pub window_bytes: u64,
    pub mtu_bytes: u64,
    pub held_by_loss: bool,
    pub phase: Phase,
}

impl Facts {
    /// The facts that the congestion controller shows, with those that only streams know.
    pub fn of(
        reading: &Reading,
        stats: &ConnectionStats,
        withheld: bool,
        writers_waiting: bool,
    ) -> Facts {
        Facts {
            unsent: !reading.application_limited,
            withheld,
            writers_waiting,
            data_frames: stats.frame_tx.stream + stats.frame_tx.datagram,
            in_flight_bytes: reading.in_flight_bytes,
            window_bytes: reading.window_bytes,
            mtu_bytes: u64::from(stats.path.current_mtu),
            held_by_loss: reading.held_by_loss,
            phase: reading.phase,
        }
    }

    /// `None` where nothing waits to be sent.
    pub fn bound(&self) -> Option<Bound> {
        if !self.unsent && self.withheld {
            return Some(Bound::Receiver);
        }
        if !self.unsent {
            return self.writers_waiting.then_some(Bound::Window);
        }
        if self.held_by_loss {
            return Some(Bound::Loss);
        }
        let full = self.in_flight_bytes + self.mtu_bytes >= self.window_bytes;
        let searching = matches!(
            self.phase,
            Phase::Startup | Phase::Drain | Phase::ProbeRoundTrip
        );
        Some(if full && searching {
            Bound::Window
        } else {
            Bound::Path
        })
    }
}

/// Whether the peer's flow control holds a writer, seen from counts of frames: QUIC tells the peer
/// when it is blocked (RFC 9000 section 19.12) and is told of new leave (19.9, 19.10).
#[derive(Clone, Copy, Debug, Default)]
pub struct Credit {
    blocked_sent: u64,
    granted: u64,
    withheld: bool,
}

impl Credit {
    /// Takes the totals of `DATA_BLOCKED` and `STREAM_DATA_BLOCKED` sent, and of `MAX_DATA` and
    /// `MAX_STREAM_DATA` received.
    pub fn observe(&mut self, blocked_sent: u64, granted: u64) -> bool {
        if granted != self.granted {
            self.withheld = false;
        }
        if blocked_sent != self.blocked_sent {
            self.withheld = true;
        }
        self.blocked_sent = blocked_sent;
        self.granted = granted;
        self.withheld
    }
}

/// Time by what it was spent waiting for.
#[derive(Clone, Debug)]
pub struct Shares {
    spent: [Duration; Bound::ALL.len()],
    seen_at: Instant,
    seen: Facts,
    /// Since when nothing waits and no data has left.
    quiet_since: Option<Instant>,
}

impl Shares {
    pub fn new(now: Instant) -> Shares {
        Shares {
            spent: [Duration::ZERO; Bound::ALL.len()],
            seen_at: now,
            seen: Facts::default(),
            quiet_since: Some(now),
        }
    }

    /// What was seen last has held until `now`; from now on `facts` hold.
    pub fn observe(&mut self, now: Instant, facts: Facts) {
        self.settle(now);
        // What is in flight says nothing here: acknowledgements alone are never acknowledged.
        let sent = facts.data_frames != self.seen.data_frames;
        let before = self.quiet_since.filter(|_| !sent).unwrap_or(now);
        self.quiet_since = facts.bound().is_none().then_some(before);
        self.seen = facts;
    }

    /// What a connection waits for at `now`.
    pub fn bound(&self, now: Instant) -> Bound {
        match (self.seen.bound(), self.quiet_since) {
            (Some(bound), _) => bound,
            (None, Some(since)) if now.saturating_duration_since(since) >= QUIET => Bound::Idle,
            (None, _) => Bound::Sender,
        }
    }

    /// Time spent on each of [`Bound::ALL`], up to `now`.
    pub fn spent(&self, now: Instant) -> [Duration; Bound::ALL.len()] {
        let mut shares = self.clone();
        shares.settle(now);
        shares.spent
    }

    fn settle(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.seen_at);
        let (bound, rest) = match (self.seen.bound(), self.quiet_since) {
            (Some(bound), _) => (bound, Duration::ZERO),
            (None, Some(since)) => {
                let rest_began = (since + QUIET).max(self.seen_at);
                (Bound::Sender, now.saturating_duration_since(rest_began))
            }
            (None, None) => (Bound::Sender, Duration::ZERO),
        };
        let rest = rest.min(elapsed);
        self.spent[Bound::Idle as usize] += rest;
        self.spent[bound as usize] += elapsed - rest;
        self.seen_at = self.seen_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 100_000;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn sending(in_flight_bytes: u64, phase: Phase) -> Facts {
        Facts {
            unsent: true,
            in_flight_bytes,
            window_bytes: WINDOW,
            mtu_bytes: 1452,
            phase,
            ..Facts::default()
        }
    }

    fn nothing_to_send(data_frames: u64) -> Facts {
        Facts {
            unsent: false,
            data_frames,
            ..sending(50, Phase::Cruise)
        }
    }

    /// Plays facts, each for a time, and gives milliseconds for each bound.
    fn played(timeline: &[(u64, Facts)]) -> [u64; 6] {
        let start = Instant::now();
        let mut shares = Shares::new(start);
        let mut now = start;
        for (duration, facts) in timeline {
            shares.observe(now, *facts);
            now += millis(*duration);
        }
        shares.spent(now).map(|spent| spent.as_millis() as u64)
    }

    fn only(bound: Bound, millis: u64) -> [u64; 6] {
        let mut spent = [0; 6];
        spent[bound as usize] = millis;
        spent
    }

    #[test]
    fn each_fact_has_its_bound() {
        let full = sending(WINDOW, Phase::Startup);
        let paced = sending(WINDOW / 2, Phase::Startup);
        let cases = [
            (full, Bound::Window),
            (sending(WINDOW, Phase::ProbeRoundTrip), Bound::Window),
            (sending(WINDOW, Phase::Cruise), Bound::Path),
            (paced, Bound::Path),
            (
                Facts {
                    held_by_loss: true,
                    ..full
                },
                Bound::Loss,
            ),
            (
                Facts {
                    withheld: true,
                    ..nothing_to_send(0)
                },
                Bound::Receiver,
            ),
            (
                Facts {
                    writers_waiting: true,
                    ..nothing_to_send(7)
                },
                Bound::Window,
            ),
            (nothing_to_send(7), Bound::Sender),
        ];
        for (facts, bound) in cases {
            assert_eq!(played(&[(70, facts)]), only(bound, 70), "{facts:?}");
        }
    }

    #[test]
    fn a_receiver_without_leave_counts_only_once_what_was_allowed_has_left() {
        let withheld = Facts {
            withheld: true,
            ..sending(WINDOW, Phase::Cruise)
        };
        assert_eq!(withheld.bound(), Some(Bound::Path));
    }

    #[test]
    fn a_pause_is_the_senders_until_it_is_rest() {
        let spent = played(&[(30, nothing_to_send(7)), (250, nothing_to_send(8))]);
        assert_eq!(spent[Bound::Sender as usize], 130);
        assert_eq!(spent[Bound::Idle as usize], 150);
    }

    #[test]
    fn rest_is_counted_once_however_often_it_is_looked_at() {
        let looks = [(60, nothing_to_send(0)); 5];
        let spent = played(&looks);
        assert_eq!(spent[Bound::Sender as usize], 100);
        assert_eq!(spent[Bound::Idle as usize], 200);
    }

    #[test]
    fn all_time_is_accounted_for_and_none_twice() {
        let timeline = [
            (10, sending(WINDOW, Phase::Startup)),
            (20, sending(WINDOW, Phase::Cruise)),
            (0, nothing_to_send(0)),
            (40, nothing_to_send(0)),
            (150, nothing_to_send(0)),
            (5, sending(10, Phase::Cruise)),
        ];
        let spent = played(&timeline);
        assert_eq!(spent.iter().sum::<u64>(), 225);
        assert_eq!(spent[Bound::Window as usize], 10);
        assert_eq!(spent[Bound::Path as usize], 25);
        assert_eq!(spent[Bound::Idle as usize], 90);
    }

    #[test]
    fn time_that_runs_backwards_counts_nothing() {
        let start = Instant::now() + millis(100);
        let mut shares = Shares::new(start);
        shares.observe(start, sending(WINDOW, Phase::Cruise));
        shares.observe(start - millis(50), sending(WINDOW, Phase::Cruise));
        shares.observe(start + millis(10), nothing_to_send(0));
        let spent = shares.spent(start + millis(10));
        assert_eq!(spent.iter().sum::<Duration>(), millis(10));
    }

    #[test]
    fn leave_is_withheld_from_a_blocked_frame_to_the_next_grant() {
        let mut credit = Credit::default();
        assert!(!credit.observe(0, 3));
        assert!(credit.observe(1, 3));
        assert!(credit.observe(1, 3));
        assert!(!credit.observe(1, 4));
        assert!(credit.observe(2, 5));
    }
}
