//! The snapshot for programs: JSON, YAML (the monitor file) and Prometheus' text format.

use super::snapshot::{ChannelRow, ChannelState, SessionState, Snapshot, TunnelRow};
use super::text::sentence;
use std::fmt::Write;

/// One JSON object in one line, with a line break at its end.
pub fn json(s: &Snapshot) -> String {
    let mut text = serde_json::to_string(s).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"));
    text.push('\n');
    text
}

/// A snapshot from its JSON, for `gobonding status`.
pub fn from_json(text: &str) -> Result<Snapshot, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// The monitor file: the sentence of each tunnel as a comment, then everything as YAML.
pub fn yaml(s: &Snapshot) -> String {
    let mut out = String::new();
    for t in &s.tunnels {
        out.push_str(&format!("# {}: {}\n", t.name, sentence(t).replace('\n', " ")));
    }
    match serde_yaml::to_string(s) {
        Ok(text) => out.push_str(&text),
        Err(e) => out.push_str(&format!("error: {e}\n")),
    }
    out
}

/// Prometheus' text format: `gobonding_*`, base units, labels `tunnel` and `channel`.
pub fn prometheus(s: &Snapshot) -> String {
    let mut page = Page { out: String::new() };
    page.head("build_info", "gauge", "Version and role of this process.");
    page.line("build_info", &[("version", &s.version), ("role", &s.role)], "1");
    page.head("uptime_seconds", "gauge", "Time since the start.");
    page.line("uptime_seconds", &[], &seconds(s.uptime_ms * 1_000));
    for (name, kind, help, value) in TUNNEL_METRICS {
        page.head(name, kind, help);
        for t in &s.tunnels {
            page.line(name, &[("tunnel", &t.name)], &value(t));
        }
    }
    for (name, kind, help, value) in CHANNEL_METRICS {
        page.head(name, kind, help);
        for t in &s.tunnels {
            for c in &t.channels {
                page.line(name, &[("tunnel", &t.name), ("channel", &c.name)], &value(c));
            }
        }
    }
    let strangers =
        [("hello", s.strangers.hellos), ("refused", s.strangers.refused), ("limited", s.strangers.limited)];
    page.head("strangers_total", "counter", "Datagrams that belonged to no session.");
    for (kind, n) in strangers {
        page.line("strangers_total", &[("kind", kind)], &n.to_string());
    }
    let d = &s.dropped;
    let dropped = [
        ("nobody", d.nobody),
        ("foreign_source", d.foreign_source),
        ("tun_refused", d.tun_refused),
        ("queue_full", d.queue_full),
        ("unsent", d.unsent),
    ];
    page.head("dropped_total", "counter", "What was dropped outside of the tunnels' queues.");
    for (kind, n) in dropped {
        page.line("dropped_total", &[("kind", kind)], &n.to_string());
    }
    page.out
}

