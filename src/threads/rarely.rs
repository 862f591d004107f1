//! Once a second for each cause: what keeps a log readable while something goes on being wrong.

use std::time::{Duration, Instant};

/// One cause of log lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rarely {
    last: Option<Instant>,
}

impl Rarely {
    /// Whether the line may be written now.
    pub fn may(&mut self, now: Instant) -> bool {
        let may = self.last.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE);
        if may {
            self.last = Some(now);
        }
        may
    }
}

/// Source: STYLE, logging.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_line_waits_for_a_second() {
        let (mut cause, t) = (Rarely::default(), Instant::now());
        assert!(cause.may(t));
        assert!(!cause.may(t + Duration::from_millis(999)));
        assert!(cause.may(t + Duration::from_secs(1)));
    }
}
