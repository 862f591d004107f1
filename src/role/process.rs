//! What both roles have: the TUN device, the queues, the threads that serve all sessions, the signals.
//!
//! 1. open TUN and give it its MTU and addresses,
//! 2. make the queues,
//! 3. start `reorder`, `tun-read` and `monitor`,
//! 4. run `control` in the thread that called,
//! 5. when it ends, end the others.

use crate::config::settings::{MonitorConfig, TunConfig};
use crate::io::poll::Waker;
use crate::io::tun::{Offload, Tun};
use crate::io::IoFailure;
use crate::monitor::socket::StatusSocket;
use crate::threads::bell::bell_queue;
use crate::threads::desk::ReorderQueue;
use crate::threads::device::{mtu_at_start, Device};
use crate::threads::monitor::{Monitor, Source};
use crate::threads::queues::{ToControl, WokenQueue, CONTROL_MAX, REORDER_MAX, TUN_READ_MAX};
use crate::threads::reorder::Reorder;
use crate::threads::stats::Stats;
use crate::threads::stop::Stop;
use crate::threads::tun_read::TunRead;
use crate::threads::{clock, die_on_panic, spawn, Hub};
use crate::tunnel::outbound::Balancer;
use crossbeam_channel::Receiver;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A process with everything but its `control`.
pub struct Process {
    pub hub: Hub,
    pub device: Device,
    /// For `control`.
    pub inbox: Receiver<ToControl>,
    /// For `control`.
    pub waker: Arc<Waker>,
    /// For `finish`.
    pub threads: Vec<JoinHandle<()>>,
}

/// What the settings of both roles have in common.
pub struct Common<'c> {
    pub role: &'static str,
    /// Random, for the flow queues.
    pub hash_key: [u64; 2],
    pub tun: &'c TunConfig,
    pub offload: Offload,
    pub monitor: &'c MonitorConfig,
    pub balancer: Balancer,
    /// Names of the peers, in the order of the stats table.
    pub peers: Vec<String>,
}

impl Process {
    /// Opens the device and starts the threads; from here on SIGINT and SIGTERM end the process in order.
    pub fn start(common: &Common<'_>) -> Result<Process, IoFailure> {
        die_on_panic();
        let epoch = clock::now();
        let tun = Arc::new(Tun::open(&common.tun.name, common.offload)?);
        let status = listen_for_status(common.monitor);
        log::info!("{} open, {:?}", tun.name(), tun.offloads());
        let stats = Arc::new(Stats::new(mtu_at_start(common.tun)));
        common.peers.iter().for_each(|name| stats.add(epoch, name));
        let device = Device::set_up(tun.name(), common.tun, stats.clone())?;
        let (tun_waker, waker) = (Arc::new(Waker::new()?), Arc::new(Waker::new()?));
        let (tun_read, tun_inbox) = WokenQueue::new(tun_waker.clone(), TUN_READ_MAX);
        let (control, inbox) = WokenQueue::new(waker.clone(), CONTROL_MAX);
        let reorder = ReorderQueue::new(bell_queue(REORDER_MAX), tun.clone(), stats.clone());
        let desk = reorder.desk();
        let stop = Stop::default();
        let hub = Hub {
            stats: stats.clone(),
            stop: stop.clone(),
            tun_read,
            reorder,
            control,
            epoch,
            hash_key: common.hash_key,
        };
        on_signal(&hub)?;
        let source = Source {
            stats: stats.clone(),
            role: common.role,
            tun: tun.name().to_owned(),
            balancer: format!("{:?}", common.balancer).to_lowercase(),
            started: epoch,
        };
        let monitor = Monitor {
            source,
            file: common.monitor.file.clone(),
            tick: common.monitor.tick,
            socket: status,
            stop: stop.clone(),
        };
        let reorder = Reorder { desk, stop: stop.clone() };
        let tun_read = TunRead { inbox: tun_inbox, waker: tun_waker, tun, stats, stop };
        let threads = [
            spawn("reorder", move || reorder.run()),
            spawn("tun-read", move || tun_read.run()),
            spawn("monitor", move || monitor.run()),
        ];
        let threads = threads.into_iter().collect::<io::Result<Vec<_>>>().map_err(no_thread)?;
        Ok(Process { hub, device, inbox, waker, threads })
    }
}

/// Ends the threads that serve all sessions and waits for them; the error is why it had to end.
pub fn finish(hub: &Hub, threads: Vec<JoinHandle<()>>) -> Result<(), IoFailure> {
    hub.stop.set();
    hub.tun_read.wake();
    for thread in threads {
        if thread.join().is_err() {
            log::error!("a thread has panicked");
        }
    }
    hub.stop.failure().map_or(Ok(()), Err)
}

/// The status socket; traffic does not depend on it, so its failure is a warning.
fn listen_for_status(monitor: &MonitorConfig) -> Option<StatusSocket> {
    match StatusSocket::listen(monitor.socket.as_deref()?) {
        Ok(socket) => Some(socket),
        Err(failure) => {
            log::warn!("{failure}");
            None
        }
    }
}

fn on_signal(hub: &Hub) -> Result<(), IoFailure> {
    let hub = hub.clone();
    let handler = move || {
        hub.stop.set();
        hub.control.wake();
        hub.tun_read.wake();
    };
    ctrlc::set_handler(handler).map_err(|e| IoFailure::new("cannot wait for signals", io::Error::other(e)))
}

fn no_thread(e: io::Error) -> IoFailure {
    IoFailure::new("cannot start a thread", e).with_remedy("raise the limit of tasks (ulimit -u, TasksMax)")
}
