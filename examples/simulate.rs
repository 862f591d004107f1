//! The simulator's command line: the real core over modelled links, and the score it gets.
//!
//! `cargo run --release --example simulate -- --help`

#[path = "../tests/sim/mod.rs"]
mod lab;

use gobonding::tunnel::outbound::Balancer;
use lab::goals;
use lab::knobs::Knobs;
use lab::scenario::Scenario;
use lab::score::{self, Task};
use lab::workload::{workloads, Workload};
use lab::world::{Path as Fabric, Run};
use lab::{plot, random, scenarios, score::Scored, statistics};
use lexopt::prelude::*;
use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "\
simulate [options] SCENARIO...

  SCENARIO            a built-in name, or a file of the rig's JSON (*.json)
  --all               all built-in scenarios
  --public            scenarios made of all public recordings (DIR/../../traces)
  --random N          N random sets of one to eight links; each also against the best link alone
  --write DIR         only write the random sets there, as scenarios of the rig (DIR/random00.json)
  --random-from N     number of the first of them (default 0): others than those that a rule was made with
  --workload A,B      tcp_down (default) tcp_up tcp_down_bbr tcp_up_bbr tcp_down_8 tcp_up_8 latency_idle
                      latency_loaded failover web udp_down udp_up (90 % of the links) udp_flood_down
                      udp_flood_up (160 %)
  --path P,Q          tunnel (default), oracle, direct0 (link 0, no tunnel), tunnel0 (the tunnel over it
                      alone), without0 (the tunnel over all but it), direct1..., each-direct, each-tunnel,
                      each-without
  --set NAME=VALUE    a setting of the core, as often as wanted; a wrong name lists them
  --try NAME=A,B,C    every run with each of these values
  --balancer B        adaptive (default) relative prio redundant
  --duration S        seconds of link time (default 20)
  --after S           begin after a CUBIC transfer of S seconds and two of rest (default 0): a tunnel that knows
                      its links; sums that the tunnel counts (again, dup, aqm, holes) are of all the time
  --seed A,B          seeds (default 1); the table has a line for each
  --latency-us N      a thread's wake-up (default 50)
  --rig DIR           where scenarios/ and traces/ are (default ../shared/rig/bed)
  --generated         generated links even where recordings are there
  --no-oracle         do not run the oracle beside
  --csv FILE          series per 100 ms (with several runs: FILE gets their names)
  --svg FILE          one picture per run
  --jobs N            threads (default: cores)
  --goals             the project's promises: all measurements with floors, medians over the seeds
  --compare-generator statistics of generated links beside the recordings'
  --list              names of the scenarios
";

struct Options {
    scenarios: Vec<String>,
    workloads: Vec<Workload>,
    path: String,
    public: bool,
    random: usize,
    random_from: usize,
    write: Option<String>,
    knobs: Knobs,
    tried: Option<(String, Vec<String>)>,
    balancer: Balancer,
    seconds: f64,
    after: f64,
    seeds: Vec<u64>,
    latency: u64,
    rig: String,
    generated: bool,
    oracle: bool,
    csv: Option<String>,
    svg: Option<String>,
    jobs: usize,
    compare: bool,
    goals: bool,
}

