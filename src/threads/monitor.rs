//! Thread `monitor`: tells the owner what the stats table says.
//!
//! 1. wait for the next tick,
//! 2. copy the rows into a snapshot,
//! 3. log what has changed,
//! 4. write the monitor file,
//! 5. answer who asks at the status socket.

use super::clock;
use super::stats::{Rows, Stats, Tunnel};
use super::stop::{Stop, PATIENCE};
use crate::io::poll;
use crate::monitor::snapshot::{ChannelRow, ChannelState, DroppedRow, Snapshot, StrangerRow, TunnelRow};
use crate::monitor::socket::StatusSocket;
use crate::monitor::{file, formats};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where snapshots come from.
#[derive(Clone, Debug)]
pub struct Source {
    pub stats: Arc<Stats>,
    /// "router" or "proxy".
    pub role: &'static str,
    pub tun: String,
    pub balancer: String,
    pub started: Instant,
}

impl Source {
    /// How everything is at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let now = clock::now();
        let uptime = now.saturating_duration_since(self.started);
        let mut snapshot = Snapshot::new(self.role, uptime, &self.tun, &self.balancer);
        snapshot.tunnels = self.stats.tunnels().iter().map(|t| tunnel_row(now, t)).collect();
        let process = self.stats.process();
        snapshot.strangers =
            StrangerRow { hellos: process.hellos, refused: process.refused, limited: process.limited };
        snapshot.dropped = DroppedRow {
            nobody: process.nobody,
            foreign_source: process.foreign_source,
            tun_refused: process.tun_dropped,
            queue_full: process.queue_full,
            unsent: process.unsent,
        };
        snapshot
    }
}

/// What the thread owns.
#[derive(Debug)]
pub struct Monitor {
    pub source: Source,
    /// Monitor file, replaced at each tick.
    pub file: Option<PathBuf>,
    pub tick: Duration,
    pub socket: Option<StatusSocket>,
    pub stop: Stop,
}

/// What was logged last, to log changes alone.
#[derive(Debug, Default)]
struct Logged {
    channels: Vec<(String, ChannelState)>,
}

impl Monitor {
    /// Runs until the stop signal.
    pub fn run(self) {
        let mut logged = Logged::default();
        let (mut due, mut file_due) = (self.source.started, self.source.started);
        let mut file_fails = false;
        while !self.stop.is_set() {
            let now = clock::now();
            if now >= due {
                due = now + self.tick.min(LOG_TICK);
                let snapshot = self.source.snapshot();
                logged.update(&snapshot);
                if let Some(path) = self.file.as_ref().filter(|_| now >= file_due) {
                    file_due = now + self.tick;
                    let written = file::replace(path, &formats::yaml(&snapshot));
                    if let (Err(e), false) = (&written, file_fails) {
                        log::warn!("cannot write the monitor file {}: {e}", path.display());
                    }
                    file_fails = written.is_err();
                }
            }
            self.wait(due.saturating_duration_since(now));
        }
    }

    /// The one place where the thread waits: for somebody who asks, at most until the next tick.
    fn wait(&self, left: Duration) {
        let fds: Vec<_> = self.socket.iter().map(|s| s.as_fd()).collect();
        match poll::wait(&fds, Some(left.min(PATIENCE))) {
            Ok(ready) if ready.has(0) => {
                let asked = self.socket.as_ref().and_then(StatusSocket::accept);
                // Who does not wait for the answer does not want it.
                let _ = asked.map(|one| one.answer(&self.source.snapshot()));
            }
            Ok(_) => {}
            Err(failure) => log::warn!("{failure}"),
        }
    }
}

impl Logged {
    fn update(&mut self, snapshot: &Snapshot) {
        let mut channels = Vec::new();
        for tunnel in &snapshot.tunnels {
            for channel in &tunnel.channels {
                let name = format!("{} {}", tunnel.name, channel.name);
                let before = self.channels.iter().find(|(n, _)| *n == name).map(|(_, state)| *state);
                if before != Some(channel.state) {
                    let state = format!("{:?}", channel.state).to_lowercase();
                    let why =
                        if channel.why.is_empty() { String::new() } else { format!(": {}", channel.why) };
                    log::info!("{name}: {state}{why}");
                }
                channels.push((name, channel.state));
            }
        }
        self.channels = channels;
    }
}

fn tunnel_row(now: Instant, tunnel: &Tunnel) -> TunnelRow {
    let rows = tunnel.session.as_ref().map(|s| s.copy()).unwrap_or_default();
    let channels = tunnel.channels.iter().enumerate().map(|(place, info)| {
        match (rows.send.get(place).and_then(Option::as_ref), rows.receive.get(place)) {
            (Some(send), Some(receive)) => {
                ChannelRow::new(now, &info.name, &info.link, &info.peer, send, receive)
            }
            _ => {
                let since = now.saturating_duration_since(info.since);
                ChannelRow::waiting(&info.name, &info.link, &info.peer, info.state, since, &info.why)
            }
        }
    });
    let since = now.saturating_duration_since(tunnel.since);
    let channels = channels.filter(|c| !c.name.is_empty()).collect();
    let Rows { outbound, inbound, .. } = &rows;
    TunnelRow::new(&tunnel.name, tunnel.state.clone(), since, channels, outbound, inbound)
}

/// How often changes are looked for, at least.
const LOG_TICK: Duration = Duration::from_millis(500);
