//! Sets of links that nobody chose: what a rule made for the named scenarios does elsewhere.
//!
//! One to eight links each: 0.3 to 150 Mbit/s, 5 to 600 ms, queues of 60 ms to 1 s, uplinks down to a twentieth;
//! a quarter of the links lose packets, a quarter jitter, a quarter change their rate every few seconds.

use super::rng::Rng;
use super::scenario::Scenario;

/// `count` sets from number `from` on, the same on every machine; their names are `random00` and on.
pub fn sets(from: usize, count: usize) -> Result<Vec<Scenario>, String> {
    (from..from + count).map(set).collect()
}

fn set(n: usize) -> Result<Scenario, String> {
    Scenario::parse(&name(n), &json(n), &[])
}

/// Set `n` as a file of the rig's, and its name.
pub fn file(n: usize) -> (String, String) {
    (name(n), json(n))
}

fn name(n: usize) -> String {
    format!("random{n:02}")
}

fn json(n: usize) -> String {
    let mut rng = Rng::new(n as u64 + 1);
    let count = *pick(&mut rng, &[1, 2, 2, 3, 3, 4, 5, 8]);
    let links: Vec<String> = (0..count).map(|_| link(&mut rng)).collect();
    let head = format!(r#""name":"{}","description":"set {n} of simulate --random","seed":1"#, name(n));
    format!(r#"{{{head},"links":[{}]}}"#, links.join(","))
}

/// A link in the rig's JSON.
fn link(rng: &mut Rng) -> String {
    let mbit = 10f64.powf(rng.unit() * 2.7 - 0.5);
    let delay_ms = match rng.unit() < 0.9 {
        true => *pick(rng, &[5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 120, 200, 300]),
        false => 600,
    };
    let queue_ms = pick(rng, &[60, 100, 200, 500, 1000]);
    let up = (mbit * pick(rng, &[0.05, 0.1, 0.3, 1.0])).max(0.3);
    let down = match rng.unit() < 0.25 {
        true => {
            let (after, low) = (pick(rng, &[1, 2, 3]), (mbit * pick(rng, &[0.2, 0.3, 0.5])).max(0.3));
            format!(r#""steps":[[0,{mbit:.2}],[{after},{low:.2}]],"steps_period_s":{}"#, after * 2)
        }
        false => format!(r#""rate_mbit":{mbit:.2}"#),
    };
    let quarter = |rng: &mut Rng, of: &[f64]| if rng.unit() < 0.25 { *pick(rng, of) } else { 0.0 };
    let loss = quarter(rng, &[0.001, 0.005, 0.01, 0.02]);
    let jitter = quarter(rng, &[2.0, 5.0, 10.0, 20.0]);
    format!(
        r#"{{"delay_ms":{delay_ms},"queue_ms":{queue_ms},"loss":{loss},"jitter_ms":{jitter},"up":{{"rate_mbit":{up:.2}}},"down":{{{down}}}}}"#
    )
}

fn pick<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[(rng.bits() % of.len() as u64) as usize]
}
