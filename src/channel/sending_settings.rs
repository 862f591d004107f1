//! What the sending half of a channel is told at its making (`sending.rs`).

use super::congestion::ControlSettings;
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
    /// The same while the other channels have no room to spare.
    pub late_busy: Duration,
    /// Full packets to send in a row when the link comes up.
    pub train: usize,
}

impl SendingSettings {
    /// The usual settings of a channel.
    pub fn new(id: ChannelId, epoch: Instant, overhead: u32) -> SendingSettings {
        let control = ControlSettings::default();
        let (late, late_busy, train) = (LATE, LATE_BUSY, TRAIN);
        SendingSettings { id, epoch, overhead, rate_max: None, control, late, late_busy, train }
    }
}

/// Source: the simulator, 18 sets of recorded links at full rate: 120, 60 ms 0.891, 0.896; with 250 ms instead of 400 for
/// LATE_BUSY 0.886. LATE_BUSY stays below the far end's hold. Seven sets of recorded links, 60, 100, 160 ms: 0.974, 0.980,
/// 0.981, with BBR 0.874, 0.889, 0.890; but 60 random sets 0.958, 0.938 with 100.
const LATE: Duration = Duration::from_millis(60);
const LATE_BUSY: Duration = Duration::from_millis(400);
/// Packets of the train on a new link. Six are 8 kB: 0.2 s on 0.3 Mbit/s.
pub(super) const TRAIN: usize = 6;
