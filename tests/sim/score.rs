//! The score table: runs beside their oracle, on both cores.

use super::link::SECOND;
use super::measure::Outcome;
use super::scenario::Scenario;
use super::workload::Workload;
use super::world::{Path, Run, World};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Inner payload a tunnel of 60 bytes can carry for each byte without one.
pub const ATTAINABLE: f64 = 1388.0 / 1448.0;

/// A run and what perfect bonding would have made of it.
#[derive(Clone, Debug)]
pub struct Scored {
    pub name: String,
    pub workload: Workload,
    pub outcome: Outcome,
    pub oracle: Option<Arc<Outcome>>,
    /// Lowest one-way delay of any link, by direction, nanoseconds.
    pub best_delay: [u64; 2],
    /// Goodput during the outages over the attainable then, if there are outages.
    pub outage_share: Option<f64>,
    pub real_seconds: f64,
}

/// What to run beside what.
#[derive(Clone, Debug)]
pub struct Task {
    pub name: String,
    pub run: Run,
    /// The scenario whose oracle is the measure.
    pub measure: Option<Scenario>,
}

/// Runs all tasks with `jobs` threads; the results stand in the tasks' order.
pub fn run_all(tasks: &[Task], jobs: usize) -> Vec<Scored> {
    let next = AtomicUsize::new(0);
    let oracles = Oracles::default();
    let done: Mutex<Vec<Option<Scored>>> = Mutex::new(vec![None; tasks.len()]);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(task) = tasks.get(i) else { return };
                let s = score(task, &oracles);
                done.lock().expect("no thread panics with the lock")[i] = Some(s);
            });
        }
    });
    done.into_inner().expect("all threads have ended").into_iter().flatten().collect()
}

/// Oracles by scenario, workload and seed: each is run once.
#[derive(Default)]
struct Oracles(Mutex<BTreeMap<String, Arc<Outcome>>>);

impl Oracles {
    fn of(&self, scenario: &Scenario, run: &Run) -> Arc<Outcome> {
        let key = format!("{} {} {} {}", scenario.name, run.workload.name, run.seed, run.seconds);
        let known = self.0.lock().expect("no thread panics with the lock").get(&key).cloned();
        known.unwrap_or_else(|| {
            let ideal = scenario.oracle(run.seconds as u64 + run.before_all() / SECOND + 10);
            let o = Arc::new(World::new(Run { scenario: ideal, path: Path::Direct, ..run.clone() }).finish());
            self.0.lock().expect("no thread panics with the lock").insert(key, o.clone());
            o
        })
    }
}

fn score(task: &Task, oracles: &Oracles) -> Scored {
    let began = std::time::Instant::now();
    let run = &task.run;
    let whole = task.measure.as_ref().unwrap_or(&run.scenario);
    let best_delay = [0, 1].map(|d| whole.best_delay(d));
    let outcome = World::new(run.clone()).finish();
    let real_seconds = began.elapsed().as_secs_f64();
    let oracle = task.measure.as_ref().map(|m| oracles.of(m, run));
    let outage_share = oracle.as_ref().and_then(|o| outage_share(run, &outcome, o));
    Scored {
        name: task.name.clone(),
        workload: run.workload,
        outcome,
        oracle,
        best_delay,
        outage_share,
        real_seconds,
    }
}

fn outage_share(run: &Run, outcome: &Outcome, oracle: &Outcome) -> Option<f64> {
    let step = super::world::STEP;
    let all = run.scenario.links.iter().flat_map(|l| &l.dirs[run.workload.from].outages);
    let before = run.before_all();
    let mut sums = (0u64, 0u64);
    for &(from, to, _) in all {
        for i in from.saturating_sub(before).div_ceil(step)..to.saturating_sub(before) / step {
            sums.0 += outcome.bins.get(i as usize).copied().unwrap_or(0);
            sums.1 += oracle.bins.get(i as usize).copied().unwrap_or(0);
        }
    }
    (sums.1 > 0).then(|| sums.0 as f64 / (sums.1 as f64 * ATTAINABLE))
}

