//! The congestion controller: a model of the path instead of a reaction to each loss.
//!
//! The model is two numbers: the rate at which the path delivers (the greatest of the last ten
//! round trips) and its round-trip time without a queue (the least of the last seconds). Their
//! product is what fits into the path; a little more keeps it busy. The idea and most of the
//! constants are BBR's (Cardwell et al., "BBR: congestion-based congestion control", 2016, and
//! draft-ietf-ccwg-bbr, sections 4 and 5); what differs is said where it differs.
//!
//! ```text
//! Startup ──(the rate no longer grows, or losses)──▶ Drain ──(the queue is empty)──▶ Cruise
//!                                                                                  │    ▲
//!               ProbeRoundTrip ◀──(no low round trip for ten seconds)── any        ▼    │
//!                                                                 ProbeUp ──▶ ProbeDown
//! ```
//! quinn-proto paces at 1.25 windows a round trip and lets no controller choose the pace, so the
//! window alone acts here: each phase is a factor on the product above. That keeps a standing queue
//! of a tenth of the product instead of BBR's up to one.
//!
//! One loss changes nothing. Losses beyond what a path with [`LOSS_TOLERATED`] would show by chance,
//! and ECN marks, put a ceiling on the window, which for losses falls no lower than what the last
//! round trip has delivered; probing lifts it again. Persistent congestion (RFC 9002 section 7.6) starts over from
//! the least window, with the model kept.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

use super::delivery::{Sample, Sampler};
use super::filter::{RecentMin, RoundMax, SPAN};
use super::gauge::{Gauge, Phase, Reading};
use super::room::{Room, Seat};
use super::tier::Settings;
use crate::limits::{LOOPBACK_ROUND_TRIP_MAX, ROOM_ROUND_TRIP_MAX};

/// The share of bytes that a path may lose for other reasons than congestion: a satellite link
/// loses 1 %.
pub const LOSS_TOLERATED: f64 = 0.02;

/// Packets' worth of bytes before losses are judged.
const LOSS_PACKETS_MIN: u64 = 64;

/// Standard deviations above the tolerated losses that count as proof.
const LOSS_DEVIATIONS: f64 = 3.0;

/// Of the window, after proof of too many losses or an ECN mark.
const LOSS_FACTOR: f64 = 0.85;

/// A round trip of doubling: twice what was delivered, and what a sample misses of it.
const STARTUP_GAIN: f64 = 2.25;

/// Datagrams by which a round trip grows at most. What overflows a queue is seen a round trip later
/// and lost until then, and quinn-proto's receiver gives a connection up over 1,024 gaps in one
/// stream.
const STARTUP_DATAGRAMS: u64 = 512;

/// Round trips until all that left in one that was too much is acknowledged or lost.
const LONG_START_ROUNDS: u64 = 3;

/// The share of that growth which the rate of a path without limit shows at least.
const STARTUP_GROWTH: f64 = 0.3;

/// Round trips without such growth after which the path counts as full.
const STARTUP_ROUNDS: u32 = 3;

/// So does a path whose least round-trip time of a round is higher than its least by an eighth
/// within these bounds (RFC 9406 section 4.2). BBR waits for the rate alone; on a long path that is
/// some more round trips of overflowing queues.
const STARTUP_DELAY_MIN: Duration = Duration::from_millis(4);
const STARTUP_DELAY_MAX: Duration = Duration::from_millis(16);

/// Samples of a round before its round-trip time is judged.
const STARTUP_SAMPLES: u32 = 8;

const DRAIN_GAIN: f64 = 0.75;
const CRUISE_GAIN: f64 = 1.1;
const UP_GAIN: f64 = 1.35;
const DOWN_GAIN: f64 = 0.9;

/// While others fill the queue, as a flow driven by losses does: BBR's bound at all times.
const CONTESTED_GAIN: f64 = 2.0;

/// Where the queue is still there although we have stepped back, it is another's.
const CONTESTED_ROUND_TRIP: f64 = 1.35;

/// Cycles in a row that have to show it.
const CONTESTED_CYCLES: u32 = 2;

/// Round trips between two probes, less up to `CRUISE_SPREAD` so that two flows do not keep step.
const CRUISE_ROUNDS: u64 = 7;
const CRUISE_SPREAD: u64 = 3;

