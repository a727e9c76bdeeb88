//! The controller on simulated paths, beside Cubic and beside a planted bug.

use super::*;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// One bulk flow: what it moved after `warm` seconds, in Mbit/s.
fn alone(path: Settings, congestion: Congestion, warm: u64, count: u64) -> (Simulation, f64) {
    let mut simulation = Simulation::over(path, &[FlowSpec::bulk(congestion)]);
    simulation.run(seconds(warm));
    let rate = simulation.run(seconds(warm + count))[0] / 1e6;
    (simulation, rate)
}

/// What is asked of a controller on a path of 100 Mbit/s and 20 ms that loses 1 % by chance: the
/// path's rate, without a queue of more than half its round-trip time.
fn keeps_its_rate_under_loss(congestion: Congestion) -> Result<(), String> {
    let path = Simulation::path(100, 20, 1_000_000, 0.01);
    let (simulation, rate) = alone(path, congestion, 2, 4);
    let round_trip = simulation.connection(0).rtt();
    if rate < 90.0 {
        return Err(format!("moves {rate:.1} Mbit/s of 100"));
    }
    if round_trip > Duration::from_millis(30) {
        return Err(format!("keeps a queue: {round_trip:?} instead of 20 ms"));
    }
    Ok(())
}

#[test]
fn random_loss_does_not_slow_it_and_the_check_sees_what_would() {
    keeps_its_rate_under_loss(Congestion::Model).unwrap();
    let slow = keeps_its_rate_under_loss(Congestion::Cubic).unwrap_err();
    assert!(slow.contains("moves"), "{slow}");
    let bloated = keeps_its_rate_under_loss(Congestion::Fixed(1_000_000)).unwrap_err();
    assert!(bloated.contains("queue"), "{bloated}");
}

#[test]
fn it_moves_three_times_what_cubic_moves_at_one_per_cent() {
    for (megabits, round_trip) in [(400, 20), (100, 40)] {
        let path = Simulation::path(megabits, round_trip, 1_000_000, 0.01);
        let (_, model) = alone(path, Congestion::Model, 1, 2);
        let (_, cubic) = alone(path, Congestion::Cubic, 1, 2);
        assert!(model >= 3.0 * cubic, "{model:.1} against {cubic:.1} Mbit/s");
    }
}

/// As where many connections share the socket of a receiver on this host.
#[test]
fn within_a_host_the_window_gives_way_where_it_overflows_the_receiver() {
    let path = Simulation::path(400, 1, 200_000, 0.0);
    let floor = 2_000_000;
    let (simulation, rate) = alone(path, Congestion::Floored(floor), 1, 2);
    let stats = simulation.connection(0).stats().path;
    assert!(stats.cwnd < floor / 2, "a window of {} bytes", stats.cwnd);
    assert!(rate > 300.0, "{rate:.1} Mbit/s");
    let clean = Simulation::path(400, 1, 4_000_000, 0.0);
    let (simulation, _) = alone(clean, Congestion::Floored(floor), 1, 1);
    assert!(simulation.connection(0).stats().path.cwnd >= floor);
}

#[test]
fn connections_within_a_host_share_the_buffer_of_their_receiver() {
    const BYTES: u64 = 300_000;
    let path = Simulation::path(400, 1, 700_000, 0.0);
    let lost = |congestion| {
        let mut simulation = Simulation::over(path, &[(); 4].map(|()| FlowSpec::bulk(congestion)));
        simulation.run(seconds(1));
        let rates = simulation.run(seconds(2));
        let lost = |flow| simulation.connection(flow).stats().path.lost_packets;
        ((0..4).map(lost).sum::<u64>(), rates)
    };
    let (none, rates) = lost(Congestion::Within(BYTES));
    assert_eq!(none, 0);
    assert!(rates.iter().sum::<f64>() > 300e6, "{rates:?}");
    assert!(rates.iter().all(|rate| *rate > 50e6), "{rates:?}");
    let (each_for_itself, _) = lost(Congestion::Floored(BYTES));
    assert!(each_for_itself > 0);
}

#[test]
fn a_relay_on_this_host_that_is_slow_is_no_buffer_to_share() {
    let path = Simulation::path(100, 40, 1_000_000, 0.0);
    let (simulation, rate) = alone(path, Congestion::Within(100_000), 2, 2);
    assert!(rate > 90.0, "{rate:.1} Mbit/s");
    assert!(simulation.connection(0).stats().path.cwnd > 100_000);
}

