//! What a trace is like: variation, memory and gaps; recorded and generated side by side.

use super::generator::{mobile, Kind};
use super::trace::{Trace, OPPORTUNITY};
use std::path::Path;

/// Figures of one trace, or the means of several.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    pub mean_mbit: f64,
    /// Deviation over mean, of the rate in steps of 100 ms and of 1 s.
    pub cov: [f64; 2],
    /// Autocorrelation of the rate in steps of 100 ms, after 0.1, 0.5, 1 and 3 s.
    pub memory: [f64; 4],
    /// Times without any delivery per minute, of at least 100 ms, 300 ms and 1 s.
    pub gaps: [f64; 3],
    pub longest_gap_ms: f64,
}

impl Statistics {
    pub fn of(trace: &Trace) -> Statistics {
        let rates = |step: u32| -> Vec<f64> {
            let mut bins = vec![0.0; (trace.lap_ms / step) as usize];
            for &t in &trace.ms {
                if let Some(b) = bins.get_mut((t / step) as usize) {
                    *b += f64::from(OPPORTUNITY) * 8.0 / 1000.0 / f64::from(step);
                }
            }
            bins
        };
        let (fine, coarse) = (rates(100), rates(1000));
        let mut ends: Vec<f64> = trace.ms.windows(2).map(|w| f64::from(w[1] - w[0])).collect();
        ends.push(f64::from(trace.lap_ms - trace.ms.last().copied().unwrap_or(0)));
        let minutes = f64::from(trace.lap_ms) / 60_000.0;
        let count = |least: f64| ends.iter().filter(|g| **g >= least).count() as f64 / minutes;
        Statistics {
            mean_mbit: mean(&fine),
            cov: [cov(&fine), cov(&coarse)],
            memory: [1, 5, 10, 30].map(|lag| correlation(&fine, lag)),
            gaps: [100.0, 300.0, 1000.0].map(count),
            longest_gap_ms: ends.iter().copied().fold(0.0, f64::max),
        }
    }

    /// Means of all figures.
    pub fn mean_of(all: &[Statistics]) -> Statistics {
        let m = |f: &dyn Fn(&Statistics) -> f64| mean(&all.iter().map(f).collect::<Vec<_>>());
        Statistics {
            mean_mbit: m(&|s| s.mean_mbit),
            cov: [0, 1].map(|i| m(&|s| s.cov[i])),
            memory: [0, 1, 2, 3].map(|i| m(&|s| s.memory[i])),
            gaps: [0, 1, 2].map(|i| m(&|s| s.gaps[i])),
            longest_gap_ms: m(&|s| s.longest_gap_ms),
        }
    }

    fn line(&self, name: &str) -> String {
        let [a, b, c, d] = self.memory;
        let [g, h, i] = self.gaps;
        format!(
            "{name:<26} {:>6.1}  {:>5.2} {:>5.2}   {a:>5.2} {b:>5.2} {c:>5.2} {d:>5.2}   {g:>5.1} {h:>5.1} {i:>5.2}  {:>6.0}",
            self.mean_mbit, self.cov[0], self.cov[1], self.longest_gap_ms
        )
    }
}

/// The table of recorded and generated links; recordings from `dir`, if it is there.
pub fn compare(dir: &Path) -> String {
    let kinds: [(Kind, &str, &[&str]); 4] = [
        (Kind::Lte, "lte", &["lte-"]),
        (Kind::FiveG, "5g", &["5g", "-5g-"]),
        (Kind::Starlink, "starlink", &["starlink-"]),
        (Kind::Wifi, "wifi", &["-wifi-"]),
    ];
    let mut out = format!(
        "{:<26} {:>6}  {:>5} {:>5}   {:>5} {:>5} {:>5} {:>5}   {:>5} {:>5} {:>5}  {:>6}\n",
        "", "Mbit/s", "CoV.1", "CoV1", "r.1s", "r.5s", "r1s", "r3s", ">=.1s", ">=.3s", ">=1s", "max ms"
    );
    let files = files_of(dir);
    for (kind, name, marks) in kinds {
        let mine = files.iter().filter(|f| {
            let starts = f.starts_with(marks[0]) || marks.iter().any(|m| m.starts_with('-') && f.contains(m));
            let starlink = f.contains("starlink-");
            if kind == Kind::Starlink {
                starlink
            } else {
                starts && !starlink
            }
        });
        let recorded: Vec<Statistics> =
            mine.filter_map(|f| Trace::load(&dir.join(f)).ok()).map(|t| Statistics::of(&t)).collect();
        let mean_mbit = if recorded.is_empty() { 20.0 } else { Statistics::mean_of(&recorded).mean_mbit };
        let made: Vec<Statistics> =
            (1..=12).map(|s| Statistics::of(&mobile(kind, mean_mbit, 120, s))).collect();
        if !recorded.is_empty() {
            let label = format!("{name}, {} recorded", recorded.len());
            out += &(Statistics::mean_of(&recorded).line(&label) + "\n");
        }
        out += &(Statistics::mean_of(&made).line(&format!("{name}, 12 generated")) + "\n");
    }
    out
}

fn files_of(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.retain(|n| n.contains(".trace"));
    names.sort();
    names
}

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len().max(1) as f64
}

fn cov(v: &[f64]) -> f64 {
    let m = mean(v);
    mean(&v.iter().map(|x| (x - m).powi(2)).collect::<Vec<_>>()).sqrt() / m.max(1e-9)
}

fn correlation(v: &[f64], lag: usize) -> f64 {
    let m = mean(v);
    let whole: f64 = v.iter().map(|x| (x - m).powi(2)).sum();
    let part: f64 = v.windows(lag + 1).map(|w| (w[0] - m) * (w[lag] - m)).sum();
    part / whole.max(1e-9)
}
