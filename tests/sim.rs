//! Fast simulation tests: links, the inner TCP model, and the core over both. Same seed, same result.

#[path = "sim/mod.rs"]
mod lab;

use lab::scenarios;
use lab::world::{workloads, Outcome, Path, Run, World};

fn run(scenario: lab::scenario::Scenario, path: Path, workload: &str, seconds: f64) -> Outcome {
    let workload = workloads().into_iter().find(|w| w.name == workload).expect("a known workload");
    World::new(Run { scenario, path, workload, seconds, seed: 1, latency: 50_000 }).finish()
}

#[test]
fn one_cubic_flow_fills_a_constant_link() {
    let s = scenarios::generated("two-equal").expect("built in").only(&[0]);
    let o = run(s, Path::Direct, "tcp_down", 20.0);
    assert!(o.goodput80_mbit > 0.96 * 20.0, "{} Mbit/s of 20", o.goodput80_mbit);
    assert!(o.goodput80_mbit < 0.97 * 20.0, "{} Mbit/s of 20", o.goodput80_mbit);
}

#[test]
fn one_percent_of_loss_breaks_a_cubic_flow() {
    let o = run(scenarios::generated("lossy").expect("built in"), Path::Direct, "tcp_down", 20.0);
    assert!((0.5..4.0).contains(&o.goodput80_mbit), "{} Mbit/s", o.goodput80_mbit);
}

#[test]
fn the_oracle_carries_what_all_links_offer_together() {
    for name in ["two-unequal", "step", "city3"] {
        let s = scenarios::generated(name).expect("built in");
        let o = run(s.oracle(30), Path::Direct, "tcp_down_8", 20.0);
        assert!(
            o.goodput80_mbit > 0.9 * o.offered80_mbit,
            "{name}: {} of {}",
            o.goodput80_mbit,
            o.offered80_mbit
        );
    }
}
