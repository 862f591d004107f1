//! Snapshot: what an owner may see of a running router or proxy, as plain display data.
//!
//! 1. The glue copies the rows of the stats table and fills a `Snapshot`.
//! 2. `text`, `json`, `yaml`, `prometheus` turn it into what somebody reads.
//!
//! Not for: deciding anything. Field names carry their unit, because they are the names in JSON and YAML.

use crate::channel::row::{ReceiveRow, SendRow, State};
use crate::tunnel::inbound::InboundStats;
use crate::tunnel::outbound::OutboundStats;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// State of the whole process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// "router" or "proxy".
    pub role: String,
    pub version: String,
    pub uptime_ms: u64,
    /// Name of the tunnel device.
    pub tun: String,
    pub balancer: String,
    /// Router: exactly one. Proxy: one for each router it knows, connected or not.
    pub tunnels: Vec<TunnelRow>,
    /// Datagrams that belonged to no session (proxy's listening socket), by what became of them.
    pub strangers: StrangerRow,
    /// What this process dropped outside of any tunnel's queues, by reason.
    pub dropped: DroppedRow,
}

/// Counters of the socket that talks to strangers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrangerRow {
    /// Handshakes begun.
    pub hellos: u64,
    /// Refused: wrong key, wrong version, malformed, forged.
    pub refused: u64,
    /// Not answered, because too many came at once.
    pub limited: u64,
}

/// Counters of the process since its start; all of them stay near 0 where all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedRow {
    /// Packets from TUN for an address that no peer has.
    pub nobody: u64,
    /// Packets from a peer whose source address is not the peer's.
    pub foreign_source: u64,
    /// Packets that the TUN device did not take.
    pub tun_refused: u64,
    /// Messages between threads that found their queue full.
    pub queue_full: u64,
    /// Times that the system refused to send datagrams over a link.
    pub unsent: u64,
}

/// One tunnel: a router with its proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelRow {
    /// Router's name at the proxy; "proxy" at the router.
    pub name: String,
    pub session: SessionState,
    /// How long the session state has been as it is.
    pub since_ms: u64,
    pub channels: Vec<ChannelRow>,
    pub outbound: OutboundRow,
    pub inbound: InboundRow,
}

/// State of the session with the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "why")]
pub enum SessionState {
    /// Nobody has come yet (proxy), or the router is still trying.
    Connecting,
    /// Both have proved themselves.
    Established,
    /// The peer said good-bye or all channels are silent.
    Lost,
    /// The peer refused us or we refused it; the reason in words.
    Refused(String),
}

/// One channel for the eye. "Send" is what leaves this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelRow {
    pub name: String,
    /// Device or local address it is tied to; at the proxy the router's outer address.
    pub link: String,
    /// Outer address of the peer, if known.
    pub peer: String,
    pub state: ChannelState,
    /// How long the state has been as it is.
    pub since_ms: u64,
    /// Why, when the state alone does not say it ("no such device").
    pub why: String,
    pub send_rate_bit_per_s: u64,
    pub receive_rate_bit_per_s: u64,
    /// What the link is believed to carry from here.
    pub send_capacity_bit_per_s: u64,
    /// Part of all that is sent in this tunnel, of 1,000.
    pub send_share_permille: u32,
    pub receive_share_permille: u32,
    pub base_rtt_us: u64,
    pub rtt_us: u64,
    pub queue_delay_us: u64,
    pub loss_ppm: u32,
    pub cwnd_bytes: u64,
    pub in_flight_bytes: u64,
    pub sent_packets: u64,
    pub sent_bytes: u64,
    pub lost_packets: u64,
    pub resent_packets: u64,
    pub received_packets: u64,
    pub received_bytes: u64,
    pub forged: u64,
    pub replayed: u64,
    pub malformed: u64,
    pub held_back: Option<HeldBackRow>,
}

/// Why a channel carries nothing although it is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBackRow {
    pub adds_us: u64,
    pub brings_bit_per_s: u64,
}

/// State of a channel as an owner sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelState {
    /// The device or the address does not exist, or the proxy's name has no address.
    Missing,
    /// Trying to reach the peer.
    Joining,
    Up,
    Stalled,
    Down,
}

/// What leaves through the tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundRow {
    pub packets: u64,
    pub bytes: u64,
    pub queue_packets: u64,
    pub queue_bytes: u64,
    pub aqm_dropped: u64,
    pub aqm_marked: u64,
    pub overflow_dropped: u64,
    pub acks_thinned: u64,
    pub resent: u64,
    pub copies: u64,
    pub abandoned: u64,
    pub malformed: u64,
    /// Bytes of inner headers that were left out, because the peer knew them.
    pub header_bytes_saved: u64,
    /// Packets too long for a datagram, in two halves.
    pub split: u64,
}

/// What came through the tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundRow {
    pub packets: u64,
    pub bytes: u64,
    pub late: u64,
    pub duplicates: u64,
    pub gaps: u64,
    /// Compressed packets whose context was missing.
    pub unreadable: u64,
    /// Halves whose other half did not come.
    pub unjoined: u64,
    pub waiting_packets: u64,
    pub waiting_bytes: u64,
    pub wait_max_us: u64,
    pub wait_mean_us: u64,
}

impl Snapshot {
    /// A snapshot without tunnels; `role` is "router" or "proxy".
    pub fn new(role: &str, uptime: Duration, tun: &str, balancer: &str) -> Snapshot {
        Snapshot {
            role: role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: millis(uptime),
            tun: tun.to_owned(),
            balancer: balancer.to_owned(),
            tunnels: Vec::new(),
            strangers: StrangerRow::default(),
            dropped: DroppedRow::default(),
        }
    }
}

