//! Which channel takes the next packets: a walk over the rows that have credit.
//!
//! 1. A row's *credit* is what its window leaves free (late binding: DESIGN section 2); its
//!    *arrival* is when a packet given to it would reach the peer, on a scale common to all rows.
//! 2. `adaptive`: the earliest arrival among rows with credit; but nobody takes the end of a burst
//!    to a slow channel when waiting for the best one delivers it sooner (the ECF rule). A flow that has found
//!    its rate fills empty channels before it queues in a full one: a sender that only sends what it has seen delivered (BBR) would
//!    never learn of the others.
//! 3. Rows that a packet's connection should not live on are left out (`home.rs`).
//! 4. `relative` and `prio`: deficit round robin by rate or 90/10, over rows with credit.
//!
//! Not for: queues and order (`outbound.rs`), the reason to hold a link back (`hold_back.rs`).

use super::home::{Fit, Home};
use super::outbound::Balancer;
use crate::channel::row::{SendRow, State};
use crate::units::{wrapped, ChannelId, Rate};
use std::time::Duration;

/// A row as the balancer sees it.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub row: SendRow,
    /// Wire bytes bound so far, on the scale of `row.granted_bytes`.
    pub bound_bytes: u64,
    /// Bytes of sparse packets bound since the row came.
    pub bound_sparse: u64,
    pub held: bool,
    /// Which connections should live elsewhere.
    pub fit: Fit,
    /// Deficit of `relative` and `prio`, bytes.
    deficit: i64,
}

impl Lane {
    pub fn new(row: SendRow) -> Lane {
        Lane { bound_bytes: row.taken_bytes, bound_sparse: 0, row, held: false, fit: Fit::ANY, deficit: 0 }
    }

    /// Takes a fresh row. A sender that begins anew counts from zero, and so does the lane.
    pub fn update(&mut self, row: SendRow) {
        if row.taken_bytes < self.row.taken_bytes {
            self.bound_bytes = row.taken_bytes;
        }
        self.row = row;
        self.bound_sparse = 0;
    }

    pub fn id(&self) -> ChannelId {
        self.row.id
    }

    pub fn is_up(&self) -> bool {
        self.row.state == State::Up
    }

    /// Bytes that may be bound at once; negative when sparse packets have overdrawn it.
    pub fn credit(&self) -> i64 {
        self.row.granted_bytes as i64 - self.bound_bytes as i64
    }

    /// Whether a sparse packet may be bound: beyond the window by some packets, and however full the window is of
    /// other things while sparse packets themselves would not fill it.
    fn takes_sparse(&self, bytes: u64) -> bool {
        let (least, own_least) = if bytes <= SMALL_MAX { (OVERDRAFT_MIN, SPARSE_MIN) } else { (0, 0) };
        let overdraft = self.speed().bytes_in(OVERDRAFT_TIME) as i64;
        let own = self.row.rate.bytes_in(self.row.min_rtt + OVERDRAFT_TIME).max(own_least);
        self.credit() + overdraft.clamp(least, OVERDRAFT_MAX) >= bytes as i64
            || self.row.sparse_in_flight + self.bound_sparse + bytes <= own
    }

    /// Bytes bound and not yet in flight.
    fn waiting(&self) -> u64 {
        self.row.queued_bytes + self.bound_bytes.saturating_sub(self.row.taken_bytes)
    }

    /// How fast the channel can be expected to take packets: what it delivered, or, where it never had
    /// enough to show it, the pace of a few packets in a row, or what its window lets through, whichever is less. Source: the
    /// simulator, 100 kB objects in city3, lte3, step: 269, 320, 276 ms with the pace alone, 265, 317, 258 with this, 95th
    /// percentile of lte3 538 and 484; twice the window's 262, 316, 276.
    pub fn speed(&self) -> Rate {
        // A link with little in flight is not at its limit, whatever it delivered.
        let idle = self.row.bytes_in_flight + self.waiting() < self.row.cwnd / 4;
        if idle || self.row.capacity.0 == u64::MAX {
            // Radio links bring four packets at once and then none for a while.
            return self.row.rate.max(self.by_bursts().min(self.by_window()));
        }
        self.row.rate.max(Rate(RATE_FLOOR))
    }

