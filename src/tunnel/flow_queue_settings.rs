//! What the flow queues are told at their making (`flow_queue.rs`).

use super::codel::CodelSettings;
use super::flow_rate::SparseSettings;
use crate::units::Rate;
use std::time::Duration;

/// Everything that the simulator may sweep.
#[derive(Clone, Debug)]
pub struct FlowQueueSettings {
    /// Memory for all queues, bytes.
    pub bytes_max: usize,
    /// Queues at a time; flows beyond share them.
    pub flows_max: usize,
    /// Bytes a flow may send in its turn.
    pub quantum: u32,
    /// Which flows are sparse.
    pub sparse_rate: SparseSettings,
    /// Rule for sparse flows.
    pub sparse: CodelSettings,
    /// Rule for the others, while they hold more than their share of `bulk_bdp_percent`.
    pub bulk: CodelSettings,
    /// The same while a third and more of all that the flow ever sent waits here.
    pub bulk_slow_start_interval: Duration,
    /// What bulk flows may hold together: this share of peak rate x round trip.
    pub bulk_bdp_percent: u32,
    /// The same for flows whose senders are told by acknowledgements where to stop (`steer.rs`): they hold that share,
    /// and what does not heed it is dropped beyond this one.
    pub steered_bdp_percent: u32,
    /// Shortest round trip counted in that: the inner connection's is longer than the tunnel's.
    pub bulk_rtt_min: Duration,
    /// What each bulk flow may hold at least, bytes.
    pub bulk_bytes_min: u64,
    /// All queues together hold at most what the peak rate carries in this time...
    pub sojourn_max: Duration,
    /// ...but not less than this, bytes.
    pub sojourn_bytes_min: u64,
    /// A TCP acknowledgement that waited this long may give way to newer ones; `None`: never.
    pub thin_acks_after: Option<Duration>,
}

impl Default for FlowQueueSettings {
    /// Sources: quantum and flows RFC 8290; the rest guesses but for the rule for bulk. A model of one CUBIC flow
    /// over eight sums of recorded and stepping links, goodput against an unmanaged FIFO of 1 MB a link:
    /// CoDel 20/100 alone 0.77, 100/300 alone 0.88, 200/600 alone 0.97; with 120/300 beyond 40, 60, 80, 100, 150 %
    /// of the bandwidth-delay product 0.98, 0.998, 1.00, 1.00, 1.00. With 8 flows 0.99 at 40 %, 0.998 from 60 %.
    fn default() -> Self {
        let ms = Duration::from_millis;
        FlowQueueSettings {
            bytes_max: 32 << 20,
            flows_max: 1024,
            quantum: 1500,
            sparse_rate: SparseSettings { burst_bytes: 6_000, rate_min: Rate(8_000), rate_max: Rate(64_000) },
            sparse: CodelSettings { target: ms(15), interval: ms(100) },
            bulk: CodelSettings { target: ms(120), interval: ms(300) },
            bulk_slow_start_interval: ms(100),
            bulk_bdp_percent: 120,
            steered_bdp_percent: 360,
            bulk_rtt_min: ms(100),
            bulk_bytes_min: 30_000,
            sojourn_max: ms(1_000),
            sojourn_bytes_min: 256 << 10,
            thin_acks_after: Some(ms(5)),
        }
    }
}