/// The power of two by which a ceiling is lifted at first.
const LIFT_FIRST: u32 = 4;

/// Growth that keeps a probe going for another round trip.
const UP_GROWTH: f64 = 1.1;

/// How long a probe for the round-trip time lasts, and the share of the product it leaves.
const SILENCE: Duration = Duration::from_millis(200);
const SILENCE_GAIN: f64 = 0.5;

/// Below this the time of threads to wake up is most of a round trip, and silence shows nothing.
const SILENCE_ROUND_TRIP_MIN: Duration = Duration::from_millis(2);

/// What the ends may be late by, in time of the path's rate: they sleep in timers of a millisecond.
const LATENESS: Duration = Duration::from_millis(1);

/// Datagrams; the least window (RFC 9002 section 7.2 allows two; four let acknowledgements of
/// every second one flow).
const WINDOW_DATAGRAMS_MIN: u64 = 4;

/// Datagrams that a connection may have in the buffer of a receiver on this host, however many share
/// it: one that is acknowledged, and one meanwhile.
const ROOM_DATAGRAMS_MIN: u64 = 2;

/// Makes the controllers of one connection, one for each path it takes.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Bytes.
    pub initial_window: u64,
    /// Bytes; never less than this while the path is as quick as one within a host.
    pub floor: u64,
    /// The buffer of a receiver on this host, which bounds the window likewise.
    pub room: Option<Arc<Room>>,
    /// Packets that the peer may leave without acknowledgement, and the longest it may wait with one.
    pub ack_threshold: u32,
    pub ack_delay: Duration,
    pub gauge: Arc<Gauge>,
}

impl ControllerFactory for ModelConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Model::new(&self, now, current_mtu))
    }
}

#[derive(Clone, Debug)]
pub struct Model {
    gauge: Arc<Gauge>,
    initial_window: u64,
    floor: u64,
    seat: Option<Seat>,
    ack_threshold: u64,
    ack_delay: Duration,
    mtu: u64,

    sampler: Sampler,
    /// Bytes per second.
    rate: RoundMax,
    /// Bytes that arrived beyond the rate: acknowledgements in heaps.
    surplus: RoundMax,
    surplus_epoch: (Instant, u64),
    round_trip: RecentMin,
    smoothed: Duration,
    /// When the round-trip time was last near its least.
    low_at: Instant,
    /// The least round-trip time of the round that goes on, and of the one before.
    round_low: (Duration, Duration),
    round_samples: u32,

    phase: Phase,
    phase_round: u64,
    phase_began: Instant,
    round: u64,
    /// The round trip ends when a packet is acknowledged that left after this much was delivered.
    round_end: u64,
    cruise_rounds: u64,
    full_rate: f64,
    full_rounds: u32,
    full: bool,
    contested: u32,

    window: u64,
    in_flight: u64,
    /// Bytes; what losses or ECN have taught.
    ceiling: Option<u64>,
    /// Probing lifts the ceiling by one part in two to this power, and by twice as much after each
    /// probe that met no losses.
    lift: u32,
    /// Grows back from the least window.
    restoring: bool,
    epoch: LossEpoch,
    /// It has begun with the window of a long path: the round trip up to which losses tell of that
    /// window, and not of what the path carries.
    began_long: Option<u64>,
    marked_round: Option<u64>,
    application_limited: bool,
}

/// Losses against deliveries since the last judgement.
#[derive(Clone, Copy, Debug, Default)]
struct LossEpoch {
    lost: u64,
    delivered: u64,
    /// Of the epoch before, for others to see.
    share: f64,
}

impl LossEpoch {
    /// Whether so many losses in so many packets prove that the path loses more than it may by
    /// chance: the tolerated count and three standard deviations (of a Poisson count) on top.
    fn proven(&self, mtu: u64) -> Option<bool> {
        let packets = (self.lost + self.delivered) as f64 / mtu as f64;
        if packets < LOSS_PACKETS_MIN as f64 {
            return None;
        }
        let expected = packets * LOSS_TOLERATED;
        let bound = expected + LOSS_DEVIATIONS * expected.sqrt();
        Some(self.lost as f64 / mtu as f64 > bound)
    }
}

