//! Somebody on the path: passes datagrams on as a NAT does, and can record, replay, forge and move.
//!
//! 1. The router sends to `Middle` as if it were the proxy.
//! 2. Each source gets an outbound socket of its own; what comes back to it goes back to the source.
//! 3. `rebind` gives all of them new ports, as a carrier's NAT does when it forgets.
//! 4. `inject` sends any bytes to the proxy from the router's place.

use super::space::Space;
use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Datagrams that are remembered.
const REMEMBERED: usize = 4096;
const LOOK_UP: Duration = Duration::from_millis(50);

/// A datagram relay; ends when dropped.
pub struct Middle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    listen: UdpSocket,
    target: SocketAddr,
    any: SocketAddr,
    space: String,
    stop: AtomicBool,
    passed: AtomicU64,
    ways: Mutex<BTreeMap<SocketAddr, Arc<Way>>>,
    seen: Mutex<VecDeque<Vec<u8>>>,
}

struct Way {
    out: UdpSocket,
    closed: AtomicBool,
}

impl Middle {
    /// Listens on `listen` in `space` and passes on to `target`.
    pub fn start(space: &Space, listen: SocketAddr, target: SocketAddr) -> Result<Middle, String> {
        let fault = |e: std::io::Error| format!("relay on {listen}: {e}");
        let socket = space.within(|| UdpSocket::bind(listen))?.map_err(fault)?;
        socket.set_read_timeout(Some(LOOK_UP)).map_err(fault)?;
        let shared = Arc::new(Shared {
            listen: socket,
            target,
            any: SocketAddr::new(listen.ip(), 0),
            space: space.name.clone(),
            stop: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            ways: Mutex::default(),
            seen: Mutex::default(),
        });
        let s = shared.clone();
        Ok(Middle { shared, thread: Some(std::thread::spawn(move || forward(&s))) })
    }

    /// From now on the router's datagrams come from other ports.
    pub fn rebind(&self) {
        for way in std::mem::take(&mut *lock(&self.shared.ways)).into_values() {
            way.closed.store(true, Ordering::SeqCst);
        }
    }

    /// The router's datagrams, the newest last.
    pub fn seen(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.seen).iter().cloned().collect()
    }

    /// Sends `datagram` to the proxy from every place that the router is seen at.
    pub fn inject(&self, datagram: &[u8]) {
        for way in lock(&self.shared.ways).values() {
            // A refusal (the proxy is away) is part of what is tried.
            let _ = way.out.send(datagram);
        }
    }

    /// Datagrams passed on in both directions.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

impl Drop for Middle {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.rebind();
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}

fn forward(shared: &Arc<Shared>) {
    if super::emulator::sys::enter_namespace(&shared.space).is_err() {
        return;
    }
    let mut buffer = [0; 65_536];
    while !shared.stop.load(Ordering::SeqCst) {
        let Ok((n, from)) = shared.listen.recv_from(&mut buffer) else { continue };
        let Some(way) = way(shared, from) else { continue };
        let mut seen = lock(&shared.seen);
        if seen.len() == REMEMBERED {
            seen.pop_front();
        }
        seen.push_back(buffer[..n].to_vec());
        drop(seen);
        shared.passed.fetch_add(1, Ordering::SeqCst);
        let _ = way.out.send(&buffer[..n]);
    }
}

/// The outbound socket of a source; a new one has a thread for what comes back.
fn way(shared: &Arc<Shared>, from: SocketAddr) -> Option<Arc<Way>> {
    let mut ways = lock(&shared.ways);
    if let Some(way) = ways.get(&from) {
        return Some(way.clone());
    }
    let out = UdpSocket::bind(shared.any).ok()?;
    out.connect(shared.target).ok()?;
    out.set_read_timeout(Some(LOOK_UP)).ok()?;
    let way = Arc::new(Way { out, closed: AtomicBool::new(false) });
    ways.insert(from, way.clone());
    let (s, w) = (shared.clone(), way.clone());
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while !w.closed.load(Ordering::SeqCst) {
            if let Ok(n) = w.out.recv(&mut buffer) {
                s.passed.fetch_add(1, Ordering::SeqCst);
                let _ = s.listen.send_to(&buffer[..n], from);
            }
        }
    });
    Some(way)
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}
