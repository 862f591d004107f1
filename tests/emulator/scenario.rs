//! Reads a scenario: what the links of one experiment are like, as JSON.
//!
//! ```json
//! {"name": "two", "seed": 1, "links": [
//!   {"rate_mbit": 30, "delay_ms": 15},
//!   {"delay_ms": 40, "queue_ms": 200, "down": {"trace": "lte.down"}, "up": {"rate_mbit": 5, "loss": 0.01}}]}
//! ```
//! A link's keys hold for both directions; its objects `up` (router to proxy) and `down` override them.
//! Keys: `rate_mbit` | `steps` [[s, mbit]..] + `steps_period_s` | `sine` {min_mbit, max_mbit, period_s, step_s,
//! phase} | `trace` + `trace_scale`, `trace_offset_s`; `queue_bytes` | `queue_ms`; `delay_ms`, `jitter_ms`,
//! `delay_steps` [[s, ms]..] + `delay_steps_period_s`; `loss`; `ge` {p_gb, p_bg, loss_bad, loss_good};
//! `reorder`, `reorder_ms`; `outages` [[from_s, to_s, "drop" | "stall"]..]; `mtu` and `name` (of the link only).
//! A trace is looked for beside the scenario, in `traces_dir`, and in `../traces`, plain or with `.gz`.

use super::model::{Bursts, Profile};
use super::schedule::{Capacity, Ns, Outage, OutageKind, MS, SECOND};
use serde_json::{Map, Value};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Queue of a link that does not name its own, in bytes; of one that plays a trace.
const QUEUE_BYTES: u64 = 300_000;
const TRACE_QUEUE_BYTES: u64 = 1_000_000;

/// Keys that say what the rate is; an override with one of them replaces all of the link's.
const RATE_KEYS: [&str; 7] =
    ["rate_mbit", "steps", "steps_period_s", "sine", "trace", "trace_scale", "trace_offset_s"];
const OTHER_KEYS: [&str; 12] = [
    "queue_bytes",
    "queue_ms",
    "delay_ms",
    "jitter_ms",
    "delay_steps",
    "delay_steps_period_s",
    "loss",
    "ge",
    "reorder",
    "reorder_ms",
    "outages",
    "mtu",
];

/// The links of one experiment.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    /// Whether the router's addresses are hidden behind the carriers' NAT.
    pub nat: bool,
    /// Timers are coarsened to this.
    pub wake: Ns,
    pub links: Vec<Link>,
}

/// One link: the router's way to the proxy and back.
#[derive(Clone, Debug)]
pub struct Link {
    pub name: String,
    pub mtu: u32,
    pub up: Profile,
    pub down: Profile,
}

impl Link {
    /// A link that is the same in both directions.
    pub fn symmetric(name: &str, profile: &Profile) -> Link {
        let (mut up, mut down) = (profile.clone(), profile.clone());
        up.seed = profile.seed * 2;
        down.seed = profile.seed * 2 + 1;
        Link { name: name.to_string(), mtu: 1500, up, down }
    }
}

impl Scenario {
    /// Clean links of these rates (Mbit/s) and one-way delays (ms).
    pub fn of(name: &str, links: &[(u64, u64)]) -> Scenario {
        let link = |(i, (mbit, ms)): (usize, &(u64, u64))| {
            let mut profile = Profile::new(mbit * 1_000_000, ms * MS);
            profile.seed = i as u64 + 1;
            Link::symmetric(&format!("link {i}"), &profile)
        };
        Scenario {
            name: name.to_string(),
            nat: false,
            wake: MS / 20,
            links: links.iter().enumerate().map(link).collect(),
        }
    }