    /// What the window lets through.
    fn by_window(&self) -> Rate {
        Rate::from_bytes(self.row.cwnd, self.row.min_rtt.max(Duration::from_millis(1)))
    }

    /// The pace of a few packets in a row, if there were any.
    fn by_bursts(&self) -> Rate {
        if self.is_without_bursts() {
            return self.by_window();
        }
        self.row.burst_rate
    }

    fn is_without_bursts(&self) -> bool {
        self.row.burst_rate.0 == 0
    }

    /// Whether not even a few packets in a row have shown what the channel may bring.
    pub fn is_unmeasured(&self) -> bool {
        self.row.capacity.0 == u64::MAX && self.is_without_bursts()
    }

    /// The measured rate, or the pace of bursts where there is none: what the link may do once it is used.
    pub fn measured(&self) -> Rate {
        if self.row.capacity.0 == u64::MAX {
            return self.row.rate.max(self.by_bursts());
        }
        self.row.rate.max(Rate(RATE_FLOOR))
    }

    /// How long a packet of `bytes` bound now would wait in the link.
    fn queue(&self, bytes: u64) -> Duration {
        let rate = self.speed();
        let ahead = rate.time_for(self.row.bytes_in_flight + self.waiting());
        let seen = if self.row.bytes_in_flight > 0 { self.row.queue_delay / 2 } else { Duration::ZERO };
        // Its own time is not in the least round trip where small packets have found that; where there are none, a thin
        // link counts as longer than it is.
        ahead.saturating_sub(self.row.min_rtt).max(seen) + rate.time_for(bytes)
    }

    /// When it would arrive, microseconds on the receiver's clock minus ours.
    fn arrival_us(&self, bytes: u64) -> i64 {
        self.row.base_owd_us + self.queue(bytes).as_micros() as i64
    }

    /// How much later another channel may be, for a settled flow, rather than queue in this one.
    fn fullness_us(&self) -> i64 {
        (self.queue(0).as_micros() as i64).saturating_mul(FULL_WEIGHT).min(OLD_EXTRA_US)
    }

    /// The arrival of a packet that has to wait until the window has room for it.
    fn arrival_with_credit_us(&self, bytes: u64) -> i64 {
        let short = u64::try_from(bytes as i64 - self.credit()).unwrap_or(0);
        self.arrival_us(bytes) + self.speed().time_for(short.min(self.row.cwnd)).as_micros() as i64
    }
}

/// What is to be bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// Wire bytes without the channel's overhead.
    pub bytes: u64,
    pub sparse: bool,
    /// Bytes that wait behind it.
    pub backlog: u64,
    /// A channel that must not take it.
    pub avoid: Option<ChannelId>,
    /// The channel that a young flow has used so far: it stays there unless another is much earlier.
    pub stay: Option<ChannelId>,
    /// Where its connection should live.
    pub home: Home,
    /// Its flow has found its rate (`youth.rs`): it fills empty channels first.
    pub settled: bool,
}

impl Want {
    fn may_use(&self, lane: &Lane) -> bool {
        self.avoid != Some(lane.id()) && self.home.may_use(lane.fit)
    }
}

/// Index of the lane to take `want`, or `None` to wait.
pub(super) fn choose(kind: Balancer, lanes: &mut [Lane], want: Want) -> Option<usize> {
    if want.sparse {
        return earliest(lanes, want, &[]);
    }
    match kind {
        Balancer::Adaptive | Balancer::Redundant => adaptive(lanes, want),
        Balancer::Relative => deficit(lanes, want, |lane, _| lane.measured().0),
        Balancer::Prio => deficit(lanes, want, |lane, fastest| if lane.id() == fastest { 90 } else { 10 }),
    }
}

/// Lanes for copies of an urgent packet that `first` takes: the next earliest, and a third where both have a queue of
/// ours. How fast a radio link empties that, nobody knows beforehand.
pub(super) fn copies(lanes: &[Lane], want: Want, first: usize) -> [Option<usize>; 2] {
    let Some(second) = earliest(lanes, want, &[first]) else { return [None; 2] };
    let doubtful = [first, second].iter().all(|&at| lanes[at].queue(0) > DOUBTFUL_QUEUE);
    let third = if doubtful { earliest(lanes, want, &[first, second]) } else { None };
    [Some(second), third]
}