impl Model {
    fn new(config: &ModelConfig, now: Instant, mtu: u16) -> Model {
        let mtu = u64::from(mtu);
        let model = Model {
            gauge: config.gauge.clone(),
            initial_window: config.initial_window,
            floor: config.floor,
            seat: config.room.clone().map(Seat::new),
            ack_threshold: config.ack_threshold.into(),
            ack_delay: config.ack_delay,
            mtu,
            sampler: Sampler::new(now),
            rate: RoundMax::default(),
            surplus: RoundMax::default(),
            surplus_epoch: (now, 0),
            round_trip: RecentMin::new(now),
            smoothed: Duration::ZERO,
            low_at: now,
            round_low: (Duration::MAX, Duration::MAX),
            round_samples: 0,
            phase: Phase::Startup,
            phase_round: 0,
            phase_began: now,
            round: 0,
            round_end: 0,
            cruise_rounds: CRUISE_ROUNDS,
            full_rate: 0.0,
            full_rounds: 0,
            full: false,
            contested: 0,
            window: config.initial_window.max(WINDOW_DATAGRAMS_MIN * mtu),
            in_flight: 0,
            ceiling: None,
            lift: LIFT_FIRST,
            restoring: false,
            epoch: LossEpoch::default(),
            began_long: None,
            marked_round: None,
            application_limited: false,
        };
        model.show();
        model
    }

    /// Whether the path is so quick, as far as it is known.
    fn is_within(&self, bound: Duration) -> bool {
        self.round_trip.get().unwrap_or_default() < bound
    }

    fn least(&self) -> u64 {
        let least = WINDOW_DATAGRAMS_MIN * self.mtu;
        // Within a host too many senders together overflow the receiver's socket.
        if self.is_within(LOOPBACK_ROUND_TRIP_MAX) && self.ceiling.is_none() {
            least.max(self.floor)
        } else {
            least
        }
    }

    fn hold(&mut self, in_flight: u64) {
        self.in_flight = in_flight;
        if let Some(seat) = &mut self.seat {
            seat.hold(in_flight);
        }
    }

    /// Bytes that fit into the path; 0 while the model is empty.
    fn product(&self) -> f64 {
        let round_trip = self.round_trip.get().unwrap_or_default();
        self.rate.get() * round_trip.as_secs_f64()
    }

    /// Bytes that are in the path at `gain` of its product, and those on their way through the
    /// ends' own delays.
    fn target(&self, gain: f64) -> u64 {
        let product = self.product();
        if product == 0.0 {
            return u64::MAX;
        }
        let late = self.rate.get() * LATENESS.as_secs_f64();
        let late = late.max(self.awaited()) + self.surplus.get().min(product);
        (gain * product + late) as u64 + 3 * self.mtu
    }

    /// Bytes that bring an acknowledgement by their number, while the one before is on its way. A
    /// window below that waits for the peer's delay each time: the rate that is measured then is the
    /// window over that delay, whatever the path carries, and would keep the window small.
    fn awaited(&self) -> f64 {
        let counted = (2 * self.ack_threshold * self.mtu) as f64;
        counted.min(self.rate.get() * self.ack_delay.as_secs_f64())
    }

    fn gain(&self) -> f64 {
        let contested = self.contested >= CONTESTED_CYCLES;
        match self.phase {
            Phase::Startup => {
                let step = (STARTUP_DATAGRAMS * self.mtu) as f64 / self.product().max(1.0);
                1.0 + step.min(STARTUP_GAIN - 1.0)
            }
            Phase::Drain => DRAIN_GAIN,
            Phase::Cruise if contested => CONTESTED_GAIN,
            Phase::Cruise => CRUISE_GAIN,
            Phase::ProbeUp if contested => CONTESTED_GAIN * UP_GAIN,
            Phase::ProbeUp => 1.0 + self.up_step(),
            Phase::ProbeDown => DOWN_GAIN,
            Phase::ProbeRoundTrip => SILENCE_GAIN,
        }
    }

    /// By how much probing exceeds the product: on a long and fast path no more than what may be lost
    /// before it is seen.
    fn up_step(&self) -> f64 {
        let step = (STARTUP_DATAGRAMS * self.mtu) as f64 / self.product().max(1.0);
        step.min(UP_GAIN - 1.0)
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.phase_round = self.round;
        self.phase_began = now;
        if phase == Phase::Cruise {
            // Bits of a count that no two flows share serve as chance.
            let chance = self.sampler.delivered() / self.mtu;
            self.cruise_rounds = CRUISE_ROUNDS - chance % (CRUISE_SPREAD + 1);
        }
    }