    /// Reads a scenario file. The error names the place.
    pub fn read(path: &Path) -> Result<Scenario, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let near = path.parent().unwrap_or(Path::new("."));
        Scenario::parse(&text, near).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Reads a scenario; its traces lie `near`.
    pub fn parse(text: &str, near: &Path) -> Result<Scenario, String> {
        let root: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let traces = near.join(root.get("traces_dir").and_then(Value::as_str).unwrap_or("traces"));
        let seed = root.get("seed").and_then(Value::as_u64).unwrap_or(1);
        let list = root.get("links").and_then(Value::as_array).ok_or("no list of links")?;
        let mut links = Vec::new();
        for (i, value) in list.iter().enumerate() {
            let keys = value.as_object().ok_or(format!("links[{i}] is no object"))?;
            let at = |e: String| format!("links[{i}]: {e}");
            let number = seed.wrapping_mul(1000) + 2 * i as u64;
            links.push(Link {
                name: keys.get("name").and_then(Value::as_str).map_or(format!("link {i}"), str::to_string),
                mtu: Keys(keys).number("mtu")?.unwrap_or(1500.0) as u32,
                up: profile(keys, "up", number, &traces).map_err(at)?,
                down: profile(keys, "down", number + 1, &traces).map_err(at)?,
            });
        }
        Ok(Scenario {
            name: root.get("name").and_then(Value::as_str).unwrap_or("unnamed").to_string(),
            nat: root.get("nat").and_then(Value::as_bool).unwrap_or(true),
            wake: root.get("wake_us").and_then(Value::as_u64).unwrap_or(100) * 1000,
            links,
        })
    }
}

/// The keys of a link with those of one direction laid over them.
fn profile(link: &Map<String, Value>, direction: &str, seed: u64, traces: &Path) -> Result<Profile, String> {
    let mut keys = link.clone();
    for other in ["up", "down", "name"] {
        keys.remove(other);
    }
    if let Some(over) = link.get(direction) {
        let over = over.as_object().ok_or(format!("{direction} is no object"))?;
        if over.keys().any(|k| RATE_KEYS.contains(&k.as_str())) {
            keys.retain(|k, _| !RATE_KEYS.contains(&k.as_str()));
        }
        keys.extend(over.clone());
    }
    if let Some(k) =
        keys.keys().find(|k| !RATE_KEYS.contains(&k.as_str()) && !OTHER_KEYS.contains(&k.as_str()))
    {
        return Err(format!("unknown key {k}"));
    }
    let keys = Keys(&keys);
    let capacity = capacity(&keys, traces)?;
    let queue_bytes = match (keys.number("queue_bytes")?, keys.number("queue_ms")?) {
        (Some(bytes), _) => bytes as u64,
        (None, Some(ms)) => (ms * capacity.mean_bits_per_s() as f64 / 8000.0) as u64,
        (None, None) if matches!(capacity, Capacity::Trace { .. }) => TRACE_QUEUE_BYTES,
        (None, None) => QUEUE_BYTES,
    };
    Ok(Profile {
        capacity,
        outages: outages(&keys)?,
        queue_bytes,
        delay: ms(keys.number("delay_ms")?.unwrap_or(0.0)),
        jitter: ms(keys.number("jitter_ms")?.unwrap_or(0.0)),
        delay_steps: keys.pairs("delay_steps")?.into_iter().map(|(s, d)| (seconds(s), ms(d))).collect(),
        delay_steps_period: keys.number("delay_steps_period_s")?.map(seconds),
        loss: keys.number("loss")?.unwrap_or(0.0),
        bursts: bursts(&keys)?,
        reorder: keys.number("reorder")?.unwrap_or(0.0),
        reorder_delay: ms(keys.number("reorder_ms")?.unwrap_or(0.0)),
        seed,
    })
}

fn capacity(keys: &Keys<'_>, traces: &Path) -> Result<Capacity, String> {
    if let Some(name) = keys.0.get("trace") {
        let name = name.as_str().ok_or("trace is no file name")?;
        let scale = keys.number("trace_scale")?.unwrap_or(1.0);
        if scale <= 0.0 {
            return Err("trace_scale must be above 0".to_string());
        }
        let offset_ms = (keys.number("trace_offset_s")?.unwrap_or(0.0) * 1000.0) as u64;
        return Ok(Capacity::Trace { times_ms: read_trace(name, traces)?, scale, offset_ms });
    }
    if let Some(sine) = keys.0.get("sine") {
        let sine = Keys(sine.as_object().ok_or("sine is no object")?);
        let need = |k: &str| sine.number(k)?.ok_or(format!("sine needs {k}"));
        return Ok(Capacity::Sine {
            min: bits(need("min_mbit")?),
            max: bits(need("max_mbit")?),
            period: seconds(need("period_s")?).max(1),
            step: seconds(sine.number("step_s")?.unwrap_or(0.1)).max(1),
            phase: sine.number("phase")?.unwrap_or(0.0),
        });
    }
    let steps = keys.pairs("steps")?;
    if !steps.is_empty() {
        let period = keys.number("steps_period_s")?.map(|s| seconds(s).max(1));
        return Ok(Capacity::Steps {
            steps: steps.into_iter().map(|(s, r)| (seconds(s), bits(r))).collect(),
            period,
        });
    }
    let rate =
        keys.number("rate_mbit")?.ok_or("none of rate_mbit, steps, sine, trace says how fast it is")?;
    Ok(Capacity::constant(bits(rate)))
}

