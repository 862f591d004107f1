//! The core's settings by name, so that a value can be tried without building again.

use gobonding::channel::congestion::ControlSettings;
use gobonding::tunnel::flow_queue::FlowQueueSettings;
use gobonding::tunnel::inbound::InboundSettings;
use std::time::Duration;

/// Settings of both ends; the defaults are the core's own.
#[derive(Clone, Debug, Default)]
pub struct Knobs {
    pub control: ControlSettings,
    pub queues: FlowQueueSettings,
    pub inbound: InboundSettings,
    pub acks_per_rtt: Option<u32>,
    pub late: Option<Duration>,
    pub late_busy: Option<Duration>,
}

/// Every name that `Knobs::set` knows.
pub const NAMES: &str = "target_ms rate_window_ms rate_keep_ms growth_percent pacing_percent bulk_target_ms \
    bulk_interval_ms slow_start_ms sparse_target_ms sparse_interval_ms bulk_bdp_percent bulk_rtt_min_ms bulk_bytes_min \
    sojourn_max_ms sojourn_bytes_min quantum thin_acks_ms hold_max_ms late_ms late_busy_ms acks_per_rtt steered_bdp_percent";

impl Knobs {
    /// Sets one value; names end in their unit.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let v: f64 = value.parse().map_err(|_| format!("{name}={value}: not a number"))?;
        let ms = Duration::from_secs_f64(v.max(0.0) / 1e3);
        let (c, q) = (&mut self.control, &mut self.queues);
        match name {
            "target_ms" => c.target = ms,
            "rate_window_ms" => c.rate_window = ms,
            "rate_keep_ms" => c.rate_keep = ms,
            "growth_percent" => c.growth_percent = v as u64,
            "pacing_percent" => c.pacing_percent = v as u64,
            "bulk_target_ms" => q.bulk.target = ms,
            "slow_start_ms" => q.bulk_slow_start_interval = ms,
            "bulk_interval_ms" => q.bulk.interval = ms,
            "sparse_target_ms" => q.sparse.target = ms,
            "sparse_interval_ms" => q.sparse.interval = ms,
            "bulk_bdp_percent" => q.bulk_bdp_percent = v as u32,
            "bulk_rtt_min_ms" => q.bulk_rtt_min = ms,
            "bulk_bytes_min" => q.bulk_bytes_min = v as u64,
            "sojourn_max_ms" => q.sojourn_max = ms,
            "sojourn_bytes_min" => q.sojourn_bytes_min = v as u64,
            "quantum" => q.quantum = v as u32,
            "thin_acks_ms" => q.thin_acks_after = (v > 0.0).then_some(ms),
            "late_ms" => self.late = Some(ms),
            "late_busy_ms" => self.late_busy = Some(ms),
            "steered_bdp_percent" => q.steered_bdp_percent = v as u32,
            "acks_per_rtt" => self.acks_per_rtt = Some(v as u32),
            "hold_max_ms" => (self.inbound.hold_max, self.inbound.follows_rtt) = (ms, false),
            _ => return Err(format!("{name}: no such setting; there are {NAMES}")),
        }
        Ok(())
    }
}
