//! The snapshot as text for a terminal: first the sentence that matters, then a table, then the rest.
//!
//! Not for: programs; they read JSON.

use super::snapshot::{
    ChannelRow, ChannelState, DroppedRow, InboundRow, OutboundRow, SessionState, Snapshot, TunnelRow,
};
use super::words;

/// The whole status, with a line break at its end.
pub fn text(s: &Snapshot) -> String {
    let mut out = String::new();
    for t in &s.tunnels {
        let head = if s.role == "proxy" { format!("{}: ", t.name) } else { String::new() };
        out.push_str(&format!("{head}{}\n", sentence(t)));
    }
    if s.tunnels.is_empty() {
        out.push_str("no tunnel is configured\n");
    }
    for t in &s.tunnels {
        out.push('\n');
        if s.role == "proxy" {
            out.push_str(&format!("session with {}: {}\n", t.name, session(t)));
        }
        if !t.channels.is_empty() {
            out.push_str(&table(&t.channels));
        }
        out.push_str(&tunnel_lines(t));
    }
    out.push_str(&format!(
        "\ngobonding {} {} on {}, balancer {}, running for {}\n",
        s.version,
        s.role,
        s.tun,
        s.balancer,
        words::span(s.uptime_ms)
    ));
    if s.strangers.refused + s.strangers.limited > 0 {
        out.push_str(&format!(
            "strangers: {} hellos, {} refused, {} not answered\n",
            s.strangers.hellos, s.strangers.refused, s.strangers.limited
        ));
    }
    if let Some(words) = dropped(&s.dropped) {
        out.push_str(&format!("dropped: {words}\n"));
    }
    out
}