    /// The first round trip is known: a long path begins with a window that suits it, unless it has
    /// lost something already.
    fn begin(&mut self, round_trip: Duration) {
        let start = Settings::long_start(round_trip).unwrap_or_default();
        if start > self.initial_window && self.ceiling.is_none() && self.epoch.lost == 0 {
            self.initial_window = start;
            self.began_long = Some(u64::MAX);
            self.window = self.window.max(start);
        }
    }

    fn learn(&mut self, now: Instant, sample: &Sample) -> bool {
        let ended = sample.delivered_before >= self.round_end;
        if ended {
            self.round_end = self.sampler.delivered();
            self.round += 1;
            self.round_low = (Duration::MAX, self.round_low.0);
            self.round_samples = 0;
            self.surplus_epoch = (now, 0);
            if !sample.application_limited {
                // A pause shows nothing of the path, so it does not age what is known of it.
                self.rate.advance();
                self.surplus.advance();
            }
        }
        if let Some(rate) = sample.rate {
            if !sample.application_limited || rate > self.rate.get() {
                self.rate.update(rate);
            }
        }
        self.round_low.0 = self.round_low.0.min(sample.round_trip);
        self.round_samples += 1;
        let least = self.round_trip.get();
        if least.is_none_or(|least| sample.round_trip <= least + least / 16) {
            self.low_at = now;
        }
        self.round_trip.update(now, sample.round_trip);
        self.learn_surplus(now, sample.acknowledged);
        ended
    }

    /// draft-ietf-ccwg-bbr section 5.5.9: what is acknowledged beyond the rate since the last time
    /// that it was not, or since the round began. While the rate is still looked for, more than
    /// that is no surplus.
    fn learn_surplus(&mut self, now: Instant, acknowledged: u64) {
        if !self.full {
            return;
        }
        let (began, bytes) = self.surplus_epoch;
        let elapsed = now.saturating_duration_since(began).as_secs_f64();
        let expected = self.rate.get() * elapsed;
        let bytes = bytes + acknowledged;
        if bytes as f64 <= expected {
            self.surplus_epoch = (now, 0);
        } else {
            self.surplus_epoch.1 = bytes;
            self.surplus.update(bytes as f64 - expected);
        }
    }

    /// Judges the losses of the epoch, once it has packets enough.
    fn judge(&mut self) -> bool {
        let Some(proven) = self.epoch.proven(self.mtu) else {
            return false;
        };
        let all = (self.epoch.lost + self.epoch.delivered) as f64;
        self.epoch = LossEpoch {
            share: self.epoch.lost as f64 / all,
            ..LossEpoch::default()
        };
        if proven && self.began_long.is_some_and(|until| self.round < until) {
            // It was too much, as such a window may be. What arrives of it shows the rate, and a
            // ceiling would be put where the rate was half known.
            self.full = true;
            return false;
        }
        if proven {
            // What the last whole round trip delivered, in flight.
            let round_trip = self.round_trip.get().unwrap_or_default();
            let support = self.rate.before().max(self.rate.latest()) * round_trip.as_secs_f64();
            self.lower((self.window as f64 * LOSS_FACTOR) as u64, support as u64);
        }
        proven
    }

    /// Puts the ceiling at `bytes`, but no lower than `support`.
    fn lower(&mut self, bytes: u64, support: u64) {
        let least = WINDOW_DATAGRAMS_MIN * self.mtu;
        let bytes = bytes.max(support.min(self.window)).max(least);
        self.ceiling = Some(self.ceiling.map_or(bytes, |ceiling| ceiling.min(bytes)));
        if self.phase == Phase::Startup {
            self.full = true;
        }
    }

