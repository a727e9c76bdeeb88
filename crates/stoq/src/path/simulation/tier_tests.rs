//! Tiers and bottlenecks of whole connections on simulated paths.

use super::*;
use crate::path::bottleneck::Bound;

fn bulk(path: Settings) -> Simulation {
    Simulation::over(path, &[FlowSpec::bulk(Congestion::Model)])
}

#[test]
fn profiles_are_recognised() {
    for (path, secs, name) in [
        (
            Simulation::path(50, 4, 200_000, 0.0),
            5,
            "100 Mbit/s, low delay",
        ),
        (
            Simulation::path(50, 40, 500_000, 0.01),
            6,
            "100 Mbit/s, LEO",
        ),
        (
            Simulation::path(50, 600, 1_000_000, 0.0),
            14,
            "100 Mbit/s, GEO",
        ),
        (
            Simulation::path(400, 4, 500_000, 0.0),
            3,
            "1 Gbit/s, low delay",
        ),
    ] {
        let tiers = bulk(path).tiers(0, secs);
        let last = tiers.last().unwrap();
        assert_eq!(last.tier.name(), name, "{}", last.reason);
    }
}

#[test]
fn a_link_that_changes_its_rate_changes_the_tier() {
    let mut simulation = bulk(Simulation::path(300, 20, 500_000, 0.0));
    let fast = simulation.tiers(0, 3).pop().unwrap();
    simulation.up.settings.rate = Some(20_000_000);
    let slow = simulation.tiers(0, 6).pop().unwrap();
    assert_eq!(fast.tier.name(), "1 Gbit/s, high delay", "{}", fast.reason);
    assert_eq!(
        slow.tier.name(),
        "100 Mbit/s, high delay",
        "{}",
        slow.reason
    );
    assert!(slow.settings.receive_window < fast.settings.receive_window);
}

/// Milliseconds of `bound` in some seconds of `spec` over a path of 50 Mbit/s.
fn waited(spec: FlowSpec, bound: Bound) -> (u64, [u64; 6]) {
    let mut simulation = Simulation::over(Simulation::path(50, 20, 200_000, 0.0), &[spec]);
    simulation.run(Duration::from_secs(4));
    let spent = simulation.spent(0);
    (spent[bound as usize], spent)
}

#[test]
fn what_a_connection_waits_for_is_named() {
    let bulk = FlowSpec::bulk(Congestion::Model);
    let cases = [
        (bulk.clone(), Bound::Path),
        (
            FlowSpec {
                offers: Some(5_000_000),
                ..bulk.clone()
            },
            Bound::Sender,
        ),
        (
            FlowSpec {
                begins: Duration::from_secs(60),
                ..bulk.clone()
            },
            Bound::Idle,
        ),
    ];
    for (spec, bound) in cases {
        let (millis, spent) = waited(spec, bound);
        assert!(millis > 3200, "{bound:?}: {spent:?}");
        assert!((3990..=4000).contains(&spent.iter().sum::<u64>()));
    }
}

#[test]
fn a_receiver_that_does_not_read_is_named_once_its_window_is_full() {
    let (millis, spent) = {
        let stalled = FlowSpec {
            read: false,
            ..FlowSpec::bulk(Congestion::Model)
        };
        let path = Simulation::path(400, 20, 500_000, 0.0);
        let mut simulation = Simulation::over(path, &[stalled]);
        // 32 MiB take 0.7 s.
        simulation.run(Duration::from_secs(4));
        let spent = simulation.spent(0);
        (spent[Bound::Receiver as usize], spent)
    };
    assert!((2500..3500).contains(&millis), "{spent:?}");
}

#[test]
fn losses_that_hold_the_window_are_named() {
    let mut simulation = bulk(Simulation::path(100, 20, 250_000, 0.08));
    simulation.run(Duration::from_secs(4));
    let spent = simulation.spent(0);
    assert!(spent[Bound::Loss as usize] > 2000, "{spent:?}");
}
