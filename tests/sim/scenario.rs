//! Scenarios: several links with a name, in the JSON of the independent rig.
//!
//! Keys of a link hold for both directions, its `up` and `down` objects override them; an override that
//! names a service replaces the link's one whole. One key more than the rig has: `"mobile"` makes a
//! trace with the generator, so that the scenarios exist without anybody's recordings.

use super::generator::{self, Kind};
use super::link::{Burst, DirSpec, Outage, Service, MS, SECOND};
use super::trace::{Trace, OPPORTUNITY};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// One link, both directions; index 0 is up (router to proxy), 1 is down.
#[derive(Clone, Debug)]
pub struct LinkSpec {
    pub dirs: [DirSpec; 2],
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub seed: u64,
    pub links: Vec<LinkSpec>,
    /// Whether a recording was missing and the generator stood in.
    pub generated: bool,
}

const SERVICES: [&str; 5] = ["rate_mbit", "trace", "steps", "sine", "mobile"];
const SERVICE_KEYS: [&str; 3] = ["trace_scale", "trace_offset_s", "steps_period_s"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DirJson {
    rate_mbit: Option<f64>,
    trace: Option<String>,
    #[serde(default = "one")]
    trace_scale: f64,
    #[serde(default)]
    trace_offset_s: f64,
    steps: Option<Vec<(f64, f64)>>,
    steps_period_s: Option<f64>,
    sine: Option<SineJson>,
    mobile: Option<MobileJson>,
    queue_bytes: Option<u64>,
    queue_ms: Option<f64>,
    #[serde(default)]
    delay_ms: f64,
    #[serde(default)]
    delay_steps: Vec<(f64, f64)>,
    delay_steps_period_s: Option<f64>,
    #[serde(default)]
    jitter_ms: f64,
    #[serde(default)]
    loss: f64,
    ge: Option<GeJson>,
    #[serde(default)]
    reorder: f64,
    #[serde(default)]
    reorder_ms: f64,
    #[serde(default)]
    outages: Vec<(f64, f64, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SineJson {
    min_mbit: f64,
    max_mbit: f64,
    period_s: f64,
    step_s: f64,
    #[serde(default)]
    phase: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MobileJson {
    kind: Kind,
    mean_mbit: f64,
    #[serde(default)]
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GeJson {
    p_gb: f64,
    p_bg: f64,
    #[serde(default = "one")]
    loss_bad: f64,
    #[serde(default)]
    loss_good: f64,
}

fn one() -> f64 {
    1.0
}

fn ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

impl Scenario {
    /// Reads a scenario; traces are looked for in `dirs`, then beside the text as it says itself.
    pub fn parse(name: &str, text: &str, dirs: &[PathBuf]) -> Result<Scenario, String> {
        let v: Value = serde_json::from_str(text).map_err(|e| format!("{name}: {e}"))?;
        let links = v["links"].as_array().ok_or(format!("{name}: no \"links\""))?;
        let mut out = Vec::new();
        for (i, l) in links.iter().enumerate() {
            let l = l.as_object().ok_or(format!("{name}: links[{i}] is not an object"))?;
            let one = |dir| direction(l, dir, dirs).map_err(|e| format!("{name}: links[{i}].{dir}: {e}"));
            out.push(LinkSpec { dirs: [one("up")?, one("down")?] });
        }
        let seed = v["seed"].as_u64().unwrap_or(1);
        Ok(Scenario { name: name.to_string(), seed, links: out, generated: false })
    }

    /// Reads a file of the rig's format.
    pub fn load(path: &Path, dirs: &[PathBuf]) -> Result<Scenario, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("scenario");
        Scenario::parse(name, &text, dirs)
    }

    /// Lowest delay of any link in direction `dir` at time zero, nanoseconds.
    pub fn best_delay(&self, dir: usize) -> u64 {
        self.links.iter().map(|l| l.dirs[dir].delay_at(0)).min().unwrap_or(0)
    }

    /// Only the links named, in that order.
    pub fn only(&self, links: &[usize]) -> Scenario {
        let links = links.iter().filter_map(|&i| self.links.get(i).cloned()).collect();
        Scenario { links, ..self.clone() }
    }

    /// One ideal link instead of all: the sum of their capacity at every moment, no loss, buffers
    /// added, delays averaged by capacity downwards. As the rig's adapter `oracle` does it.
    pub fn oracle(&self, seconds: u64) -> Scenario {
        let dirs = [0, 1].map(|d| self.oracle_direction(d, seconds));
        Scenario { links: vec![LinkSpec { dirs }], ..self.clone() }
    }

    fn oracle_direction(&self, d: usize, seconds: u64) -> DirSpec {
        let weights: Vec<f64> = self.links.iter().map(|l| l.dirs[1].mean_rate()).collect();
        let total: f64 = weights.iter().sum();
        let delay = |(w, l): (&f64, &LinkSpec)| w * l.dirs[d].delay as f64 / total;
        let mut carry = 0.0;
        let mut ms = Vec::new();
        for t in 0..seconds * 1000 {
            let offered = |l: &LinkSpec| {
                let full = l.dirs[d].offered(t * MS, (t + 1) * MS);
                // An opportunity holds 1500 IP bytes and 4 of the trace format.
                if matches!(l.dirs[d].service, Service::Trace { .. }) {
                    full
                } else {
                    full * 1504.0 / 1500.0
                }
            };
            carry += self.links.iter().map(offered).sum::<f64>() / f64::from(OPPORTUNITY);
            while carry >= 1.0 {
                ms.push(t as u32);
                carry -= 1.0;
            }
        }
        let trace = Trace { ms, lap_ms: (seconds * 1000) as u32 };
        let mut spec = DirSpec::constant(0.0, 0.0);
        spec.delay = weights.iter().zip(&self.links).map(delay).sum::<f64>() as u64;
        spec.queue_bytes = self.links.iter().map(|l| l.dirs[d].queue_bytes).sum();
        spec.service = Service::Trace { trace, offset_ms: 0 };
        spec
    }
}

fn direction(link: &Map<String, Value>, dir: &str, dirs: &[PathBuf]) -> Result<DirSpec, String> {
    let mut m = link.clone();
    for k in ["up", "down", "name", "mtu"] {
        m.remove(k);
    }
    if let Some(over) = link.get(dir).and_then(Value::as_object) {
        if SERVICES.iter().any(|k| over.contains_key(*k)) {
            SERVICES.iter().chain(&SERVICE_KEYS).for_each(|k| drop(m.remove(*k)));
        }
        if over.contains_key("queue_bytes") || over.contains_key("queue_ms") {
            m.remove("queue_bytes");
            m.remove("queue_ms");
        }
        m.extend(over.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    let j: DirJson = serde_json::from_value(Value::Object(m)).map_err(|e| e.to_string())?;
    let mut spec = DirSpec::constant(0.0, j.delay_ms);
    spec.service = service(&j, dirs)?;
    spec.queue_bytes = match (j.queue_bytes, j.queue_ms, &spec.service) {
        (Some(b), ..) => b,
        (None, Some(ms), _) => ((spec.mean_rate() * ms / 1000.0) as u64).max(3000),
        (None, None, Service::Trace { .. }) => 1_000_000,
        (None, None, _) => 300_000,
    };
    spec.delay_steps = j.delay_steps.iter().map(|s| (ns(s.0), ns(s.1 / 1000.0))).collect();
    spec.delay_steps_period = j.delay_steps_period_s.map(ns);
    spec.jitter = ns(j.jitter_ms / 1000.0);
    spec.loss = j.loss;
    spec.burst =
        j.ge.map(|g| Burst { p_gb: g.p_gb, p_bg: g.p_bg, loss_bad: g.loss_bad, loss_good: g.loss_good });
    spec.reorder = j.reorder;
    spec.reorder_by = ns(j.reorder_ms / 1000.0);
    for (from, to, kind) in &j.outages {
        let kind = match kind.as_str() {
            "drop" => Outage::Drop,
            "stall" => Outage::Stall,
            other => return Err(format!("outages: {other:?} is neither \"drop\" nor \"stall\"")),
        };
        spec.outages.push((ns(*from), ns(*to), kind));
    }
    spec.outages.sort_by_key(|o| o.0);
    Ok(spec)
}

fn service(j: &DirJson, dirs: &[PathBuf]) -> Result<Service, String> {
    if let Some(name) = &j.trace {
        let path = Trace::find(name, dirs).ok_or(format!("trace {name:?} is in none of {dirs:?}"))?;
        let trace = Trace::load(&path)?.scaled(j.trace_scale);
        return Ok(Service::Trace { trace, offset_ms: (j.trace_offset_s * 1000.0) as u32 });
    }
    if let Some(m) = &j.mobile {
        let trace = generator::mobile(m.kind, m.mean_mbit, 300, m.seed);
        return Ok(Service::Trace { trace, offset_ms: 0 });
    }
    let (steps, period) = if let Some(r) = j.rate_mbit {
        (vec![(0, r / 8000.0)], None)
    } else if let Some(s) = &j.steps {
        (s.iter().map(|s| (ns(s.0), s.1 / 8000.0)).collect(), j.steps_period_s.map(ns))
    } else if let Some(s) = &j.sine {
        sine(s)
    } else {
        return Err(format!("one of {SERVICES:?} is needed"));
    };
    if steps.is_empty() || steps.windows(2).any(|w| w[0].0 >= w[1].0) || period == Some(0) {
        return Err("steps must have rising times".into());
    }
    Ok(Service::Steps { steps, period })
}

fn sine(s: &SineJson) -> (Vec<(u64, f64)>, Option<u64>) {
    let n = (s.period_s / s.step_s).round().max(1.0) as u64;
    let step = (s.step_s * SECOND as f64) as u64;
    let at = |i: u64| {
        let x = std::f64::consts::TAU * (i as f64 / n as f64 + s.phase);
        (s.min_mbit + s.max_mbit) / 2.0 + (s.max_mbit - s.min_mbit) / 2.0 * x.sin()
    };
    ((0..n).map(|i| (i * step, at(i) / 8000.0)).collect(), Some(n * step))
}