    fn advance(&mut self, now: Instant, ended: bool, proven: bool, application_limited: bool) {
        let rounds = self.round - self.phase_round;
        match self.phase {
            Phase::Startup => {
                if ended && !application_limited {
                    let rate = self.rate.get();
                    let growth = 1.0 + (self.gain() - 1.0) * STARTUP_GROWTH;
                    if rate >= self.full_rate * growth {
                        self.full_rate = rate;
                        self.full_rounds = 0;
                    } else {
                        self.full_rounds += 1;
                    }
                }
                if self.full || self.full_rounds >= STARTUP_ROUNDS || self.queue_seen() {
                    self.full = true;
                    self.began_long = self.began_long.map(|_| self.round + LONG_START_ROUNDS);
                    self.enter(Phase::Drain, now);
                }
            }
            Phase::Drain => {
                if self.in_flight <= self.target(1.0) || rounds > 3 {
                    self.enter(Phase::Cruise, now);
                }
            }
            Phase::Cruise => {
                if ended && rounds >= self.cruise_rounds && !application_limited {
                    self.full_rate = self.rate.get();
                    self.enter(Phase::ProbeUp, now);
                }
            }
            Phase::ProbeUp => {
                // The first round trip sends more; the second shows whether more arrives.
                if proven {
                    self.lift = LIFT_FIRST;
                    self.enter(Phase::ProbeDown, now);
                } else if ended && rounds >= 2 {
                    let growth = UP_GROWTH.min(1.0 + self.up_step() * STARTUP_GROWTH);
                    if self.rate.get() >= self.full_rate * growth {
                        self.full_rate = self.rate.get();
                    } else {
                        self.lift = self.lift.saturating_sub(1).max(1);
                        self.enter(Phase::ProbeDown, now);
                    }
                }
            }
            Phase::ProbeDown => {
                if ended && rounds >= 2 {
                    self.look_for_others();
                    self.enter(Phase::Cruise, now);
                }
            }
            Phase::ProbeRoundTrip => {
                let silent = now.saturating_duration_since(self.phase_began);
                if ended && rounds >= 1 && silent >= SILENCE {
                    self.low_at = now;
                    let next = if self.full {
                        Phase::Cruise
                    } else {
                        Phase::Startup
                    };
                    self.enter(next, now);
                }
            }
        }
        let high_for = now.saturating_duration_since(self.low_at);
        if self.phase != Phase::ProbeRoundTrip
            && high_for >= 2 * SPAN
            && self
                .round_trip
                .get()
                .is_some_and(|least| least >= SILENCE_ROUND_TRIP_MIN)
        {
            self.enter(Phase::ProbeRoundTrip, now);
        }
    }

    /// Whether the round shows a queue, which is ours as the path was empty before.
    fn queue_seen(&self) -> bool {
        self.round_samples >= STARTUP_SAMPLES
            && self.round_trip.get().is_some_and(|least| {
                let rise = (least / 8).clamp(STARTUP_DELAY_MIN, STARTUP_DELAY_MAX);
                self.round_low.0 > least + rise
            })
    }

    /// After a round trip of sending less than the path carries, the queue that is left is not ours.
    fn look_for_others(&mut self) {
        let Some(least) = self.round_trip.get() else {
            return;
        };
        let (_, seen) = self.round_low;
        let theirs = least.mul_f64(CONTESTED_ROUND_TRIP) + 2 * LATENESS;
        if seen < Duration::MAX && seen > theirs {
            self.contested = (self.contested + 1).min(2 * CONTESTED_CYCLES);
        } else {
            self.contested = self.contested.saturating_sub(1);
        }
    }

    fn resize(&mut self, acknowledged: u64) {
        let mut target = self.target(self.gain());
        if self.phase == Phase::ProbeUp {
            // Where the ceiling is what holds us, probing is lifting it.
            if let Some(ceiling) = self.ceiling.filter(|ceiling| *ceiling < target) {
                let busy = self.in_flight + acknowledged + self.mtu >= self.window;
                let lift = if busy { acknowledged >> self.lift } else { 0 };
                self.ceiling = Some(ceiling + lift).filter(|lifted| *lifted < target);
            }
        }
        if let Some(ceiling) = self.ceiling {
            target = target.min(ceiling);
        }
        let mut least = self.least();
        if self.phase == Phase::Startup && self.ceiling.is_none() && !self.restoring {
            // An application that sends little shows a slow path where there is none.
            least = least.max(self.initial_window);
        }
        let target = target.max(least);
        self.window = self.window.saturating_add(acknowledged).min(target);
        self.restoring &= self.window < target;
    }

