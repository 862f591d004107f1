//! A seeded generator of mobile links with the recordings' statistics.
//!
//! The rate is the product of two slow log-normal walks (cell and fading) with gaps laid over it, then
//! spread into opportunities. Means, variation and gaps per kind are those of public recordings, side by
//! side with `simulate --compare-generator`.

use super::rng::Rng;
use super::trace::{Trace, OPPORTUNITY};
use serde::Deserialize;

/// What kind of link to imitate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Kind {
    #[serde(rename = "lte")]
    Lte,
    #[serde(rename = "5g")]
    FiveG,
    #[serde(rename = "starlink")]
    Starlink,
    #[serde(rename = "wifi")]
    Wifi,
}

/// How a kind varies.
struct Style {
    /// Deviation of the logarithm of the rate: slow part, and its time constant in seconds.
    slow: (f64, f64),
    /// The same for the fast part.
    fast: (f64, f64),
    /// Gaps without any delivery per minute, and their lengths: median in ms and deviation of the logarithm.
    gaps: (f64, f64, f64),
    /// Long outages per minute, and mean length in seconds.
    outages: (f64, f64),
    /// Milliseconds between bursts of opportunities.
    grain_ms: u32,
}

fn style(kind: Kind) -> Style {
    match kind {
        Kind::Lte => Style {
            slow: (0.5, 7.0),
            fast: (0.4, 0.12),
            gaps: (15.0, 120.0, 0.75),
            outages: (0.15, 1.2),
            grain_ms: 5,
        },
        Kind::FiveG => Style {
            slow: (0.75, 7.0),
            fast: (0.5, 0.07),
            gaps: (5.0, 110.0, 0.6),
            outages: (0.55, 1.3),
            grain_ms: 4,
        },
        Kind::Starlink => Style {
            slow: (0.38, 6.0),
            fast: (0.2, 0.1),
            gaps: (3.0, 80.0, 0.3),
            outages: (1.3, 3.0),
            grain_ms: 2,
        },
        Kind::Wifi => Style {
            slow: (0.5, 10.0),
            fast: (0.15, 0.12),
            gaps: (3.0, 80.0, 0.6),
            outages: (3.5, 3.5),
            grain_ms: 2,
        },
    }
}

/// A trace of `seconds` with `mean_mbit` in the mean.
pub fn mobile(kind: Kind, mean_mbit: f64, seconds: u32, seed: u64) -> Trace {
    let s = style(kind);
    let mut rng = Rng::new(seed.wrapping_mul(7919) ^ 0xabcd);
    let lap_ms = seconds * 1000;
    let mut weight = vec![0.0f64; lap_ms as usize];
    let (mut slow, mut fast) = (rng.normal(), rng.normal());
    let walk = |x: f64, tau_s: f64, dt_s: f64, rng: &mut Rng| {
        let keep = (-dt_s / tau_s).exp();
        x * keep + (1.0 - keep * keep).sqrt() * rng.normal()
    };
    let grain = s.grain_ms as usize;
    let dt = f64::from(s.grain_ms) / 1000.0;
    for at in (0..lap_ms as usize).step_by(grain) {
        slow = walk(slow, s.slow.1, dt, &mut rng);
        fast = walk(fast, s.fast.1, dt, &mut rng);
        weight[at] = (s.slow.0 * slow + s.fast.0 * fast).exp();
    }
    let mut cut = |per_minute: f64, length: &mut dyn FnMut(&mut Rng) -> f64| {
        let mut t = 0.0;
        if per_minute == 0.0 {
            return;
        }
        loop {
            t += -rng.unit().max(1e-9).ln() * 60_000.0 / per_minute;
            let end = t + length(&mut rng);
            if t >= f64::from(lap_ms) {
                break;
            }
            let to = (end as usize).min(weight.len());
            weight[t as usize..to].fill(0.0);
            t = end;
        }
    };
    cut(s.gaps.0, &mut |r| s.gaps.1 * (s.gaps.2 * r.normal()).exp());
    cut(s.outages.0, &mut |r| -r.unit().max(1e-9).ln() * s.outages.1 * 1000.0);
    spread(&weight, mean_mbit, lap_ms)
}

/// Opportunities in proportion to the weights.
fn spread(weight: &[f64], mean_mbit: f64, lap_ms: u32) -> Trace {
    let total: f64 = weight.iter().sum::<f64>().max(1e-9);
    let wanted = mean_mbit * 125.0 * f64::from(lap_ms) / f64::from(OPPORTUNITY);
    let mut carry = 0.0;
    let mut ms = Vec::with_capacity(wanted as usize + 1);
    for (t, w) in weight.iter().enumerate() {
        carry += w * wanted / total;
        while carry >= 1.0 {
            ms.push(t as u32);
            carry -= 1.0;
        }
    }
    if ms.is_empty() {
        ms.push(lap_ms);
    }
    Trace { ms, lap_ms }
}
