//! What `tun-read` and the reorderer tell each other of TCP connections, without a lock.
//!
//! `tun-read` puts in where a connection's sender should stop; whoever writes acknowledgements to TUN reads it. The
//! other way go the SYNs that leave for TUN. Whoever holds acknowledgements is told when their data came in.
//!
//! Not for: what to do with either (`tunnel/steer.rs`, `tunnel/ack_windows.rs`,
//! `tunnel/ack_floor.rs`).

use crate::tunnel::ack_floor::Entry;
use crossbeam_channel::{bounded, Receiver, Sender};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// When a SYN left, and the hash of the flow that will answer it.
type Syn = (Instant, u64);

/// One session's connections.
#[derive(Debug)]
pub struct Edges {
    /// By the low bits of a flow's hash: the high half of the hash, and the edge; zero: none.
    rows: Box<[AtomicU64]>,
    /// Rows that are not zero.
    count: AtomicUsize,
    syns: (Sender<Syn>, Receiver<Syn>),
    entries: (Sender<Entry>, Receiver<Entry>),
}

impl Default for Edges {
    fn default() -> Edges {
        let rows = (0..ROWS).map(|_| AtomicU64::new(0)).collect();
        let (syns, entries) = (bounded(SYNS_MAX), bounded(ENTRIES_MAX));
        Edges { rows, count: AtomicUsize::new(0), syns, entries }
    }
}

impl Edges {
    /// The edge of a flow, or that it has none. One thread only (`tun-read`).
    pub fn set(&self, hash: u64, edge: Option<u32>) {
        let row = &self.rows[hash as usize % ROWS];
        let value = edge.map_or(0, |edge| hash & HIGH | u64::from(edge));
        let before = row.swap(value, Ordering::Relaxed);
        match (before, value) {
            (0, 1..) => _ = self.count.fetch_add(1, Ordering::Relaxed),
            (1.., 0) => _ = self.count.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }

    /// The edge of the flow with that hash.
    pub fn of(&self, hash: u64) -> Option<u32> {
        let value = self.rows[hash as usize % ROWS].load(Ordering::Relaxed);
        (value != 0 && value & HIGH == hash & HIGH).then_some(value as u32)
    }

    /// Whether any flow has an edge.
    pub fn is_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// A SYN leaves for TUN. Full: forgotten, and queue management does without.
    pub fn put_syn(&self, now: Instant, hash: u64) {
        let _ = self.syns.0.try_send((now, hash));
    }

    /// The next SYN that left.
    pub fn take_syn(&self) -> Option<Syn> {
        self.syns.1.try_recv().ok()
    }
}

impl Edges {
    /// Data came in from TUN. Full: not told, and acknowledgements go by what was.
    pub fn put_entry(&self, entry: Entry) {
        let _ = self.entries.0.try_send(entry);
    }

    /// The oldest data that came in.
    pub fn take_entry(&self) -> Option<Entry> {
        self.entries.1.try_recv().ok()
    }
}

/// As many as `tunnel/steer.rs` knows.
const ROWS: usize = 4_096;
const HIGH: u64 = !0 << 32;
/// SYNs between two turns of `tun-read`.
const SYNS_MAX: usize = 256;
/// Data between two turns of the reorderer: at 4 kB each a tenth of a second at 300 Mbit/s.
const ENTRIES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_found_by_its_own_flow_alone() {
        let edges = Edges::default();
        let (hash, other) = (0x1234_5678_9abc_def0, 0x1234_5679_9abc_def0);
        edges.set(hash, Some(7));
        assert_eq!((edges.of(hash), edges.of(other)), (Some(7), None));
        assert!(edges.is_any());
        edges.set(other, None);
        assert_eq!(edges.of(hash), None, "the row has one owner");
        assert!(!edges.is_any());
    }
}
