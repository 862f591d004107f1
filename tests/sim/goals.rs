//! The promises of the project as a list of measurements with floors, and a run of all of them.
//!
//! `simulate --goals --seed 1,2,3` prints each with its median and whether it holds.

use super::scenario::Scenario;
use super::score::{percentile_ms, run_all, Scored, Task};
use super::workload::workloads;
use super::world::{Path, Run};
use std::fmt::Write;

/// What is measured, and what it is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    /// Goodput over the attainable, at least.
    Share(f64),
    /// Goodput over that of the best link alone in the tunnel, at least.
    NeverWorse(f64),
    /// 95th percentile of probes above the best link's idle delay, the worse direction, ms at most.
    ProbeMs(f64),
    /// The same as a share of the oracle's, downwards, at most.
    ProbeOfOracle(f64),
    /// Probes lost, at most.
    ProbesLost(f64),
    /// Longest silence between two probes, ms at most.
    GapMs(f64),
    /// Goodput during outages over the attainable then, at least.
    OutageShare(f64),
    /// Median time of an object over that on the best single link, at most.
    Objects(f64),
}

struct Goal {
    measure: Measure,
    workload: &'static str,
    scenarios: &'static [&'static str],
}

const STEADY: &[&str] = &["two-equal", "two-unequal", "three-mixed", "shallow", "asym", "fast"];
const MOBILE: &[&str] = &["lte2", "lte3", "city3", "car2", "car4", "walk2"];
const PROBED: &[&str] = &["step", "sine", "lte2", "lte3", "city3", "car4"];

const GOALS: &[Goal] = &[
    Goal { measure: Measure::Share(0.97), workload: "tcp_down", scenarios: STEADY },
    Goal { measure: Measure::Share(0.92), workload: "tcp_down", scenarios: &["lossy"] },
    Goal { measure: Measure::Share(0.92), workload: "tcp_down", scenarios: &["step", "sine", "delay-step"] },
    Goal { measure: Measure::Share(0.90), workload: "tcp_down", scenarios: MOBILE },
    Goal {
        measure: Measure::Share(0.92),
        workload: "tcp_up",
        scenarios: &["two-unequal", "step", "lte2", "lte3"],
    },
    Goal { measure: Measure::Share(0.95), workload: "tcp_down_bbr", scenarios: &["step", "city3", "car4"] },
    Goal {
        measure: Measure::Share(0.97),
        workload: "tcp_down_8",
        scenarios: &["two-unequal", "step", "city3"],
    },
    Goal {
        measure: Measure::NeverWorse(0.98),
        workload: "tcp_down",
        scenarios: &["badlink", "three-mixed", "walk2"],
    },
    Goal {
        measure: Measure::ProbeMs(20.0),
        workload: "latency_loaded",
        scenarios: &["two-equal", "two-unequal", "three-mixed"],
    },
    Goal { measure: Measure::ProbeMs(100.0), workload: "latency_loaded", scenarios: PROBED },
    Goal { measure: Measure::ProbeOfOracle(1.0 / 3.0), workload: "latency_loaded", scenarios: PROBED },
    Goal { measure: Measure::ProbesLost(0.0), workload: "failover", scenarios: &["cut", "stall"] },
    Goal { measure: Measure::GapMs(200.0), workload: "failover", scenarios: &["cut", "stall"] },
    Goal { measure: Measure::OutageShare(0.93), workload: "failover", scenarios: &["cut", "stall"] },
    Goal { measure: Measure::Objects(1.0), workload: "web", scenarios: &["two-unequal", "city3"] },
];

/// Runs everything and gives the table. `find` gives a scenario by name, `proto` the common conditions.
pub fn run(
    find: &dyn Fn(&str) -> Result<Scenario, String>,
    proto: &Run,
    seeds: &[u64],
    jobs: usize,
) -> Result<String, String> {
    let mut tasks: Vec<Task> = Vec::new();
    for goal in GOALS {
        for name in goal.scenarios {
            let s = find(name)?;
            for &seed in seeds {
                add(&mut tasks, goal, &s, proto, seed);
            }
        }
    }
    let scored = run_all(&tasks, jobs);
    let mut out = String::new();
    let mut held = [0, 0];
    for goal in GOALS {
        let (floor, at_least) = bound(goal.measure);
        let text = format!("{:?}", goal.measure);
        let sign = if at_least { ">=" } else { "<=" };
        let kind = text.split('(').next().unwrap_or_default();
        let _ = writeln!(out, "{kind} of {} {sign} {floor:.3}", goal.workload);
        let mut values = Vec::new();
        for name in goal.scenarios {
            let mut per_seed: Vec<f64> =
                seeds.iter().map(|&seed| value(goal, name, seed, &scored, &tasks)).collect();
            per_seed.sort_by(f64::total_cmp);
            let v = per_seed[per_seed.len() / 2];
            let holds = if at_least { v >= floor } else { v <= floor };
            held[usize::from(holds)] += 1;
            values.push(v);
            let mark = if holds { "  " } else { "* " };
            let all: Vec<String> = per_seed.iter().map(|v| format!("{v:.3}")).collect();
            let _ = writeln!(out, "  {mark}{name:<14} {v:>9.3}   {}", all.join(" "));
        }
        if goal.scenarios == MOBILE {
            let _ =
                writeln!(out, "    mean {:.3} (>= 0.930)", values.iter().sum::<f64>() / values.len() as f64);
        }
    }
    let _ = writeln!(out, "{} of {} hold (* does not)", held[1], held[0] + held[1]);
    Ok(out)
}