/// Whether several channels are in use, and one of them would take much more.
pub(super) fn has_room(lanes: &[Lane]) -> bool {
    let used = || lanes.iter().filter(|l| l.is_up() && !l.held);
    used().nth(1).is_some() && used().any(|l| l.credit() >= (l.row.cwnd / ROOM_PART) as i64)
}

fn earliest(lanes: &[Lane], want: Want, except: &[usize]) -> Option<usize> {
    let reference = lanes.first()?.row.base_owd_us;
    let open = |lane: &Lane| lane.is_up() && want.may_use(lane) && lane.takes_sparse(want.bytes);
    let candidates = lanes.iter().enumerate().filter(|(at, lane)| !except.contains(at) && open(lane));
    // Where a page begins it goes on.
    let bytes = want.bytes + if want.home.to_come == Home::PAGE { PAGE_AHEAD } else { 0 };
    candidates.min_by_key(|(_, lane)| wrapped(lane.arrival_us(bytes), reference)).map(|(at, _)| at)
}

fn adaptive(lanes: &[Lane], want: Want) -> Option<usize> {
    let reference = lanes.first()?.row.base_owd_us;
    let all_held = lanes.iter().filter(|l| l.is_up()).all(|l| l.held);
    let usable = |l: &&Lane| l.is_up() && (all_held || !l.held) && want.may_use(l);
    let moves = |l: &Lane| if want.stay.is_some_and(|id| id != l.id()) { MOVE_US } else { 0 };
    let full = |l: &Lane| if want.settled { l.fullness_us() } else { 0 };
    let arrival = |l: &Lane| wrapped(l.arrival_with_credit_us(want.bytes), reference) + moves(l) + full(l);
    let best = lanes.iter().filter(usable).min_by_key(|l| arrival(l))?;
    let patience = best.speed().time_for(want.backlog).as_micros() as i64;
    // A flow past its youth has more behind it than waits here: it gains by every link.
    let extra_max = if want.settled { SETTLED_EXTRA_US } else { OLD_EXTRA_US };
    let extra = patience.saturating_mul(OLD_PATIENCE - 1).min(extra_max);
    let patience = if want.stay.is_some() { patience } else { patience.saturating_add(extra) };
    let limit = arrival(best).saturating_add(patience);
    let open = |l: &&Lane| usable(l) && l.credit() >= (want.bytes + u64::from(l.row.overhead)) as i64;
    let (at, chosen) = lanes.iter().enumerate().filter(|(_, l)| open(l)).min_by_key(|(_, l)| arrival(l))?;
    (arrival(chosen) <= limit).then_some(at)
}

/// Deficit round robin: the lane with credit that is owed most; everyone earns by weight.
fn deficit(lanes: &mut [Lane], want: Want, weight: impl Fn(&Lane, ChannelId) -> u64) -> Option<usize> {
    let fastest = lanes.iter().filter(|l| l.is_up()).max_by_key(|l| l.row.rate)?.id();
    let open = |l: &Lane| l.is_up() && l.credit() >= (want.bytes + u64::from(l.row.overhead)) as i64;
    let sum: u64 = lanes.iter().filter(|l| open(l)).map(|l| weight(l, fastest)).sum();
    for lane in lanes.iter_mut().filter(|l| open(l)) {
        let share = u128::from(want.bytes) * u128::from(weight(lane, fastest)) / u128::from(sum.max(1));
        lane.deficit = (lane.deficit + share as i64).min(DEFICIT_MAX);
    }
    let chosen = lanes.iter().enumerate().filter(|l| open(l.1)).max_by_key(|l| l.1.deficit)?.0;
    lanes[chosen].deficit = (lanes[chosen].deficit - want.bytes as i64).max(-DEFICIT_MAX);
    Some(chosen)
}