#[test]
fn a_clean_path_is_full_and_its_queue_short() {
    for queue in [250_000, 2_500_000] {
        let path = Simulation::path(100, 20, queue, 0.0);
        let (simulation, rate) = alone(path, Congestion::Model, 1, 4);
        assert!(rate > 94.0, "{rate:.1} Mbit/s");
        let stats = simulation.connection(0).stats().path;
        assert!(stats.rtt < Duration::from_millis(32), "{:?}", stats.rtt);
        assert!(stats.lost_packets * 100 < stats.sent_packets);
    }
}

#[test]
fn a_lan_is_full_too() {
    let path = Settings {
        delay: Duration::from_micros(100),
        ..Simulation::path(1000, 0, 500_000, 0.0)
    };
    let (_, model) = alone(path, Congestion::Model, 0, 1);
    let (_, cubic) = alone(path, Congestion::Cubic, 0, 1);
    assert!(model > 0.98 * cubic, "{model:.1} against {cubic:.1} Mbit/s");
}

#[test]
fn a_router_with_hardly_a_queue_makes_it_yield_and_not_collapse() {
    let path = Simulation::path(100, 20, 15_000, 0.0);
    let (simulation, rate) = alone(path, Congestion::Model, 3, 6);
    let stats = simulation.connection(0).stats().path;
    let loss = stats.lost_packets as f64 / stats.sent_packets as f64;
    assert!(rate > 70.0, "{rate:.1} Mbit/s");
    assert!(loss < 0.06, "loses {loss:.3}");
}

#[test]
fn a_satellite_in_low_orbit_is_used_whole() {
    let path = Settings {
        jitter: Duration::from_millis(3),
        ..Simulation::path(100, 40, 500_000, 0.01)
    };
    let (_, rate) = alone(path, Congestion::Model, 2, 5);
    assert!(rate > 85.0, "{rate:.1} Mbit/s");
}

#[test]
fn a_geostationary_satellite_is_used_after_its_slow_start() {
    for (megabits, queue, loss) in [(40, 1_000_000, 0.0), (100, 1_000_000, 0.01)] {
        let path = Simulation::path(megabits, 600, queue, loss);
        let (simulation, rate) = alone(path, Congestion::Model, 12, 18);
        assert_eq!(simulation.flows[0].lost, None);
        let share = rate / megabits as f64;
        assert!(share > 0.75, "{rate:.1} of {megabits} Mbit/s");
    }
}

#[test]
fn reordering_and_duplicates_are_no_congestion() {
    let path = Settings {
        reorder: 0.01,
        duplicate: 0.01,
        ..Simulation::path(100, 20, 250_000, 0.0)
    };
    let (_, rate) = alone(path, Congestion::Model, 1, 3);
    assert!(rate > 85.0, "{rate:.1} Mbit/s");
}

/// What the second flow, begun later, moved of both in the last seconds.
fn share_of_the_second(queue: usize, second: Congestion) -> f64 {
    let specs = [
        FlowSpec::bulk(Congestion::Model),
        FlowSpec {
            begins: seconds(2),
            ..FlowSpec::bulk(second)
        },
    ];
    let path = Simulation::path(100, 20, queue, 0.0);
    let mut simulation = Simulation::over(path, &specs);
    simulation.run(seconds(12));
    let rates = simulation.run(seconds(20));
    assert!(rates.iter().sum::<f64>() > 88e6, "{rates:?}");
    rates[1] / rates.iter().sum::<f64>()
}

#[test]
fn two_flows_share_a_bottleneck() {
    for queue in [60_000, 250_000, 1_000_000] {
        let share = share_of_the_second(queue, Congestion::Model);
        assert!((0.25..0.75).contains(&share), "{share:.2} at {queue} bytes");
    }
}

#[test]
fn beside_cubic_neither_starves() {
    for queue in [60_000, 250_000, 1_000_000] {
        let share = share_of_the_second(queue, Congestion::Cubic);
        assert!((0.08..0.85).contains(&share), "{share:.2} at {queue} bytes");
    }
}

#[test]
fn a_path_that_gets_slower_or_faster_is_followed() {
    let path = Simulation::path(100, 20, 500_000, 0.0);
    let (mut simulation, _) = alone(path, Congestion::Model, 1, 2);
    for (megabits, within) in [(20, 4), (200, 8)] {
        simulation.up.settings.rate = Some(megabits * 1_000_000);
        let began = simulation.now.as_secs();
        simulation.run(seconds(began + within));
        let rate = simulation.run(seconds(began + within + 2))[0] / 1e6;
        assert!(rate > 0.85 * megabits as f64, "{rate:.1} of {megabits}");
        let round_trip = simulation.connection(0).rtt();
        assert!(round_trip < Duration::from_millis(60), "{round_trip:?}");
    }
}

