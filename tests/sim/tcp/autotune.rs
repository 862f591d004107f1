//! A receiver's window as Linux lets it grow (6.18, net/ipv4/tcp_input.c: tcp_rcv_space_adjust, tcp_rcv_rtt_update): twice what
//! it read in one of what it takes for a round trip.
//!
//! Not for: an application that reads late, small buffers that overflow, memory that runs out.

use super::super::link::MS;

/// Up to where it grows, bytes.
const WINDOW_MAX: u64 = 8_000_000;
/// As its SYN says.
pub const WINDOW_FIRST: u64 = 65_535;
/// Segments of the first window of a sender: so much was read before it grows.
const FIRST_READ: u64 = 10;

#[derive(Debug)]
pub struct Autotune {
    pub window: u64,
    /// The most that was read in a round trip.
    space: u64,
    /// Nanoseconds.
    rtt: Option<u64>,
    echo: u32,
    /// A window has come when this number is passed, and since when it comes.
    mark: Option<(u64, u64)>,
    /// What was read, and when, as the reading was last measured.
    from: (u64, u64),
}

impl Autotune {
    pub fn new(mss: u32) -> Autotune {
        Autotune {
            window: WINDOW_FIRST,
            space: FIRST_READ * u64::from(mss),
            rtt: None,
            echo: 0,
            mark: None,
            from: (0, 0),
        }
    }

    /// A segment arrived that echoes a time stamp, in milliseconds.
    pub fn on_echo(&mut self, now: u64, echo: u32) {
        let sample = u64::from(((now / MS) as u32).wrapping_sub(echo)) * MS;
        if std::mem::replace(&mut self.echo, echo) != echo && (1..60_000 * MS).contains(&sample) {
            let eighth = |old: u64| old - old / 8 + sample / 8;
            self.rtt = Some(self.rtt.map_or(sample, |old| if sample < old { sample } else { eighth(old) }));
        }
    }

    /// Bytes up to `next` are in order, and read; `above`: bytes from there to the highest that came.
    pub fn on_read(&mut self, now: u64, next: u64, above: u64) {
        if self.mark.is_none_or(|mark| next >= mark.0) {
            if let Some((_, since)) = self.mark {
                let sample = (now - since).max(1_000);
                self.rtt = Some(self.rtt.map_or(sample, |old| old.min(sample)));
            }
            self.mark = Some((next + self.window, now));
        }
        let (read, since) = self.from;
        if self.rtt.is_none_or(|rtt| now - since < rtt) {
            return;
        }
        self.from = (next, now);
        let copied = next - read;
        if copied > self.space {
            let twice = copied * 2;
            let grown = twice + twice * (copied - self.space) / self.space * 2;
            self.space = copied;
            self.window = self.window.max((grown + above).min(WINDOW_MAX));
        }
    }
}
