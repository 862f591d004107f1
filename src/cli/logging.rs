//! The log on standard error: level, text, and the time where nobody else adds it.

use log::LevelFilter;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Starts the log. `RUST_LOG` goes before `-v`, that before the config's level.
pub fn start(config: LevelFilter, verbose: u8) {
    let level = match verbose {
        0 => config,
        1 => config.max(LevelFilter::Debug),
        _ => LevelFilter::Trace,
    };
    let mut builder = env_logger::Builder::new();
    match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => builder.parse_filters(&filter),
        _ => builder.filter_level(level),
    };
    // journald and OpenWrt's logd (no terminal behind procd's pipe) add the time themselves.
    let with_time = std::env::var_os("JOURNAL_STREAM").is_none();
    builder.format(move |out, record| {
        if with_time {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            write!(out, "{} ", utc(since.as_secs()))?;
        }
        match record.level() {
            log::Level::Debug | log::Level::Trace => {
                let place = record.target().strip_prefix("gobonding::").unwrap_or(record.target());
                writeln!(out, "{} {place}: {}", record.level(), record.args())
            }
            level => writeln!(out, "{level} {}", record.args()),
        }
    });
    // A second start is a mistake of a test at most, and the first log goes on.
    let _ = builder.try_init();
}

/// "2026-11-23T14:47:27Z" of seconds since 1970.
///
/// Source of the calendar: the days of a year that begins in March follow one rule for all months.
fn utc(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (h, m, s) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_leap_days_are_right() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_445_247), "2026-11-23T14:47:27Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
