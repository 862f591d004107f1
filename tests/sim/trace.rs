//! Mahimahi traces: one line per delivery opportunity, milliseconds since the start, played in a loop.

use flate2::read::GzDecoder;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes that one opportunity carries.
pub const OPPORTUNITY: u32 = 1504;
/// Mahimahi counts four bytes more for each packet than its IP length.
pub const TRACE_OVERHEAD: u32 = 4;

/// Delivery opportunities in milliseconds, sorted, and the length of a lap.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    pub ms: Vec<u32>,
    pub lap_ms: u32,
}

impl Trace {
    /// Finds `name`, plain or with `.gz`, in the first of `dirs` that has it.
    pub fn find(name: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
        dirs.iter().flat_map(|d| [d.join(name), d.join(format!("{name}.gz"))]).find(|p| p.is_file())
    }

    /// Reads a trace; a file that ends in `.gz` is unpacked.
    pub fn load(path: &Path) -> Result<Trace, String> {
        let place = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut bytes = std::fs::read(path).map_err(place)?;
        if path.extension().is_some_and(|e| e == "gz") {
            let mut plain = Vec::new();
            GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).map_err(place)?;
            bytes = plain;
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut ms = Vec::new();
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            let v: u32 =
                line.trim().parse().map_err(|_| format!("{}: not a number: {line:?}", path.display()))?;
            ms.push(v);
        }
        if !ms.is_sorted() || ms.last().copied().unwrap_or(0) == 0 {
            return Err(format!("{}: empty, or times go back", path.display()));
        }
        let lap_ms = ms.last().copied().unwrap_or(1);
        Ok(Trace { ms, lap_ms })
    }

    /// The trace with `scale` times as many opportunities, those of the original's times.
    pub fn scaled(self, scale: f64) -> Trace {
        if scale == 1.0 {
            return self;
        }
        let mut carry = 0.0;
        let mut ms = Vec::with_capacity((self.ms.len() as f64 * scale) as usize + 1);
        for &t in &self.ms {
            carry += scale;
            while carry >= 1.0 {
                ms.push(t);
                carry -= 1.0;
            }
        }
        Trace { ms, lap_ms: self.lap_ms }
    }

    /// Opportunities in `[0, t_ms)` of the endless loop; negative times count backwards.
    pub fn count_before(&self, t_ms: i64) -> i64 {
        let lap = i64::from(self.lap_ms);
        let laps = t_ms.div_euclid(lap);
        // The opportunities at the very end of a lap are those at 0 of the next, as in the file.
        let within = self.ms.partition_point(|&m| i64::from(m) < t_ms.rem_euclid(lap));
        laps * self.ms.len() as i64 + within as i64
    }

    /// Mean rate in bytes a second.
    pub fn mean_rate(&self) -> f64 {
        self.ms.len() as f64 * f64::from(OPPORTUNITY) * 1000.0 / f64::from(self.lap_ms)
    }
}