/// Milliseconds at `percent` of sorted nanoseconds, less `base`; NaN when there are none.
pub fn percentile_ms(sorted: &[u64], percent: usize, base: u64) -> f64 {
    let i = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(i).map_or(f64::NAN, |d| (*d as f64 - base as f64) / 1e6)
}

impl Scored {
    /// Goodput over its last 80 % as a share of the attainable.
    pub fn share(&self) -> f64 {
        let ideal = self.oracle.as_ref().map_or(f64::NAN, |o| o.goodput80_mbit);
        self.outcome.goodput80_mbit / (ideal * ATTAINABLE)
    }

    /// 95th percentile of downward probes above the best link's idle delay; NaN without probes.
    pub fn probe_p95_ms(&self) -> f64 {
        percentile_ms(&self.outcome.probe_delays[1], 95, self.best_delay[1])
    }
}

/// Head of the table.
pub fn header() -> String {
    format!(
        "{:<26} {:>7} {:>7} {:>6} {:>5} | {:>13} {:>13} {:>13} {:>9} {:>9} | {:>6} {:>4} {:>5} {:>5} {:>5} {:>6} {:>5} {:>5} {:>5} {:>6} {:>6}",
        "scenario/workload",
        "oracle",
        "good80",
        "share",
        "whole",
        "down p50/95",
        "up p50/95",
        "oracle dn",
        "lost d/u",
        "gap d/u",
        "retr",
        "rto",
        "undo",
        "again",
        "dup",
        "feedb",
        "aqm",
        "tun",
        "holes",
        "wait",
        "real s"
    )
}

/// One line of the table. Delays are one-way, in ms above the best link's idle delay.
pub fn line(s: &Scored) -> String {
    let o = &s.outcome;
    let pair = |o: &Outcome, d: usize| {
        let d_ns = s.best_delay[d];
        let (a, b) =
            (percentile_ms(&o.probe_delays[d], 50, d_ns), percentile_ms(&o.probe_delays[d], 95, d_ns));
        if a.is_nan() {
            "-".to_string()
        } else {
            format!("{a:.0}/{b:.0}")
        }
    };
    let two = |a: u64, b: u64| format!("{a}/{b}");
    let (ideal, whole, oracle_pair) = s.oracle.as_ref().map_or((f64::NAN, f64::NAN, "-".into()), |i| {
        (i.goodput80_mbit, o.goodput_mbit / (i.goodput_mbit * ATTAINABLE), pair(i, 1))
    });
    let mut text = format!(
        "{:<26} {:>7.2} {:>7.2} {:>6.3} {:>5.2} | {:>13} {:>13} {:>13} {:>9} {:>9} | {:>6} {:>4} {:>5} {:>5.3} {:>5} {:>6.4} {:>5} {:>5} {:>5} {:>6.0} {:>6.2}",
        format!("{}/{}", s.name, s.workload.name),
        ideal,
        o.goodput80_mbit,
        s.share(),
        whole,
        pair(o, 1),
        pair(o, 0),
        oracle_pair,
        two(o.probes_lost[1], o.probes_lost[0]),
        two(o.longest_gap[1] / 1_000_000, o.longest_gap[0] / 1_000_000),
        o.retransmits,
        o.timeouts,
        o.undos,
        o.again_share,
        o.duplicates,
        o.feedback_share,
        o.aqm_dropped,
        o.tun_dropped,
        o.holes,
        o.reorder_wait_max_ms,
        s.real_seconds,
    );
    if s.workload.web {
        let mut objects = o.objects.clone();
        objects.sort_unstable();
        let mut ideal = s.oracle.as_ref().map_or(Vec::new(), |i| i.objects.clone());
        ideal.sort_unstable();
        text += &format!(
            "  objects {} p50 {:.0} p95 {:.0} ms (oracle {:.0}/{:.0})",
            objects.len(),
            percentile_ms(&objects, 50, 0),
            percentile_ms(&objects, 95, 0),
            percentile_ms(&ideal, 50, 0),
            percentile_ms(&ideal, 95, 0)
        );
    }
    if let Some(share) = s.outage_share {
        text += &format!("  in outages {share:.3}");
    }
    if s.workload.blast > 0.0 {
        text += &format!("  udp lost {:.4} reordered {}", o.udp_lost, o.udp_reordered);
    }
    text
}