    fn show(&self) {
        self.gauge.write(&Reading {
            window_bytes: self.window(),
            in_flight_bytes: self.in_flight,
            delivery_rate: (self.rate.get() * 8.0) as u64,
            round_trip_us: self
                .round_trip
                .get()
                .map_or(0, |least| least.as_micros().max(1) as u64),
            loss_per_million: (self.epoch.share * 1e6) as u32,
            phase: self.phase,
            held_by_loss: self.restoring
                || self
                    .ceiling
                    .is_some_and(|ceiling| ceiling < self.target(CRUISE_GAIN)),
            application_limited: self.application_limited,
        });
    }
}

impl Controller for Model {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet_number: u64) {
        self.sampler.sent(now, self.smoothed);
        self.hold(self.in_flight + bytes);
        self.gauge.write_in_flight(self.in_flight);
    }

    fn on_ack(
        &mut self,
        _now: Instant,
        sent: Instant,
        bytes: u64,
        _application_limited: bool,
        round_trip: &RttEstimator,
    ) {
        self.sampler.acknowledged(sent, bytes);
        self.smoothed = round_trip.get();
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        application_limited: bool,
        _largest: Option<u64>,
    ) {
        self.hold(in_flight);
        self.application_limited = application_limited;
        let least = self.round_trip.get();
        let Some(sample) = self.sampler.end(now, in_flight, application_limited, least) else {
            return;
        };
        if least.is_none() {
            self.begin(sample.round_trip);
        }
        self.epoch.delivered += sample.acknowledged;
        let ended = self.learn(now, &sample);
        let proven = ended && self.judge();
        self.advance(now, ended, proven, sample.application_limited);
        self.resize(sample.acknowledged);
        self.show();
    }

    fn on_congestion_event(
        &mut self,
        _now: Instant,
        _sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.hold(self.in_flight.saturating_sub(lost_bytes));
        self.epoch.lost += lost_bytes;
        if is_persistent_congestion {
            self.window = self.least();
            self.restoring = true;
        } else if lost_bytes > 0 && self.phase == Phase::Startup {
            // Each round trip of waiting would double what overflows.
            self.judge();
        } else if lost_bytes == 0 && self.marked_round != Some(self.round) {
            // A router asks for less; once a round trip is what it can see the effect of.
            self.marked_round = Some(self.round);
            let less = (self.window as f64 * LOSS_FACTOR) as u64;
            self.lower(less, 0);
            self.window = self.window.min(less).max(self.least());
        }
        self.show();
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = u64::from(new_mtu);
        self.window = self.window.max(self.least());
    }

    fn window(&self) -> u64 {
        match &self.seat {
            Some(seat) if self.is_within(ROOM_ROUND_TRIP_MAX) => {
                let least = ROOM_DATAGRAMS_MIN * self.mtu;
                self.window.min(seat.limit().max(least))
            }
            _ => self.window,
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window();
        metrics.pacing_rate = Some((self.rate.get() * 8.0) as u64);
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.initial_window
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1452;
    const THRESHOLD: u32 = 8;
    const DELAY: Duration = Duration::from_millis(5);

    /// On a path of a tenth of a millisecond, where `rate` (bytes per second) was measured.
    fn model(rate: f64) -> Model {
        let config = ModelConfig {
            initial_window: 0,
            floor: 0,
            room: None,
            ack_threshold: THRESHOLD,
            ack_delay: DELAY,
            gauge: Arc::default(),
        };
        let now = Instant::now();
        let mut model = Model::new(&config, now, MTU);
        model.rate.update(rate);
        model.round_trip.update(now, Duration::from_micros(100));
        model
    }

    #[test]
    fn a_window_that_waits_for_delayed_acknowledgements_grows_out_of_them() {
        let enough = u64::from(THRESHOLD) * u64::from(MTU);
        let mut window = WINDOW_DATAGRAMS_MIN * u64::from(MTU);
        for _ in 0..8 {
            window = model(window as f64 / DELAY.as_secs_f64()).target(CRUISE_GAIN);
        }
        assert!(window > enough, "{window}");
    }

    #[test]
    fn a_slow_path_has_no_more_in_flight_for_that() {
        let rate = 125_000.0;
        assert!(model(rate).awaited() <= rate * DELAY.as_secs_f64());
    }
}
