//! Glue. Floor 6: threads that wait, take the time, call one method of the core and do what it returned.
//!
//! | thread | file | owns |
//! |---|---|---|
//! | `tun-read` | `tun_read.rs` | the sessions' `Outbound` |
//! | `send-<link>` | `send.rs` | `Sending`, `Sealer`, which short runs and feedback reach without it |
//! | `recv-<link>` | `recv.rs` | `Opener`, `Receiving` |
//! | `reorder` | `reorder.rs` | the sessions' `Inbound`, which short runs reach through `desk.rs` |
//! | `control` | `control_router.rs`, `control_proxy.rs` | the session machine, `channel.rs` for the channels' threads |
//! | `listen` | `listen.rs` | the proxy's listening socket |
//! | `resolve` | `resolve.rs` | one name, then it ends |
//! | `monitor` | `monitor.rs` | monitor file, status socket |
//!
//! They reach each other through bounded queues (`queues.rs`) and share the stats table (`stats.rs`), the
//! edges of TCP connections (`edges.rs`) and the senders' and the reorderer's desks alone.

pub mod bell;
pub mod channel;
pub mod clock;
pub mod control_proxy;
pub mod control_router;
pub mod desk;
pub mod device;
pub mod edges;
pub mod listen;
pub mod moderation;
pub mod monitor;
pub mod queues;
pub mod rarely;
pub mod recv;
pub mod reorder;
pub mod resolve;
pub mod send;
pub mod stats;
pub mod stop;
pub mod tun_read;

use desk::ReorderQueue;
use queues::{ControlQueue, TunReadQueue};
use stats::Stats;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;
use stop::Stop;

/// What every thread of the process may need; cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    pub stats: Arc<Stats>,
    pub stop: Stop,
    pub tun_read: TunReadQueue,
    pub reorder: ReorderQueue,
    pub control: ControlQueue,
    /// Where this process's ticks begin.
    pub epoch: Instant,
    /// Random, for the flow queues.
    pub hash_key: [u64; 2],
}

/// Starts a named thread.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.replace('\0', "")).spawn(body)
}

/// Makes a panic in any thread end the process with a message and code 1: a daemon with a dead thread is worse.
pub fn die_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::exit(1);
    }));
}
