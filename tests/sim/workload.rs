//! What runs inside the tunnel, by name.

use super::traffic::Algorithm;

/// What runs inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    pub name: &'static str,
    /// TCP flows, their sending side and control.
    pub flows: u16,
    pub from: usize,
    pub algorithm: Algorithm,
    pub probes: bool,
    pub web: bool,
    /// UDP at this share of the links' mean capacity, from `from`; none at zero.
    pub blast: f64,
}

/// All workloads by name.
pub fn workloads() -> Vec<Workload> {
    let base = Workload {
        name: "tcp_down",
        flows: 1,
        from: 1,
        algorithm: Algorithm::Cubic,
        probes: false,
        web: false,
        blast: 0.0,
    };
    let bbr = Algorithm::Bbr;
    vec![
        base,
        Workload { name: "tcp_up", from: 0, ..base },
        Workload { name: "tcp_down_bbr", algorithm: bbr, ..base },
        Workload { name: "tcp_up_bbr", from: 0, algorithm: bbr, ..base },
        Workload { name: "tcp_down_8", flows: 8, ..base },
        Workload { name: "tcp_up_8", flows: 8, from: 0, ..base },
        Workload { name: "latency_idle", flows: 0, probes: true, ..base },
        Workload { name: "latency_loaded", probes: true, ..base },
        Workload { name: "failover", probes: true, ..base },
        Workload { name: "web", flows: 0, web: true, ..base },
        Workload { name: "udp_down", flows: 0, blast: 0.9, ..base },
        Workload { name: "udp_up", flows: 0, blast: 0.9, from: 0, ..base },
        Workload { name: "udp_flood_down", flows: 0, blast: 1.6, ..base },
        Workload { name: "udp_flood_up", flows: 0, blast: 1.6, from: 0, ..base },
    ]
}