fn bound(m: Measure) -> (f64, bool) {
    match m {
        Measure::Share(f) | Measure::NeverWorse(f) | Measure::OutageShare(f) => (f, true),
        Measure::ProbeMs(f) | Measure::ProbeOfOracle(f) | Measure::ProbesLost(f) | Measure::GapMs(f) => {
            (f, false)
        }
        Measure::Objects(f) => (f, false),
    }
}

/// The runs that a goal needs for one scenario and seed, each once.
fn add(tasks: &mut Vec<Task>, goal: &Goal, s: &Scenario, proto: &Run, seed: u64) {
    let Some(workload) = workloads().into_iter().find(|w| w.name == goal.workload) else { return };
    let seconds = if goal.workload == "failover" { proto.seconds.max(30.0) } else { proto.seconds };
    let run = Run { scenario: s.clone(), workload, seed, seconds, ..proto.clone() };
    let mut push = |name: String, run: Run, measure: Option<Scenario>| {
        if !tasks.iter().any(|t| t.name == name && t.run.seed == seed && t.run.workload == workload) {
            tasks.push(Task { name, run, measure });
        }
    };
    push(s.name.clone(), run.clone(), Some(s.clone()));
    for i in 0..s.links.len() {
        let scenario = s.only(&[i]);
        match goal.measure {
            Measure::NeverWorse(_) => {
                push(format!("{} alone {i}", s.name), Run { scenario, ..run.clone() }, None)
            }
            Measure::Objects(_) => {
                push(
                    format!("{} alone {i}", s.name),
                    Run { scenario, path: Path::Direct, ..run.clone() },
                    None,
                );
            }
            _ => {}
        }
    }
}

fn value(goal: &Goal, name: &str, seed: u64, scored: &[Scored], tasks: &[Task]) -> f64 {
    let of = |wanted: &dyn Fn(&str) -> bool| -> Vec<&Scored> {
        let all = scored
            .iter()
            .zip(tasks)
            .filter(|(s, t)| t.run.seed == seed && s.workload.name == goal.workload && wanted(&s.name));
        all.map(|(s, _)| s).collect()
    };
    let Some(s) = of(&|n| n == name).first().copied() else { return f64::NAN };
    let alone = of(&|n| n.starts_with(&format!("{name} alone ")));
    let p95 = |d: usize| percentile_ms(&s.outcome.probe_delays[d], 95, s.best_delay[d]);
    match goal.measure {
        Measure::Share(_) => s.share(),
        Measure::NeverWorse(_) => {
            s.outcome.goodput80_mbit / alone.iter().map(|a| a.outcome.goodput80_mbit).fold(0.0, f64::max)
        }
        Measure::ProbeMs(_) => p95(0).max(p95(1)),
        Measure::ProbeOfOracle(_) => {
            let ideal = s.oracle.as_ref().map_or(&[][..], |o| &o.probe_delays[1]);
            p95(1) / percentile_ms(ideal, 95, s.best_delay[1])
        }
        Measure::ProbesLost(_) => (s.outcome.probes_lost[0] + s.outcome.probes_lost[1]) as f64,
        Measure::GapMs(_) => s.outcome.longest_gap[0].max(s.outcome.longest_gap[1]) as f64 / 1e6,
        Measure::OutageShare(_) => s.outage_share.unwrap_or(f64::NAN),
        Measure::Objects(_) => {
            let best = alone.iter().map(|a| median_object(a)).fold(f64::INFINITY, f64::min);
            median_object(s) / best
        }
    }
}

fn median_object(s: &Scored) -> f64 {
    let mut objects = s.outcome.objects.clone();
    objects.sort_unstable();
    objects.get(objects.len() / 2).map_or(f64::INFINITY, |o| *o as f64)
}
