//! Is the channel's sending direction alive? And when to ask.
//!
//! ```text
//!   Unknown --ack--> Up --in flight, no news for srtt + max(60 ms, 4 rttvar)--> Stalled
//!                     ^------------------------ack------------------------------'  |
//!                     '---------------ack--------------- Down <--3 s without news--'
//! ```
//! Not for: what happens to the packets in flight (`sending.rs`).

use super::row::State;
use super::rtt::Rtt;
use std::time::{Duration, Instant};

/// State and the times it is judged by.
#[derive(Clone, Debug)]
pub struct Liveness {
    state: State,
    since: Instant,
    /// Last acknowledgement with news, or the moment when something was first in flight after none was.
    progress_at: Instant,
    last_probe: Option<Instant>,
    /// Last time the owner of the tunnel had something to send here.
    busy_at: Instant,
}

impl Liveness {
    pub fn new(now: Instant) -> Liveness {
        Liveness { state: State::Unknown, since: now, progress_at: now, last_probe: None, busy_at: now }
    }

    /// Something is in flight that was not before: the clock starts.
    pub fn on_first_in_flight(&mut self, now: Instant) {
        self.progress_at = now;
    }

    /// Data was sent (not only a probe).
    pub fn on_data(&mut self, now: Instant) {
        self.busy_at = now;
    }

    pub fn on_probe(&mut self, now: Instant) {
        self.last_probe = Some(now);
    }

    /// An acknowledgement brought news; returns the state before.
    pub fn on_progress(&mut self, now: Instant) -> State {
        self.progress_at = now;
        self.enter(now, State::Up)
    }

    /// The link is gone (false) or may be back (true).
    pub fn on_link(&mut self, now: Instant, usable: bool) {
        if usable {
            self.last_probe = None;
        } else {
            self.enter(now, State::Down);
        }
    }

    /// Moves on if a deadline has passed; returns the state before.
    pub fn handle_timeout(&mut self, now: Instant, in_flight: bool, rtt: &Rtt) -> State {
        let before = self.state;
        match self.state {
            State::Up if in_flight && now >= self.progress_at + stall_time(rtt) => {
                self.enter(now, State::Stalled);
            }
            State::Stalled if now >= self.progress_at + DOWN_AFTER => {
                self.enter(now, State::Down);
            }
            State::Unknown | State::Up | State::Stalled | State::Down => {}
        }
        before
    }

    /// The next moment at which the state may change.
    pub fn deadline(&self, in_flight: bool, rtt: &Rtt) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Up if in_flight => Some((self.progress_at + stall_time(rtt), "stall")),
            State::Stalled => Some((self.progress_at + DOWN_AFTER, "down")),
            State::Unknown | State::Up | State::Down => None,
        }
    }

    /// When to send the next probe.
    pub fn probe_at(&self, in_flight: bool, rtt: &Rtt, last_sent: Instant) -> Instant {
        let after_probe = |gap: Duration| self.last_probe.map_or(self.since, |t| t + gap);
        match self.state {
            State::Up if in_flight => {
                let tail = self.progress_at + rtt.smoothed() + rtt.var() * 2 + ACK_DELAY;
                tail.max(after_probe(TAIL_GAP)).max(last_sent + TAIL_GAP / 2)
            }
            State::Up => {
                let quiet = last_sent.saturating_duration_since(self.busy_at) > QUIET_AFTER;
                last_sent + if quiet { HEARTBEAT_QUIET } else { HEARTBEAT }
            }
            State::Stalled => after_probe(STALLED_GAP),
            State::Unknown => after_probe(UNKNOWN_GAP),
            State::Down => {
                let is_quiet = last_sent.saturating_duration_since(self.since) > QUIET_AFTER;
                after_probe(if is_quiet { HEARTBEAT_QUIET } else { HEARTBEAT })
            }
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    fn enter(&mut self, now: Instant, state: State) -> State {
        let before = self.state;
        if before != state {
            self.state = state;
            self.since = now;
        }
        before
    }
}

/// Time without news, with data in flight, after which a channel counts as stalled.
/// Source: ALGORITHMS section 4.7 ("30, 60 or 100 ms" is undecided there).
fn stall_time(rtt: &Rtt) -> Duration {
    rtt.smoothed() + (rtt.var() * 4).max(STALL_MIN)
}

const STALL_MIN: Duration = Duration::from_millis(60);
/// Source: DESIGN section 5.
const DOWN_AFTER: Duration = Duration::from_secs(3);
/// An acknowledgement of a single packet may be this late.
const ACK_DELAY: Duration = Duration::from_millis(10);
const TAIL_GAP: Duration = Duration::from_millis(25);
const STALLED_GAP: Duration = Duration::from_millis(50);
const UNKNOWN_GAP: Duration = Duration::from_millis(250);
/// Heartbeat while there was traffic within `QUIET_AFTER`, and later; likewise how often a link that is down is asked. Source: ALGORITHMS section 4.1.
const HEARTBEAT: Duration = Duration::from_millis(200);
const HEARTBEAT_QUIET: Duration = Duration::from_secs(1);
const QUIET_AFTER: Duration = Duration::from_secs(30);
