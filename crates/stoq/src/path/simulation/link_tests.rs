//! The controller on simulated paths.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// One bulk flow for some seconds, and the same without the first two: Mbit/s.
fn alone(path: Settings, congestion: Congestion, count: u64) -> (Simulation, f64) {
    let mut simulation = Simulation::over(path, &[FlowSpec::bulk(congestion)]);
    simulation.run(seconds(2));
    let rate = simulation.run(seconds(2 + count))[0] / 1e6;
    (simulation, rate)
}

#[test]
#[ignore]
fn explore() {
    for (name, path) in [
        ("clean 100M 20ms", Simulation::path(100, 20, 250_000, 0.0)),
        ("1% 100M 20ms", Simulation::path(100, 20, 250_000, 0.01)),
        ("1% 400M 20ms", Simulation::path(400, 20, 1_000_000, 0.01)),
        ("2% 100M 20ms", Simulation::path(100, 20, 250_000, 0.02)),
        ("5% 100M 20ms", Simulation::path(100, 20, 250_000, 0.05)),
        ("shallow 100M 20ms", Simulation::path(100, 20, 15_000, 0.0)),
        ("deep 100M 20ms", Simulation::path(100, 20, 2_500_000, 0.0)),
        ("leo", Simulation::path(100, 40, 500_000, 0.01)),
        ("geo", Simulation::path(40, 600, 1_000_000, 0.0)),
        ("geo 1%", Simulation::path(40, 600, 3_000_000, 0.01)),
        ("geo 100 1%", Simulation::path(100, 600, 1_000_000, 0.01)),
        (
            "lan 1G 0.2ms",
            Settings {
                delay: Duration::from_micros(100),
                ..Simulation::path(1000, 1, 500_000, 0.0)
            },
        ),
    ] {
        for congestion in [Congestion::Model, Congestion::Cubic] {
            let label = match congestion {
                Congestion::Model => "model",
                Congestion::Cubic => "cubic",
            };
            let start = Instant::now();
            let (simulation, rate) = alone(
                path,
                congestion,
                if name.starts_with("geo") { 30 } else { 10 },
            );
            let stats = simulation.connection(0).stats().path;
            println!("{name:20} {label}: {rate:7.1} Mbit/s rtt {:?} cwnd {} lost {}/{} {:?} shares {:?} ({:?} real, {} events)",
                stats.rtt, stats.cwnd, stats.lost_packets, stats.sent_packets,
                simulation.flows[0].gauge.read().phase, simulation.spent(0), start.elapsed(), simulation.events);
        }
    }
    for (name, queue) in [("1bdp", 250_000), ("shallow", 60_000), ("deep", 1_000_000)] {
        for (pair, specs) in [
            ("model+model", [Congestion::Model, Congestion::Model]),
            ("model+cubic", [Congestion::Model, Congestion::Cubic]),
        ] {
            let specs = [
                FlowSpec::bulk(specs[0].clone()),
                FlowSpec {
                    begins: seconds(3),
                    ..FlowSpec::bulk(specs[1].clone())
                },
            ];
            let mut simulation = Simulation::over(Simulation::path(100, 20, queue, 0.0), &specs);
            let mut line = String::new();
            for step in 1..=15 {
                let rates = simulation.run(seconds(2 * step));
                line += &format!(" {:.0}/{:.0}", rates[0] / 1e6, rates[1] / 1e6);
            }
            println!(
                "{pair} {name}: {line} rtt {:?}",
                simulation.connection(0).stats().path.rtt
            );
        }
    }
}