fn outages(keys: &Keys<'_>) -> Result<Vec<Outage>, String> {
    let Some(list) = keys.0.get("outages") else { return Ok(Vec::new()) };
    let wrong = || "outages must be [[from_s, to_s, \"drop\" or \"stall\"], ...]".to_string();
    let one = |v: &Value| {
        let v = v.as_array().filter(|v| v.len() >= 2).ok_or_else(wrong)?;
        let at = |i: usize| v[i].as_f64().map(seconds).ok_or_else(wrong);
        let kind = match v.get(2).map_or(Some("drop"), Value::as_str) {
            Some("drop") => OutageKind::Drop,
            Some("stall") => OutageKind::Stall,
            _ => return Err(wrong()),
        };
        Ok(Outage { from: at(0)?, to: at(1)?, kind })
    };
    list.as_array().ok_or_else(wrong)?.iter().map(one).collect()
}

fn bursts(keys: &Keys<'_>) -> Result<Option<Bursts>, String> {
    let Some(ge) = keys.0.get("ge") else { return Ok(None) };
    let ge = Keys(ge.as_object().ok_or("ge is no object")?);
    Ok(Some(Bursts {
        good_to_bad: ge.number("p_gb")?.ok_or("ge needs p_gb")?,
        bad_to_good: ge.number("p_bg")?.ok_or("ge needs p_bg")?,
        loss_bad: ge.number("loss_bad")?.unwrap_or(1.0),
        loss_good: ge.number("loss_good")?.unwrap_or(0.0),
    }))
}

/// Typed access to a JSON object.
struct Keys<'a>(&'a Map<String, Value>);

impl Keys<'_> {
    fn number(&self, key: &str) -> Result<Option<f64>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(v) => match v.as_f64().filter(|n| *n >= 0.0) {
                Some(n) => Ok(Some(n)),
                None => Err(format!("{key} is no number from 0 up")),
            },
        }
    }

    fn pairs(&self, key: &str) -> Result<Vec<(f64, f64)>, String> {
        let Some(list) = self.0.get(key) else { return Ok(Vec::new()) };
        let pair = |v: &Value| Some((v.get(0)?.as_f64()?, v.get(1)?.as_f64()?));
        let pairs: Option<Vec<_>> = list.as_array().and_then(|l| l.iter().map(pair).collect());
        pairs
            .filter(|p| p.windows(2).all(|w| w[0].0 < w[1].0))
            .ok_or(format!("{key} is no list of rising pairs"))
    }
}

/// Reads a Mahimahi trace: one opportunity a line, milliseconds, rising.
fn read_trace(name: &str, near: &Path) -> Result<Vec<u64>, String> {
    let places = [near.join(name), near.join("../traces").join(name), near.join("../../traces").join(name)];
    let zipped = |p: &PathBuf| PathBuf::from(format!("{}.gz", p.display()));
    let path = places.iter().flat_map(|p| [p.clone(), zipped(p)]).find(|p| p.is_file());
    let path = path.ok_or(format!("no trace {name} in {}", near.display()))?;
    let fault = |e: std::io::Error| format!("{}: {e}", path.display());
    let bytes = std::fs::read(&path).map_err(fault)?;
    let mut text = String::new();
    match path.extension() {
        Some(x) if x == "gz" => flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text),
        _ => (&bytes[..]).read_to_string(&mut text),
    }
    .map_err(fault)?;
    let times: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    let times = times.map_err(|e| format!("{}: {e}", path.display()))?;
    if times.is_empty() || times.windows(2).any(|w| w[0] > w[1]) {
        return Err(format!("{}: no list of rising milliseconds", path.display()));
    }
    Ok(times)
}