/// A lane without a measured rate counts as this fast, bytes per second.
const RATE_FLOOR: u64 = 10_000;
/// Longer packets are no call's, and these floors are not for them: on a thin link all eight of eight downloads are sparse. Source:
/// one link of 0.6, 0.8, 0.9 Mbit/s with a queue of 60 ms, 0.43, 0.87, 0.73 of the link with the floors, 0.57, 1.09,
/// 0.90 without.
pub(super) const SMALL_MAX: u64 = 400;
/// Sparse packets may overdraw a window by so much, bytes: two to eight full packets. Source: scenario asym, where
/// acknowledgements took 12,000 again and again, until the uplink's queue was a second long.
const OVERDRAFT_MIN: i64 = 3_000;
const OVERDRAFT_MAX: i64 = 12_000;
/// The queue that they may add, as much as the window aims at (`ControlSettings::target`).
const OVERDRAFT_TIME: Duration = Duration::from_millis(15);
/// Sparse bytes in flight that are fine on any link: one that stands still may go on at any moment. Source: lte3 in
/// the namespaces, p99 of a call beside a download 368 ms with 3,000, 207 ms with this.
const SPARSE_MIN: u64 = 8_000;
/// A queue longer than a smooth link has (`ControlSettings::target`).
const DOUBTFUL_QUEUE: Duration = Duration::from_millis(20);
/// Times its backlog that a flow past its youth lets a slow channel be later. Source: three-mixed, where
/// with 1 the 80 ms link carried a third of what it could and the download got 0.82 of the links.
const OLD_PATIENCE: i64 = 3;
/// The part of that beyond its backlog, at most: for a link that is half a second longer the fast ones would stand
/// still in the meantime. Source: seven scenarios, ten seeds (table in `tunnel/mod.rs`).
const OLD_EXTRA_US: i64 = 40_000;
/// The same bound for a settled flow, whose window holds what waits for the long one. Source: 240 random sets of links,
/// 40, 100, 200, 400 ms: 0.971, 0.973, 0.975, 0.974 of the ideal; the recorded sets are the same with each.
const SETTLED_EXTRA_US: i64 = 200_000;
/// Weight of the queue in a channel for a settled flow, up to `OLD_EXTRA_US`. Source: the simulator, one BBR flow over
/// seven recorded and eight other sets, five seeds: 0, 3, 8, 20: 0.874, 0.888, 0.892, 0.883 and 0.922, 0.941, 0.954,
/// 0.950; CUBIC is the same with each.
const FULL_WEIGHT: i64 = 8;
/// What is sure to follow on the same channel after a connection's first packets, bytes: of two links of one length the faster one
/// is better. Source: the simulator, two times 150 random sets of links, 100 kB objects over the best link's, each counted as 1 at most:
/// 0.968, 0.972 without, 0.973, 0.971 with this. In the namespaces, 86 Mbit/s beside 26 that falls to 8, both 5 ms: p95 103
/// to 57 ms, without a tunnel 53.
const PAGE_AHEAD: u64 = 5_000;
/// How much earlier another channel must be for a young flow to move: its jitter would be added.
const MOVE_US: i64 = 30_000;
/// The part of a window that is much. Source: the simulator, one BBR download (as in `probe_stretch.rs`): car4 0.95 with this, 0.93 with any credit.
const ROOM_PART: u64 = 2;
const DEFICIT_MAX: i64 = 150_000;

#[cfg(test)]
mod tests {
    use super::super::outbound::tests::row;
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_page_begins_on_the_faster_link_where_they_are_as_long_and_a_small_packet_takes_the_earliest() {
        let link = |id, rate, owd_us| {
            let row = row(Instant::now(), id, 100_000, rate, 5);
            SendRow { burst_rate: row.rate, base_owd_us: owd_us, ..row }
        };
        // The slower one is 0.2 ms shorter.
        let (fast, slow) = (link(0, 10_000_000, 5_000), link(1, 3_000_000, 4_800));
        let lanes = [Lane::new(fast), Lane::new(slow)];
        let home = Home { to_come: Home::PAGE, away_us: i64::MAX };
        let call = Want {
            bytes: 100,
            sparse: true,
            backlog: 0,
            avoid: None,
            stay: None,
            home: Home::default(),
            settled: false,
        };
        assert_eq!(earliest(&lanes, call, &[]), Some(1));
        assert_eq!(earliest(&lanes, Want { home, ..call }, &[]), Some(0));
    }
}