fn main() -> ExitCode {
    match options().and_then(|o| o.map_or(Ok(()), simulate)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("simulate: {e}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Option<Options>, String> {
    let mut o = Options {
        scenarios: Vec::new(),
        workloads: Vec::new(),
        path: String::new(),
        public: false,
        random: 0,
        random_from: 0,
        write: None,
        knobs: Knobs::default(),
        tried: None,
        balancer: Balancer::Adaptive,
        seconds: 20.0,
        after: 0.0,
        seeds: vec![1],
        latency: 50_000,
        rig: scenarios::RIG.into(),
        generated: false,
        oracle: true,
        csv: None,
        svg: None,
        jobs: std::thread::available_parallelism().map_or(1, |n| n.get()),
        compare: false,
        goals: false,
    };
    let mut names = "tcp_down".to_string();
    let mut parser = lexopt::Parser::from_env();
    let text = |v: Result<std::ffi::OsString, lexopt::Error>| -> Result<String, String> {
        v.and_then(|s| s.string()).map_err(|e| e.to_string())
    };
    while let Some(arg) = parser.next().map_err(|e| e.to_string())? {
        match arg {
            Value(s) => o.scenarios.push(s.string().map_err(|e| e.to_string())?),
            Long("all") => o.scenarios.extend(scenarios::names().iter().map(|s| s.to_string())),
            Long("generated") => o.generated = true,
            Long("no-oracle") => o.oracle = false,
            Long("compare-generator") => o.compare = true,
            Long("public") => o.public = true,
            Long("goals") => o.goals = true,
            Long("list") => {
                println!("{}", scenarios::names().join("\n"));
                return Ok(None);
            }
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            Long(key) => {
                let key = key.to_string();
                let v = text(parser.value())?;
                let wrong = || format!("--{key} {v}: not understood; see --help");
                match key.as_str() {
                    "workload" => names = v,
                    "path" => o.path = v,
                    "set" => v.split_once('=').ok_or_else(wrong).and_then(|(k, v)| o.knobs.set(k, v))?,
                    "try" => {
                        let (k, values) = v.split_once('=').ok_or_else(wrong)?;
                        o.tried = Some((k.to_string(), values.split(',').map(str::to_string).collect()));
                    }
                    "balancer" => {
                        o.balancer = match v.as_str() {
                            "adaptive" => Balancer::Adaptive,
                            "relative" => Balancer::Relative,
                            "prio" => Balancer::Prio,
                            "redundant" => Balancer::Redundant,
                            _ => return Err(wrong()),
                        }
                    }
                    "duration" => o.seconds = v.parse().map_err(|_| wrong())?,
                    "after" => {
                        o.after = v.parse().ok().filter(|s| (0.0..=3600.0).contains(s)).ok_or_else(wrong)?
                    }
                    "seed" => {
                        o.seeds =
                            v.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
                    }
                    "latency-us" => o.latency = v.parse::<u64>().map_err(|_| wrong())? * 1000,
                    "rig" => o.rig = v,
                    "csv" => o.csv = Some(v),
                    "svg" => o.svg = Some(v),
                    "random" => o.random = v.parse().map_err(|_| wrong())?,
                    "write" => o.write = Some(v),
                    "random-from" => o.random_from = v.parse().map_err(|_| wrong())?,
                    "jobs" => o.jobs = v.parse().map_err(|_| wrong())?,
                    _ => return Err(format!("--{key}: no such option; see --help")),
                }
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    if o.path.is_empty() {
        o.path = if o.random > 0 { "tunnel,each-direct" } else { "tunnel" }.into();
    }
    let known = workloads();
    for n in names.split(',') {
        let w = known.iter().find(|w| w.name == n).ok_or_else(|| format!("no workload {n:?}; see --help"))?;
        o.workloads.push(*w);
    }
    Ok(Some(o))
}

fn simulate(o: Options) -> Result<(), String> {
    let traces = Path::new(&o.rig).join("../../traces");
    if o.compare {
        print!("{}", statistics::compare(&traces));
        return Ok(());
    }
    if let Some(dir) = &o.write {
        for n in o.random_from..o.random_from + o.random {
            let (name, json) = random::file(n);
            let path = Path::new(dir).join(format!("{name}.json"));
            std::fs::write(&path, json).map_err(|e| format!("{}: {e}", path.display()))?;
            println!("{}", path.display());
        }
        return Ok(());
    }
    if o.goals {
        let two = scenarios::generated("two-equal")?;
        let proto = o.run(&two, Fabric::Tunnel(o.balancer), o.workloads[0], 1, &o.knobs);
        print!("{}", goals::run(&|name| find(&o, name), &proto, &o.seeds, o.jobs)?);
        return Ok(());
    }
    let mut all = o.scenarios.iter().map(|name| find(&o, name)).collect::<Result<Vec<_>, _>>()?;
    if o.public {
        all.extend(scenarios::public(&traces)?);
    }
    all.extend(random::sets(o.random_from, o.random)?);
    if all.is_empty() {
        return Err("no scenario given; see --help".into());
    }
    let mut tried = vec![(String::new(), o.knobs.clone())];
    if let Some((name, values)) = &o.tried {
        tried.clear();
        for v in values {
            let mut knobs = o.knobs.clone();
            knobs.set(name, v)?;
            tried.push((format!("{name}={v} "), knobs));
        }
    }
    let mut tasks = Vec::new();
    let mut marks = Vec::new();
    for (mark, knobs) in &tried {
        for whole in &all {
            for (path_mark, s, path) in o.paths_of(whole)? {
                for &workload in &o.workloads {
                    for &seed in &o.seeds {
                        let name = format!("{mark}{path_mark}{}", s.name);
                        let run = o.run(&s, path, workload, seed, knobs);
                        tasks.push(Task { name, run, measure: o.oracle.then(|| whole.clone()) });
                        marks.push(format!("{mark}{path_mark}"));
                    }
                }
            }
        }
    }
    let scored = score::run_all(&tasks, o.jobs);
    println!("{}", score::header());
    scored.iter().for_each(|s| println!("{}", score::line(s)));
    means(&scored, &marks);
    against_best(&scored);
    write_files(&o, &scored)
}

impl Options {
    fn run(&self, s: &Scenario, path: Fabric, workload: Workload, seed: u64, knobs: &Knobs) -> Run {
        let (seconds, latency) = (self.seconds, self.latency);
        let before = (self.after * 1e9) as u64;
        Run { scenario: s.clone(), path, workload, seconds, before, seed, latency, knobs: knobs.clone() }
    }

    /// Every path asked for: a mark for the table, the links, and what lies over them.
    fn paths_of(&self, whole: &Scenario) -> Result<Vec<(String, Scenario, Fabric)>, String> {
        let mut out = Vec::new();
        let tunnel = Fabric::Tunnel(self.balancer);
        for p in self.path.split(',') {
            let others = |i: usize| (0..whole.links.len()).filter(|&j| j != i).collect::<Vec<_>>();
            let without = |i: usize| (format!("without{i} "), whole.only(&others(i)), tunnel);
            let alone = |prefix: &str, i: usize, path| (format!("{prefix}{i} "), whole.only(&[i]), path);
            let links = 0..whole.links.len();
            let number = |prefix: &str| {
                p.strip_prefix(prefix).and_then(|n| n.parse().ok()).filter(|i| links.contains(i))
            };
            match p {
                "tunnel" => out.push((String::new(), whole.clone(), tunnel)),
                "oracle" => {
                    let ideal = whole.oracle((self.seconds + self.after) as u64 + 12);
                    out.push(("oracle ".into(), ideal, Fabric::Direct));
                }
                "each-direct" => out.extend(links.map(|i| alone("direct", i, Fabric::Direct))),
                "each-tunnel" => out.extend(links.map(|i| alone("tunnel", i, tunnel))),
                "each-without" => out.extend(links.filter(|_| whole.links.len() > 1).map(without)),
                _ => match (number("direct"), number("tunnel"), number("without")) {
                    (Some(i), ..) => out.push(alone("direct", i, Fabric::Direct)),
                    (_, Some(i), _) => out.push(alone("tunnel", i, tunnel)),
                    (_, _, Some(i)) if whole.links.len() > 1 => out.push(without(i)),
                    _ => {
                        return Err(format!("--path {p}: not understood, or {} has no such link", whole.name))
                    }
                },
            }
        }
        Ok(out)
    }
}

fn write_files(o: &Options, scored: &[Scored]) -> Result<(), String> {
    for (i, s) in scored.iter().enumerate() {
        for (file, text) in [(&o.csv, plot::csv as fn(&Scored) -> String), (&o.svg, plot::svg)] {
            if let Some(file) = file {
                let file = file_name(file, s, i, scored.len());
                std::fs::write(&file, text(s)).map_err(|e| format!("{file}: {e}"))?;
            }
        }
    }
    Ok(())
}

/// With several runs each file gets the run's name and number before its ending.
fn file_name(file: &str, s: &Scored, number: usize, of: usize) -> String {
    if of == 1 {
        return file.to_string();
    }
    let (stem, ending) = file.rsplit_once('.').unwrap_or((file, "txt"));
    format!("{stem}-{}-{}-{number}.{ending}", s.name.replace(' ', "-"), s.workload.name)
}

fn find(o: &Options, name: &str) -> Result<Scenario, String> {
    let s = if o.generated { scenarios::generated(name)? } else { scenarios::find(name, &o.rig)? };
    if s.generated {
        eprintln!("{name}: generated links stand in for recordings");
    }
    Ok(s)
}

/// Where links were also run alone: the sets that do worse than their best link.
fn against_best(scored: &[Scored]) {
    let (mut ratios, mut worse) = (Vec::new(), Vec::new());
    for s in scored.iter().filter(|s| !s.name.contains(' ')) {
        let alone =
            scored.iter().filter(|d| d.workload.name == s.workload.name && d.name.starts_with("direct"));
        let alone = alone.filter(|d| d.name.split(' ').nth(1) == Some(&s.name));
        let best = alone.map(|d| d.outcome.goodput80_mbit).fold(0.0, f64::max);
        if best > 0.0 {
            let ratio = s.outcome.goodput80_mbit / best;
            ratios.push(ratio);
            if ratio < 0.95 {
                worse.push(format!("{} {ratio:.2}", s.name));
            }
        }
    }
    let sets = ratios.len();
    if sets > 0 {
        let mean = |ratios: &mut dyn Iterator<Item = f64>| ratios.sum::<f64>() / sets as f64;
        let all = mean(&mut ratios.iter().copied());
        let capped = mean(&mut ratios.iter().map(|r| r.min(1.0)));
        println!("over the best link alone: mean {all:.3}, each set at most 1 {capped:.3}");
        println!("{} of {sets} below 0.95 of their best link alone: {}", worse.len(), worse.join(", "));
    }
}

/// Mean and least share of each value and path that was tried.
fn means(scored: &[Scored], marks: &[String]) {
    let mut seen: Vec<&String> = Vec::new();
    for mark in marks.iter().filter(|_| scored.iter().any(|s| s.oracle.is_some())) {
        if seen.contains(&mark) {
            continue;
        }
        seen.push(mark);
        let mine = || scored.iter().zip(marks).filter(|(_, m)| *m == mark).map(|(s, _)| s);
        let shares: Vec<f64> = mine().map(Scored::share).collect();
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        let p95: Vec<f64> = mine().map(Scored::probe_p95_ms).filter(|p| p.is_finite()).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        println!(
            "{mark}mean share {:.3}, least {least:.3}, mean p95 down {:.0} ms",
            mean(&shares),
            mean(&p95)
        );
    }
}