fn seconds(s: f64) -> Ns {
    (s * SECOND as f64).round() as Ns
}

fn ms(ms: f64) -> Ns {
    (ms * MS as f64).round() as Ns
}

fn bits(mbit: f64) -> u64 {
    (mbit * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(links: &str) -> Result<Scenario, String> {
        Scenario::parse(&format!("{{\"links\": [{links}]}}"), Path::new("."))
    }

    #[test]
    fn a_direction_overrides_the_link() {
        let s =
            parse(r#"{"rate_mbit": 20, "delay_ms": 15, "up": {"rate_mbit": 0.7, "queue_bytes": 100000}}"#);
        let link = &s.unwrap().links[0];
        assert_eq!(link.up.capacity, Capacity::constant(700_000));
        assert_eq!(link.down.capacity, Capacity::constant(20_000_000));
        assert_eq!((link.up.queue_bytes, link.down.queue_bytes), (100_000, 300_000));
        assert_eq!((link.up.delay, link.down.delay), (15 * MS, 15 * MS));
        assert_ne!(link.up.seed, link.down.seed);
    }

    #[test]
    fn an_override_of_the_rate_replaces_whatever_the_link_says_of_it() {
        let s =
            parse(r#"{"steps": [[0, 30], [2, 5]], "steps_period_s": 4, "down": {"rate_mbit": 8}}"#).unwrap();
        assert_eq!(s.links[0].down.capacity, Capacity::constant(8_000_000));
        assert_eq!(s.links[0].up.capacity.mean_bits_per_s(), 17_500_000);
    }

    #[test]
    fn a_queue_in_milliseconds_is_meant_at_the_mean_rate() {
        let s = parse(r#"{"rate_mbit": 8, "queue_ms": 100}"#).unwrap();
        assert_eq!(s.links[0].up.queue_bytes, 100_000);
    }

    #[test]
    fn faults_name_the_place() {
        let of = |links: &str| parse(links).err().unwrap();
        assert_eq!(
            of(r#"{"rate_mbit": 1}, {"rate_mbit": 1, "dealy_ms": 3}"#),
            "links[1]: unknown key dealy_ms"
        );
        assert!(of(r#"{"delay_ms": 3}"#).contains("how fast"));
        assert!(of(r#"{"trace": "no-such-file"}"#).contains("no-such-file"));
        assert!(of(r#"{"rate_mbit": 1, "outages": [[1, 2, "burn"]]}"#).contains("outages"));
        assert!(of(r#"{"steps": [[2, 1], [1, 2]]}"#).contains("rising"));
    }

    #[test]
    fn outages_and_bursts_are_read() {
        let s = parse(
            r#"{"rate_mbit": 1, "ge": {"p_gb": 0.1, "p_bg": 0.5}, "down": {"outages": [[1, 2.5, "stall"]]}}"#,
        );
        let link = &s.unwrap().links[0];
        let want = Outage { from: SECOND, to: 5 * SECOND / 2, kind: OutageKind::Stall };
        assert_eq!((link.down.outages.clone(), link.up.outages.len()), (vec![want], 0));
        assert_eq!(link.up.bursts.map(|b| (b.loss_bad, b.loss_good)), Some((1.0, 0.0)));
    }

    #[test]
    fn a_packed_trace_reads_as_a_plain_one() {
        let dir = std::env::temp_dir().join(format!("gobonding-trace-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("a.down"), "1\n2\n2\n7\n").unwrap();
        let file = std::fs::File::create(dir.join("b.down.gz")).unwrap();
        let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, b"1\n2\n2\n7\n").unwrap();
        packed.finish().unwrap();
        let read = |name: &str| read_trace(name, &dir);
        assert_eq!((read("a.down"), read("b.down")), (Ok(vec![1, 2, 2, 7]), Ok(vec![1, 2, 2, 7])));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