impl TunnelRow {
    /// Puts the rows of a tunnel together and works out each channel's share.
    pub fn new(
        name: &str,
        session: SessionState,
        since: Duration,
        mut channels: Vec<ChannelRow>,
        outbound: &OutboundStats,
        inbound: &InboundStats,
    ) -> TunnelRow {
        let send_sum = channels.iter().fold(0u64, |n, c| n.saturating_add(c.send_rate_bit_per_s));
        let receive_sum = channels.iter().fold(0u64, |n, c| n.saturating_add(c.receive_rate_bit_per_s));
        for c in &mut channels {
            c.send_share_permille = permille(c.send_rate_bit_per_s, send_sum);
            c.receive_share_permille = permille(c.receive_rate_bit_per_s, receive_sum);
        }
        let (outbound, inbound) = (OutboundRow::from(outbound), InboundRow::from(inbound));
        TunnelRow { name: name.to_owned(), session, since_ms: millis(since), channels, outbound, inbound }
    }
}

impl ChannelRow {
    /// A channel that has its two rows.
    pub fn new(
        now: Instant,
        name: &str,
        link: &str,
        peer: &str,
        send: &SendRow,
        receive: &ReceiveRow,
    ) -> ChannelRow {
        ChannelRow {
            state: match send.state {
                State::Unknown => ChannelState::Joining,
                State::Up => ChannelState::Up,
                State::Stalled => ChannelState::Stalled,
                State::Down => ChannelState::Down,
            },
            send_rate_bit_per_s: send.goodput.0.saturating_mul(8),
            receive_rate_bit_per_s: receive.rate.0.saturating_mul(8),
            send_capacity_bit_per_s: send.rate.0.saturating_mul(8),
            base_rtt_us: micros(send.min_rtt),
            rtt_us: micros(send.smoothed_rtt),
            queue_delay_us: micros(send.queue_delay),
            loss_ppm: send.loss_ppm,
            cwnd_bytes: send.cwnd,
            in_flight_bytes: send.bytes_in_flight,
            sent_packets: send.sent_packets,
            sent_bytes: send.sent_bytes,
            lost_packets: send.lost_packets,
            resent_packets: send.resent_packets,
            received_packets: receive.packets,
            received_bytes: receive.bytes,
            forged: receive.forged,
            replayed: receive.replayed,
            malformed: receive.malformed,
            held_back: send.held_back.map(|h| HeldBackRow {
                adds_us: micros(h.adds),
                brings_bit_per_s: h.brings.0.saturating_mul(8),
            }),
            ..ChannelRow::waiting(
                name,
                link,
                peer,
                ChannelState::Joining,
                now.saturating_duration_since(send.since),
                "",
            )
        }
    }

    /// A channel that carries nothing: its device is missing, or it is still joining. `why` in words, or "".
    pub fn waiting(
        name: &str,
        link: &str,
        peer: &str,
        state: ChannelState,
        since: Duration,
        why: &str,
    ) -> ChannelRow {
        ChannelRow {
            name: name.to_owned(),
            link: link.to_owned(),
            peer: peer.to_owned(),
            state,
            since_ms: millis(since),
            why: why.to_owned(),
            send_rate_bit_per_s: 0,
            receive_rate_bit_per_s: 0,
            send_capacity_bit_per_s: 0,
            send_share_permille: 0,
            receive_share_permille: 0,
            base_rtt_us: 0,
            rtt_us: 0,
            queue_delay_us: 0,
            loss_ppm: 0,
            cwnd_bytes: 0,
            in_flight_bytes: 0,
            sent_packets: 0,
            sent_bytes: 0,
            lost_packets: 0,
            resent_packets: 0,
            received_packets: 0,
            received_bytes: 0,
            forged: 0,
            replayed: 0,
            malformed: 0,
            held_back: None,
        }
    }
}

impl From<&OutboundStats> for OutboundRow {
    fn from(s: &OutboundStats) -> OutboundRow {
        OutboundRow {
            packets: s.packets,
            bytes: s.bytes,
            queue_packets: s.queue_packets,
            queue_bytes: s.queue_bytes,
            aqm_dropped: s.aqm_dropped,
            aqm_marked: s.aqm_marked,
            overflow_dropped: s.overflow_dropped,
            acks_thinned: s.acks_thinned,
            resent: s.resent,
            copies: s.copies,
            abandoned: s.abandoned,
            malformed: s.malformed,
            header_bytes_saved: s.header_bytes_saved,
            split: s.split,
        }
    }
}

impl From<&InboundStats> for InboundRow {
    fn from(s: &InboundStats) -> InboundRow {
        InboundRow {
            packets: s.packets,
            bytes: s.bytes,
            late: s.late,
            duplicates: s.duplicates,
            gaps: s.gaps,
            unreadable: s.unreadable,
            unjoined: s.unjoined,
            waiting_packets: s.waiting_packets,
            waiting_bytes: s.waiting_bytes,
            wait_max_us: s.wait_max_us,
            wait_mean_us: s.wait_mean_us,
        }
    }
}

fn permille(part: u64, whole: u64) -> u32 {
    (u128::from(part) * 1000).checked_div(u128::from(whole)).unwrap_or(0) as u32
}

fn millis(d: Duration) -> u64 {
    d.as_millis().min(u128::from(u64::MAX)) as u64
}

fn micros(d: Duration) -> u64 {
    d.as_micros().min(u128::from(u64::MAX)) as u64
}
