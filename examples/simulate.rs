//! The simulator's command line: the real core over modelled links, and the score it gets.
//!
//! `cargo run --release --example simulate -- --help`

#[path = "../tests/sim/mod.rs"]
mod lab;

use gobonding::tunnel::outbound::Balancer;
use lab::goals;
use lab::scenario::Scenario;
use lab::score::{self, Task};
use lab::world::{workloads, Path as Fabric, Run, Workload};
use lab::{plot, scenarios, score::Scored, statistics};
use lexopt::prelude::*;
use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "\
simulate [options] SCENARIO...

  SCENARIO            a built-in name, or a file of the rig's JSON (*.json)
  --all               all built-in scenarios
  --workload A,B      tcp_down (default) tcp_up tcp_down_bbr tcp_up_bbr tcp_down_8 tcp_up_8 latency_idle
                      latency_loaded failover web udp_down udp_up (90 % of the links) udp_flood_down
                      udp_flood_up (160 %)
  --path P            tunnel (default), direct0 (link 0, no tunnel), direct1..., oracle,
                      tunnel0... (the tunnel over that link alone)
  --balancer B        adaptive (default) relative prio redundant
  --duration S        seconds of link time (default 20)
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
    balancer: Balancer,
    seconds: f64,
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
        path: "tunnel".into(),
        balancer: Balancer::Adaptive,
        seconds: 20.0,
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
                    "seed" => {
                        o.seeds =
                            v.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
                    }
                    "latency-us" => o.latency = v.parse::<u64>().map_err(|_| wrong())? * 1000,
                    "rig" => o.rig = v,
                    "csv" => o.csv = Some(v),
                    "svg" => o.svg = Some(v),
                    "jobs" => o.jobs = v.parse().map_err(|_| wrong())?,
                    _ => return Err(format!("--{key}: no such option; see --help")),
                }
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    let known = workloads();
    for n in names.split(',') {
        let w = known.iter().find(|w| w.name == n).ok_or_else(|| format!("no workload {n:?}; see --help"))?;
        o.workloads.push(*w);
    }
    Ok(Some(o))
}

fn simulate(o: Options) -> Result<(), String> {
    if o.compare {
        print!("{}", statistics::compare(&Path::new(&o.rig).join("../../traces")));
        return Ok(());
    }
    if o.goals {
        let proto = Run {
            scenario: scenarios::generated("two-equal")?,
            path: Fabric::Tunnel(o.balancer),
            workload: o.workloads[0],
            seconds: o.seconds,
            seed: 1,
            latency: o.latency,
        };
        print!("{}", goals::run(&|name| find(&o, name), &proto, &o.seeds, o.jobs)?);
        return Ok(());
    }
    if o.scenarios.is_empty() {
        return Err("no scenario given; see --help".into());
    }
    let mut tasks = Vec::new();
    for name in &o.scenarios {
        let s = find(&o, name)?;
        let whole = s.clone();
        let number = |prefix: &str| o.path.strip_prefix(prefix).and_then(|n| n.parse::<usize>().ok());
        let (s, path, mark) = match o.path.as_str() {
            "tunnel" => (s, Fabric::Tunnel(o.balancer), String::new()),
            "oracle" => (s.oracle(o.seconds as u64 + 10), Fabric::Direct, "oracle ".into()),
            _ => match (number("direct"), number("tunnel")) {
                (Some(i), _) if i < s.links.len() => (s.only(&[i]), Fabric::Direct, format!("{} ", o.path)),
                (_, Some(i)) if i < s.links.len() => {
                    (s.only(&[i]), Fabric::Tunnel(o.balancer), format!("{} ", o.path))
                }
                _ => return Err(format!("--path {}: not understood, or no such link in {name}", o.path)),
            },
        };
        for workload in &o.workloads {
            for &seed in &o.seeds {
                let run = Run {
                    scenario: s.clone(),
                    path,
                    workload: *workload,
                    seconds: o.seconds,
                    seed,
                    latency: o.latency,
                };
                tasks.push(Task {
                    name: format!("{mark}{}", s.name),
                    run,
                    measure: o.oracle.then(|| whole.clone()),
                });
            }
        }
    }
    let scored = score::run_all(&tasks, o.jobs);
    println!("{}", score::header());
    scored.iter().for_each(|s| println!("{}", score::line(s)));
    mean(&scored);
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

fn mean(scored: &[Scored]) {
    if scored.len() > 1 && scored[0].oracle.is_some() {
        let shares: Vec<f64> = scored.iter().map(Scored::share).collect();
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        println!("mean share {:.3}, least {least:.3}", shares.iter().sum::<f64>() / shares.len() as f64);
    }
}