type Metric<T> = (&'static str, &'static str, &'static str, fn(&T) -> String);

const TUNNEL_METRICS: &[Metric<TunnelRow>] = &[
    ("session_up", "gauge", "1 while router and proxy have proved themselves to each other.", |t| {
        u8::from(t.session == SessionState::Established).to_string()
    }),
    ("sent_packets_total", "counter", "Inner packets sent.", |t| t.outbound.packets.to_string()),
    ("sent_bytes_total", "counter", "Bytes of inner packets sent.", |t| t.outbound.bytes.to_string()),
    ("received_packets_total", "counter", "Inner packets delivered.", |t| t.inbound.packets.to_string()),
    ("received_bytes_total", "counter", "Bytes of inner packets delivered.", |t| t.inbound.bytes.to_string()),
    ("queue_bytes", "gauge", "Bytes that wait for a channel.", |t| t.outbound.queue_bytes.to_string()),
    ("aqm_dropped_total", "counter", "Packets dropped to keep the queue short.", |t| {
        t.outbound.aqm_dropped.to_string()
    }),
    ("overflow_dropped_total", "counter", "Packets dropped because memory was full.", |t| {
        t.outbound.overflow_dropped.to_string()
    }),
    ("header_saved_bytes_total", "counter", "Bytes of inner headers left out, as the peer knew them.", |t| {
        t.outbound.header_bytes_saved.to_string()
    }),
    ("split_total", "counter", "Packets sent in two halves, as they do not fit into a datagram.", |t| {
        t.outbound.split.to_string()
    }),
    ("unjoined_total", "counter", "Halves of packets whose other half did not come.", |t| {
        t.inbound.unjoined.to_string()
    }),
    ("unreadable_total", "counter", "Compressed packets whose context was missing.", |t| {
        t.inbound.unreadable.to_string()
    }),
    ("resent_total", "counter", "Packets sent again.", |t| t.outbound.resent.to_string()),
    ("reorder_wait_seconds", "gauge", "Mean wait for earlier packets over the last second.", |t| {
        seconds(t.inbound.wait_mean_us)
    }),
    ("reorder_late_total", "counter", "Packets delivered after later ones.", |t| t.inbound.late.to_string()),
    ("reorder_gaps_total", "counter", "Packets that were waited for in vain.", |t| {
        t.inbound.gaps.to_string()
    }),
];

const CHANNEL_METRICS: &[Metric<ChannelRow>] = &[
    ("channel_up", "gauge", "1 while acknowledgements come.", |c| {
        u8::from(c.state == ChannelState::Up).to_string()
    }),
    ("channel_held_back", "gauge", "1 while the channel would cost more than it brings.", |c| {
        u8::from(c.held_back.is_some()).to_string()
    }),
    ("channel_sent_bytes_total", "counter", "Bytes sent on the wire.", |c| c.sent_bytes.to_string()),
    ("channel_received_bytes_total", "counter", "Bytes received.", |c| c.received_bytes.to_string()),
    ("channel_lost_packets_total", "counter", "Packets lost.", |c| c.lost_packets.to_string()),
    ("channel_capacity_bytes_per_second", "gauge", "What the link is believed to carry from here.", |c| {
        (c.send_capacity_bit_per_s / 8).to_string()
    }),
    ("channel_rtt_seconds", "gauge", "Smoothed round-trip time.", |c| seconds(c.rtt_us)),
    ("channel_base_rtt_seconds", "gauge", "Round-trip time without queue.", |c| seconds(c.base_rtt_us)),
    ("channel_queue_delay_seconds", "gauge", "Queue in the link.", |c| seconds(c.queue_delay_us)),
    ("channel_loss_ratio", "gauge", "Part of the packets lost over the last seconds.", |c| {
        format!("{:.6}", f64::from(c.loss_ppm) / 1e6)
    }),
    ("channel_forged_total", "counter", "Datagrams that did not authenticate.", |c| c.forged.to_string()),
    ("channel_replayed_total", "counter", "Datagrams seen before.", |c| c.replayed.to_string()),
];

struct Page {
    out: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.out, "# HELP gobonding_{name} {help}\n# TYPE gobonding_{name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: &str) {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "gobonding_{name}{braces} {value}");
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(us: u64) -> String {
    format!("{:.6}", us as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::sample;
    use super::*;

    #[test]
    fn json_comes_back_as_the_same_snapshot() {
        let s = sample();
        assert_eq!(from_json(&json(&s)).unwrap(), s);
        assert_eq!(json(&s).lines().count(), 1);
    }

    #[test]
    fn the_monitor_file_is_yaml_below_its_sentence() {
        let text = yaml(&sample());
        assert!(text.starts_with("# proxy: 2 of 3 channels in use; lte2 held back"), "{text}");
        let back: Snapshot = serde_yaml::from_str(&text).unwrap();
        assert_eq!(back, sample());
    }

    #[test]
    fn each_metric_has_its_type_once_and_a_line_for_each_channel() {
        let page = prometheus(&sample());
        assert_eq!(page.matches("# TYPE gobonding_channel_rtt_seconds gauge\n").count(), 1);
        assert_eq!(page.matches("\ngobonding_channel_rtt_seconds{").count(), 3);
        assert!(page.contains("gobonding_channel_rtt_seconds{tunnel=\"proxy\",channel=\"dsl\"} 0.031000\n"));
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\n"), "a\\\"b\\\\c\\n");
    }
}
