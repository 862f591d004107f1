//! Thins TCP acknowledgements that wait: on an uplink of 0.7 Mbit/s they, not the downlink, would set the pace.
//!
//! Not for: anything a sender could miss. An acknowledgement goes only when it says nothing but a number,
//! two newer ones of its connection wait behind it, the next one says a higher number, and it is not one of
//! several with the same number (three of those mean a loss). It must have waited a while, so that a burst
//! that leaves at once is never thinned. The rules are those of CAKE's ack-filter in its careful mode.
//!
//! Only where a crowd waits, any of them may go: after a loss each acknowledgement repeats the number and
//! tells of more, so none is needless, and on a thin uplink they would queue for seconds; the newest tells most.

use super::classify::{Flow, Tcp};
use std::collections::VecDeque;
use std::time::Duration;

/// What must be known of a waiting acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaitingAck {
    /// The connection.
    pub(super) flow_hash: u64,
    pub(super) number: u32,
    pub(super) is_replaceable: bool,
}

impl WaitingAck {
    /// Of a pure acknowledgement; `None` for any other packet.
    pub(super) fn of(flow: &Flow) -> Option<WaitingAck> {
        let tcp: Tcp = flow.tcp.filter(|_| flow.is_tcp_pure_ack())?;
        Some(WaitingAck { flow_hash: flow.hash, number: tcp.ack, is_replaceable: tcp.is_replaceable_ack() })
    }
}

/// Which waiting packet the pure acknowledgement at the back of the queue makes needless, as an index > 0.
///
/// `look` gives the acknowledgement at an index, if it is one, and how long it has waited; `last_out` is the
/// newest that left this queue.
pub(super) fn needless<T>(
    items: &VecDeque<T>,
    look: impl Fn(&T) -> (Option<WaitingAck>, Duration),
    after: Duration,
    last_out: Option<WaitingAck>,
) -> Option<usize> {
    let newest = look(items.back()?).0?;
    let of_flow = |ack: &WaitingAck| ack.flow_hash == newest.flow_hash;
    let last = items.len() - 1;
    let mut before = last_out.filter(of_flow);
    // The acknowledgement that may go: where it is, and itself.
    let mut candidate: Option<(usize, WaitingAck)> = None;
    let (mut crowd, mut oldest) = (0, None);
    for (i, item) in items.iter().enumerate().take(SCAN_MAX) {
        let (Some(ack), waited) = look(item) else { continue };
        if !of_flow(&ack) {
            continue;
        }
        if let Some((at, old)) = candidate {
            let newer_by = ack.number.wrapping_sub(old.number);
            if i < last && newer_by > 0 && newer_by < 1 << 30 {
                return Some(at);
            }
        }
        crowd += 1;
        if i > 0 && waited >= after && oldest.is_none() {
            oldest = Some(i);
        }
        let repeats = before.is_some_and(|b| b.number == ack.number);
        let may_go = i > 0 && ack.is_replaceable && waited >= after && !repeats;
        candidate = may_go.then_some((i, ack));
        before = Some(ack);
    }
    oldest.filter(|_| crowd > CROWD)
}

/// Acknowledgements of one connection that may wait, whatever they say. Source: a guess; more than the
/// three repeats that mean a loss.
const CROWD: usize = 12;

/// Packets looked at from the front. Source: a guess; needless ones are at the front, because they go first.
const SCAN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const WAITED: Duration = Duration::from_millis(10);
    const AFTER: Duration = Duration::from_millis(5);

    #[test]
    fn the_oldest_behind_the_head_goes_and_two_newer_stay() {
        assert_eq!(thin(&[(10, true), (20, true), (30, true), (40, true)]), Some(1));
        assert_eq!(thin(&[(10, true), (20, true), (30, true)]), None);
    }

    #[test]
    fn repeated_numbers_and_other_contents_stay() {
        assert_eq!(thin(&[(10, true), (10, true), (10, true), (10, true), (10, true)]), None);
        assert_eq!(thin(&[(10, true), (20, true), (20, true), (20, true), (30, true)]), None);
        assert_eq!(thin(&[(10, true), (20, false), (30, true), (40, true)]), None);
    }

    #[test]
    fn one_whose_predecessor_just_left_with_the_same_number_stays() {
        let queue = acks(&[(5, true), (20, true), (30, true), (40, true)]);
        let last_out = Some(WaitingAck { flow_hash: 1, number: 5, is_replaceable: true });
        assert_eq!(needless(&queue, |a| (Some(*a), WAITED), AFTER, last_out), Some(1));
        let mut queue = queue;
        queue[0].flow_hash = 2;
        queue[1].number = 5;
        assert_eq!(needless(&queue, |a| (Some(*a), WAITED), AFTER, last_out), None);
    }

    #[test]
    fn one_that_just_came_stays() {
        let queue = acks(&[(10, true), (20, true), (30, true), (40, true)]);
        assert_eq!(needless(&queue, |a| (Some(*a), Duration::ZERO), AFTER, None), None);
    }

    #[test]
    fn numbers_wrap() {
        assert_eq!(thin(&[(0, true), (u32::MAX, true), (9, true), (20, true)]), Some(1));
        assert_eq!(thin(&[(0, true), (9, true), (u32::MAX, true), (u32::MAX, true)]), None);
    }

    fn thin(of: &[(u32, bool)]) -> Option<usize> {
        needless(&acks(of), |a| (Some(*a), WAITED), AFTER, None)
    }

    fn acks(of: &[(u32, bool)]) -> VecDeque<WaitingAck> {
        of.iter()
            .map(|&(number, is_replaceable)| WaitingAck { flow_hash: 1, number, is_replaceable })
            .collect()
    }
}