#[test]
fn a_path_that_is_dead_for_seconds_comes_back() {
    let path = Simulation::path(50, 20, 250_000, 0.0);
    let (mut simulation, _) = alone(path, Congestion::Model, 1, 1);
    simulation.up.settings.loss = 1.0;
    simulation.run(seconds(4));
    simulation.up.settings.loss = 0.0;
    simulation.run(seconds(8));
    let rate = simulation.run(seconds(10))[0] / 1e6;
    assert!(rate > 42.0, "{rate:.1} Mbit/s");
}

#[test]
fn after_a_quiet_time_it_is_as_fast_as_before() {
    let path = Simulation::path(100, 20, 250_000, 0.0);
    let quiet = FlowSpec {
        offers: Some(1_000_000),
        ..FlowSpec::bulk(Congestion::Model)
    };
    let mut simulation = Simulation::over(path, &[quiet]);
    let rate = simulation.run(seconds(5))[0] / 1e6;
    assert!((0.9..1.1).contains(&rate), "{rate:.2}");
    let window = simulation.flows[0].gauge.read().window_bytes;
    assert!(window >= 32 * 1200, "{window}");
    simulation.flows[0].spec.offers = None;
    let rate = simulation.run(seconds(7))[0] / 1e6;
    assert!(rate > 85.0, "{rate:.1} Mbit/s");
}

#[test]
fn one_seed_is_one_history() {
    let path = Simulation::path(100, 20, 250_000, 0.01);
    let counters = || {
        let (simulation, _) = alone(path, Congestion::Model, 0, 1);
        simulation.up.counters
    };
    assert_eq!(counters(), counters());
}

/// What is asked of a start over a geostationary satellite of `megabits` with a queue of `queue`
/// bytes: most of what fits into the first fifteen seconds, handshake and all.
fn begins_well(megabits: u64, queue: usize, congestion: Congestion) -> Result<(), String> {
    let path = Simulation::path(megabits, 600, queue, 0.0);
    let (simulation, rate) = alone(path, congestion, 0, 15);
    let lost = &simulation.flows[0].lost;
    let share = rate / megabits as f64;
    if lost.is_some() || share < 0.79 {
        return Err(format!("{rate:.1} of {megabits} Mbit/s, {lost:?}"));
    }
    Ok(())
}

#[test]
fn a_geostationary_satellite_is_used_from_the_start_and_the_check_sees_a_slow_one() {
    // From far more than it begins with to far less, and queues of a product and of a fraction.
    for (megabits, queue) in [(50, 4_000_000), (20, 500_000), (10, 250_000), (2, 100_000)] {
        begins_well(megabits, queue, Congestion::Model).unwrap();
    }
    begins_well(50, 4_000_000, Congestion::Cubic).unwrap_err();
}

#[test]
fn a_long_and_fast_path_loses_no_more_at_once_than_its_peer_keeps_apart() {
    let path = Simulation::path(100, 600, 1_000_000, 0.01);
    let (simulation, rate) = alone(path, Congestion::Model, 10, 20);
    assert_eq!(simulation.flows[0].lost, None);
    assert!(rate > 75.0, "{rate:.1} Mbit/s");
}

/// What is asked of a sender whose router marks every datagram: the least window, without a loss.
fn yields_to_marks(congestion: Congestion) -> Result<(), String> {
    let path = Simulation::path(50, 20, 1_000_000, 0.0);
    let (mut simulation, _) = alone(path, congestion, 1, 1);
    let before = simulation.connection(0).stats().path;
    simulation.up.settings.mark = 1.0;
    simulation.run(seconds(4));
    let after = simulation.connection(0).stats().path;
    let heard = after.congestion_events > before.congestion_events;
    if after.lost_packets > before.lost_packets || !heard || after.cwnd * 8 > before.cwnd {
        return Err(format!("{before:?}, then {after:?}"));
    }
    Ok(())
}

#[test]
fn marks_make_the_window_smaller_and_the_check_sees_what_ignores_them() {
    yields_to_marks(Congestion::Model).unwrap();
    yields_to_marks(Congestion::Fixed(100_000)).unwrap_err();
}