fn dropped(row: &DroppedRow) -> Option<String> {
    let kinds = [
        (row.nobody, "for addresses that no peer has"),
        (row.foreign_source, "from a source address that is not the peer's"),
        (row.tun_refused, "that the tunnel device refused"),
        (row.queue_full, "messages for a thread that was too busy"),
        (row.unsent, "times a link refused to send"),
    ];
    let words: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, words)| format!("{n} {words}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// One sentence: how many channels are in use, and what is wrong with the others.
pub fn sentence(t: &TunnelRow) -> String {
    match &t.session {
        SessionState::Refused(why) => return format!("no tunnel: {why}"),
        SessionState::Connecting => return format!("not connected{}", troubles(t)),
        SessionState::Lost => {
            return format!("connection lost {} ago{}", words::span(t.since_ms), troubles(t))
        }
        SessionState::Established => {}
    }
    let used = t.channels.iter().filter(|c| in_use(c)).count();
    format!("{used} of {} channel{} in use{}", t.channels.len(), plural(t.channels.len()), troubles(t))
}

/// What is wrong with a channel in words, if anything is.
pub fn trouble(c: &ChannelRow) -> Option<String> {
    let why = if c.why.is_empty() { String::new() } else { format!(" ({})", c.why) };
    let since = words::span(c.since_ms);
    match c.state {
        ChannelState::Missing => Some(format!("is missing{why}")),
        ChannelState::Joining => Some(format!("is joining for {since}{why}")),
        ChannelState::Stalled => Some(format!("stalled {since} ago{why}")),
        ChannelState::Down => Some(format!("is down for {since}{why}")),
        ChannelState::Up => c.held_back.map(|h| {
            let adds = words::micros(h.adds_us);
            format!("held back: adds {adds}, brings {}", words::rate(h.brings_bit_per_s))
        }),
    }
}

fn in_use(c: &ChannelRow) -> bool {
    c.state == ChannelState::Up && c.held_back.is_none()
}

fn troubles(t: &TunnelRow) -> String {
    t.channels
        .iter()
        .filter_map(|c| trouble(c).map(|words| format!("; {} {words}", c.name)))
        .collect::<Vec<_>>()
        .concat()
}

fn session(t: &TunnelRow) -> String {
    let since = words::span(t.since_ms);
    match &t.session {
        SessionState::Established => format!("established for {since}"),
        SessionState::Connecting => format!("waiting for {since}"),
        SessionState::Lost => format!("lost {since} ago"),
        SessionState::Refused(why) => format!("refused {since} ago: {why}"),
    }
}

const HEAD: [&str; 11] =
    ["channel", "link", "state", "for", "out", "in", "share", "rtt", "(base)", "queue", "loss"];

fn table(channels: &[ChannelRow]) -> String {
    let mut rows: Vec<[String; 11]> = vec![HEAD.map(str::to_owned)];
    rows.extend(channels.iter().map(|c| {
        [
            c.name.clone(),
            c.link.clone(),
            state(c).to_owned(),
            words::span(c.since_ms),
            words::rate(c.send_rate_bit_per_s),
            words::rate(c.receive_rate_bit_per_s),
            format!("{}/{} %", percent(c.send_share_permille), percent(c.receive_share_permille)),
            words::micros(c.rtt_us),
            words::micros(c.base_rtt_us),
            words::micros(c.queue_delay_us),
            words::ppm(c.loss_ppm),
        ]
    }));
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|i| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[i] - cell.chars().count());
            // Words stand left, numbers right.
            line.push_str(&if i < 4 { format!("{cell}{pad}  ") } else { format!("{pad}{cell}  ") });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn tunnel_lines(t: &TunnelRow) -> String {
    let (OutboundRow { packets: out, resent, copies, .. }, o) = (t.outbound, t.outbound);
    let InboundRow { packets: r#in, late, duplicates, gaps, .. } = t.inbound;
    let i = t.inbound;
    let dropped = o.aqm_dropped + o.overflow_dropped;
    let forged = t.channels.iter().fold(0, |n, c| n + c.forged + c.malformed);
    let replayed = t.channels.iter().fold(0, |n, c| n + c.replayed);
    let mut text = format!(
        "out: {out} packets ({}), {} waiting ({}), {dropped} dropped, {} marked, {resent} resent, {copies} copies, \
         {} of headers saved\n",
        words::bytes(o.bytes),
        o.queue_packets,
        words::bytes(o.queue_bytes),
        o.aqm_marked,
        words::bytes(o.header_bytes_saved),
    );
    text.push_str(&format!(
        "in:  {} packets ({}), {} waiting, reorder wait {} (longest {}), {late} late, {duplicates} twice, {gaps} lost\n",
        r#in,
        words::bytes(i.bytes),
        i.waiting_packets,
        words::micros(i.wait_mean_us),
        words::micros(i.wait_max_us),
    ));
    if forged + replayed > 0 {
        text.push_str(&format!(
            "ignored: {forged} datagrams that were not the peer's, {replayed} replayed\n"
        ));
    }
    text
}

fn state(c: &ChannelRow) -> &'static str {
    match c.state {
        ChannelState::Missing => "missing",
        ChannelState::Joining => "joining",
        ChannelState::Up if c.held_back.is_some() => "held back",
        ChannelState::Up => "up",
        ChannelState::Stalled => "stalled",
        ChannelState::Down => "down",
    }
}

fn percent(permille: u32) -> u32 {
    (permille + 5) / 10
}

fn plural(n: usize) -> &'static str {
    if n == 1 {
        ""
    } else {
        "s"
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::snapshot::HeldBackRow;
    use super::*;
    use crate::tunnel::inbound::InboundStats;
    use crate::tunnel::outbound::OutboundStats;
    use std::time::Duration;

    pub fn sample() -> Snapshot {
        let up = |name: &str, send: u64, receive: u64| ChannelRow {
            send_rate_bit_per_s: send,
            receive_rate_bit_per_s: receive,
            base_rtt_us: 24_000,
            rtt_us: 31_000,
            queue_delay_us: 6_500,
            loss_ppm: 1_200,
            ..ChannelRow::waiting(
                name,
                name,
                "203.0.113.7:41414",
                ChannelState::Up,
                Duration::from_secs(75),
                "",
            )
        };
        let held = ChannelRow {
            held_back: Some(HeldBackRow { adds_us: 310_000, brings_bit_per_s: 400_000 }),
            ..up("lte2", 0, 0)
        };
        let channels = vec![up("dsl", 3_000_000, 30_000_000), up("lte1", 1_000_000, 10_000_000), held];
        let (out, inn) = (OutboundStats { packets: 5, ..Default::default() }, InboundStats::default());
        let since = Duration::from_secs(80);
        let mut s = Snapshot::new("router", Duration::from_secs(90), "tun0", "adaptive");
        s.tunnels.push(TunnelRow::new("proxy", SessionState::Established, since, channels, &out, &inn));
        s
    }

    #[test]
    fn the_first_line_is_one_sentence() {
        let text = text(&sample());
        let first = text.lines().next().unwrap();
        assert_eq!(first, "2 of 3 channels in use; lte2 held back: adds 310 ms, brings 400 kbit/s");
    }

    #[test]
    fn each_channel_has_a_line_and_its_share() {
        let text = text(&sample());
        let dsl = text.lines().find(|l| l.starts_with("dsl")).unwrap();
        for word in ["up", "1 min 15 s", "3.0 Mbit/s", "30.0 Mbit/s", "75/75 %", "31 ms", "24 ms", "0.1 %"] {
            assert!(dsl.contains(word), "{word} in {dsl}");
        }
    }

    #[test]
    fn a_refusal_is_the_first_thing_said() {
        let mut s = sample();
        s.tunnels[0].session = SessionState::Refused("the proxy does not know this router's key".into());
        assert!(text(&s).starts_with("no tunnel: the proxy does not know this router's key\n"));
    }

    #[test]
    fn missing_links_are_named_with_the_reason() {
        let mut s = sample();
        s.tunnels[0].channels[0].state = ChannelState::Missing;
        s.tunnels[0].channels[0].why = "no such device".into();
        assert!(text(&s).starts_with("1 of 3 channels in use; dsl is missing (no such device); lte2"));
    }

    #[test]
    fn what_the_process_dropped_is_said_when_there_is_any() {
        let mut s = sample();
        assert!(!text(&s).contains("dropped: "));
        s.dropped = DroppedRow { nobody: 2, queue_full: 7, ..DroppedRow::default() };
        let line = "dropped: 2 for addresses that no peer has, 7 messages for a thread that was too busy\n";
        assert!(text(&s).ends_with(line), "{}", text(&s));
    }
}
