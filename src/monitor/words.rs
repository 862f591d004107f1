//! Numbers as people read them: rates, times, sizes. Floats are allowed here and nowhere below.

/// "12.4 Mbit/s", "830 kbit/s", "0".
pub fn rate(bit_per_s: u64) -> String {
    match bit_per_s {
        0 => "0".to_owned(),
        1..=999_999 => format!("{} kbit/s", bit_per_s.div_ceil(1_000)),
        1_000_000..=99_949_999 => format!("{:.1} Mbit/s", bit_per_s as f64 / 1e6),
        _ => format!("{:.0} Mbit/s", bit_per_s as f64 / 1e6),
    }
}

/// "0.4 ms", "38 ms", "1.2 s"; "-" for nothing measured.
pub fn micros(us: u64) -> String {
    match us {
        0 => "-".to_owned(),
        1..=9_949 => format!("{:.1} ms", us as f64 / 1e3),
        9_950..=999_499 => format!("{:.0} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// A span of time in its two largest units: "3 d 4 h", "2 h 5 min", "4 min 10 s", "12 s".
pub fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..=59 => format!("{s} s"),
        60..=3_599 => format!("{} min {} s", s / 60, s % 60),
        3_600..=86_399 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// "0 %", "0.03 %", "1.2 %", "12 %" from millionths.
pub fn ppm(ppm: u32) -> String {
    match ppm {
        0 => "0 %".to_owned(),
        1..=999 => format!("{:.2} %", f64::from(ppm) / 1e4),
        1_000..=99_499 => format!("{:.1} %", f64::from(ppm) / 1e4),
        _ => format!("{:.0} %", f64::from(ppm) / 1e4),
    }
}

/// "512 B", "1.4 MB", "18 GB" (powers of ten).
pub fn bytes(n: u64) -> String {
    match n {
        0..=999 => format!("{n} B"),
        1_000..=999_999 => format!("{:.0} kB", n as f64 / 1e3),
        1_000_000..=999_999_999 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(
            [rate(0), rate(1), rate(830_000), rate(12_440_000), rate(250_000_000)],
            ["0", "1 kbit/s", "830 kbit/s", "12.4 Mbit/s", "250 Mbit/s"]
        );
        assert_eq!(
            [micros(0), micros(420), micros(38_200), micros(1_250_000)],
            ["-", "0.4 ms", "38 ms", "1.2 s"]
        );
        assert_eq!(
            [span(12_900), span(250_000), span(7_500_000), span(273_600_000)],
            ["12 s", "4 min 10 s", "2 h 5 min", "3 d 4 h"]
        );
        assert_eq!([ppm(0), ppm(300), ppm(12_000), ppm(120_000)], ["0 %", "0.03 %", "1.2 %", "12 %"]);
        assert_eq!([bytes(512), bytes(1_400_000), bytes(18_000_000_000)], ["512 B", "1.4 MB", "18.0 GB"]);
    }
}
