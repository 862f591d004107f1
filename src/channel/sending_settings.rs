//! What the sending half of a channel is told at its making (`sending.rs`).

use super::congestion::ControlSettings;
use super::row::Others;
use crate::units::{ChannelId, Rate};
use std::time::{Duration, Instant};

/// What a channel's sender is told at its making.
#[derive(Clone, Debug)]
pub struct SendingSettings {
    pub id: ChannelId,
    /// Where this host's ticks begin; the same for all channels of the process.
    pub epoch: Instant,
    /// Wire bytes beside the inner packet: 60 over IPv4, 80 over IPv6.
    pub overhead: u32,
    /// The owner's cap, if any.
    pub rate_max: Option<Rate>,
    pub control: ControlSettings,
    /// Time beyond the path's own after which a packet in flight goes again on another channel.
    pub late: Duration,
    /// The same on a link that uses to stand still for `LUMPY_GAP` and more: what is late there mostly comes by itself.
    pub late_lumpy: Duration,
    /// The same on any link while the other channels have no room to spare.
    pub late_busy: Duration,
    /// Full packets to send in a row when the link comes up.
    pub train: usize,
}

impl SendingSettings {
    /// The usual settings of a channel.
    pub fn new(id: ChannelId, epoch: Instant, overhead: u32) -> SendingSettings {
        let control = ControlSettings::default();
        let (late, late_lumpy, late_busy, train) = (LATE, LATE_LUMPY, LATE_BUSY, TRAIN);
        SendingSettings { id, epoch, overhead, rate_max: None, control, late, late_lumpy, late_busy, train }
    }

    /// Time beyond the path's own after which a packet is late, on a link with such gaps. Over a much longer link it would come later
    /// still: who waits for half of what that costs loses half of it at most.
    pub(super) fn late_after(&self, others: Others, typical_gap: Duration) -> Duration {
        let late = match others.has_room() {
            true if typical_gap >= LUMPY_GAP => self.late_lumpy,
            true => self.late,
            false => self.late_busy,
        };
        late.max((others.lead / LEAD_PART).min(self.late_busy))
    }
}

/// Source: the simulator, 18 sets of recorded links at full rate: 120, 60 ms 0.891, 0.896; with 250 ms instead of 400 for
/// LATE_BUSY 0.886. LATE_BUSY stays below the far end's hold. Seven sets of recorded links, 60, 100, 160 ms: 0.974, 0.980,
/// 0.981, with BBR 0.874, 0.889, 0.890; but 60 random sets 0.958, 0.938 with 100.
const LATE: Duration = Duration::from_millis(60);
/// Source: the simulator, BBR over seven and thirteen sets of recorded links, six and three seeds: 60 ms on all links 0.922,
/// 0.934; 120 ms on those with gaps of 10, 20, 30 ms 0.934, 0.933, 0.935 and 0.937, 0.941, 0.935; CUBIC is the same with each. On all
/// links 120 ms: 0.940, 0.942, but BBR over 120 random sets 0.777 to 0.761.
const LATE_LUMPY: Duration = Duration::from_millis(120);
const LUMPY_GAP: Duration = Duration::from_millis(20);
const LATE_BUSY: Duration = Duration::from_millis(400);
/// Source: the simulator, 100 kB objects over the best link's, each counted as 1 at most, on two times 150 random sets of links and 120: never
/// 0.980, 0.980, 0.971, half 0.980, 0.979, 0.976, all 0.978, 0.980, 0.976; 2.1 Mbit/s at 60 ms with a queue of 60 ms beside a satellite
/// 1.8 to 0.86 s. Downloads are the same with each.
const LEAD_PART: u32 = 2;
/// Packets of the train on a new link. Six are 8 kB: 0.2 s on 0.3 Mbit/s.
pub(super) const TRAIN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_on_a_link_that_stands_still_now_and_then_is_given_more_time() {
        let settings = SendingSettings::new(ChannelId(0), Instant::now(), 60);
        let late = |waiting, gap_ms| {
            settings
                .late_after(Others { up: 1, waiting, lead: Duration::ZERO }, Duration::from_millis(gap_ms))
        };
        assert!(late(false, 40) > late(false, 5), "the other has room");
        assert!(late(true, 40) == late(true, 5) && late(true, 5) > late(false, 40), "it has none");
    }

    #[test]
    fn a_packet_is_given_more_time_where_the_other_link_is_much_longer() {
        let settings = SendingSettings::new(ChannelId(0), Instant::now(), 60);
        let late = |lead_ms| {
            let others = Others { up: 1, waiting: false, lead: Duration::from_millis(lead_ms) };
            settings.late_after(others, Duration::ZERO)
        };
        assert_eq!(late(20), late(0));
        assert_eq!(late(600), Duration::from_millis(300));
        assert_eq!(late(100_000), LATE_BUSY);
    }
}
