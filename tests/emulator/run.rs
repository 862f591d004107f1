//! The emulator at work: TUN devices in two namespaces for each link, one thread for each direction.
//!
//! 1. `Emulator::start` makes `emu0`, `emu1`, ... in each link's router-side and proxy-side namespace.
//! 2. A thread reads what the kernel routes into one end and gives it to the model with the time.
//! 3. When the model says that a packet has arrived, it is written to the other end.
//! 4. Every 100 ms a `Sample` of each direction can be taken (`Log`), for figures and live lines.

use super::model::{Counters, Direction, Profile};
use super::scenario::Scenario;
use super::schedule::{Ns, Schedule, MS};
use super::sys;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Longest time a thread goes without looking whether it shall stop.
const LOOK_UP: Ns = 50 * MS;
/// Largest packet.
const LARGEST: usize = 65_536;

/// Links at work until it is dropped.
pub struct Emulator {
    directions: Vec<Arc<Shared>>,
    time_zero: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Which way through a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Router to proxy.
    Up,
    /// Proxy to router.
    Down,
}

/// What one direction has done since the last reset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Bytes of IP packets that the link could have carried.
    pub offered: u64,
    pub counters: Counters,
}

struct Shared {
    profile: Profile,
    schedule: Schedule,
    counters: Mutex<(Ns, Counters)>,
    /// Loses everything while set, as an outage of the scenario would.
    cut: AtomicBool,
}

impl Emulator {
    /// Makes the links of `scenario` between the namespaces `places[i]` = (router side, proxy side).
    pub fn start(scenario: &Scenario, places: &[(String, String)]) -> io::Result<Emulator> {
        let time_zero = Arc::new(AtomicU64::new(sys::now()));
        let mut e = Emulator {
            directions: Vec::new(),
            time_zero,
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        for (i, (link, (near, far))) in scenario.links.iter().zip(places).enumerate() {
            let near = Arc::new(device(near, &format!("emu{i}"), link.mtu)?);
            let far = Arc::new(device(far, &format!("emu{i}"), link.mtu)?);
            e.spawn(format!("up-{i}"), &link.up, near.clone(), far.clone(), scenario.wake)?;
            e.spawn(format!("down-{i}"), &link.down, far, near, scenario.wake)?;
        }
        Ok(e)
    }

    /// Now is time zero: traces, steps, outages, random numbers and counters begin again. Gives now.
    ///
    /// Packets under way stay under way.
    pub fn reset(&self) -> Ns {
        let now = sys::now();
        self.time_zero.store(now, Ordering::SeqCst);
        now
    }

    /// Cuts one direction of a link or mends it, beside what the scenario says.
    pub fn set_cut(&self, link: usize, way: Way, cut: Cut) {
        self.directions[index(link, way)].cut.store(cut == Cut::Cut, Ordering::SeqCst);
    }

    /// What a direction has done up to `at`, nanoseconds since the last reset.
    pub fn sample(&self, link: usize, way: Way, at: Ns) -> Sample {
        let d = &self.directions[index(link, way)];
        let zero = self.time_zero.load(Ordering::SeqCst);
        let (of, counters) = *d.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = if of == zero { counters } else { Counters::default() };
        Sample { offered: d.schedule.offered(0, at), counters }
    }

    /// Nanoseconds since the last reset.
    pub fn elapsed(&self) -> Ns {
        sys::now().saturating_sub(self.time_zero.load(Ordering::SeqCst))
    }

    /// Number of links.
    pub fn links(&self) -> usize {
        self.directions.len() / 2
    }

    fn spawn(
        &mut self,
        name: String,
        p: &Profile,
        from: Arc<File>,
        to: Arc<File>,
        wake: Ns,
    ) -> io::Result<()> {
        let shared = Arc::new(Shared {
            profile: p.clone(),
            schedule: Schedule::new(p.capacity.clone(), p.outages.clone()),
            counters: Mutex::new((0, Counters::default())),
            cut: AtomicBool::new(false),
        });
        self.directions.push(shared.clone());
        let (zero, stop) = (self.time_zero.clone(), self.stop.clone());
        let body = move || carry(&shared, &from, &to, &zero, &stop, wake.max(1));
        self.threads.push(std::thread::Builder::new().name(name).spawn(body)?);
        Ok(())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for t in self.threads.drain(..) {
            // A thread that panicked has said so on standard error.
            let _ = t.join();
        }
    }
}

/// Whether a direction is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Cut,
    Whole,
}

fn index(link: usize, way: Way) -> usize {
    link * 2 + usize::from(way == Way::Down)
}

/// A TUN device in a namespace, up and with this MTU.
fn device(namespace: &str, name: &str, mtu: u32) -> io::Result<File> {
    let (ns, dev) = (namespace.to_string(), name.to_string());
    let made = std::thread::spawn(move || sys::enter_namespace(&ns).and_then(|()| sys::open_tun(&dev)));
    let file = made.join().map_err(|_| io::Error::other("making a TUN device panicked"))??;
    let mtu = mtu.to_string();
    let arguments = ["-n", namespace, "link", "set", name, "mtu", &mtu, "txqueuelen", "5000", "up"];
    match Command::new("ip").args(arguments).status()?.success() {
        true => Ok(file),
        false => Err(io::Error::other(format!("{name} in {namespace} cannot be set up"))),
    }
}

/// The loop of one direction.
fn carry(shared: &Shared, from: &File, to: &File, zero: &AtomicU64, stop: &AtomicBool, wake: Ns) {
    sys::hurry();
    let mut buffer = vec![0; LARGEST];
    // After a reset the packets of the model before still travel; the last model takes new ones.
    let mut models: Vec<(Ns, Direction<Vec<u8>>)> = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let epoch = zero.load(Ordering::SeqCst);
        if models.last().is_none_or(|m| m.0 != epoch) {
            models.push((epoch, Direction::new(shared.profile.clone())));
        }
        if let Some((_, model)) = models.last_mut() {
            take_in(from, model, epoch, &mut buffer, shared.cut.load(Ordering::SeqCst));
        }
        let now = sys::now();
        for (epoch, model) in &mut models {
            while let Some(packet) = model.pop(now.saturating_sub(*epoch)) {
                // A full or closed far end loses the packet, as a real one would.
                let _ = (&*to).write(&packet);
            }
        }
        let newest = models.len() - 1;
        let mut i = 0;
        models.retain(|m| {
            i += 1;
            i > newest || m.1.next_event().is_some()
        });
        if let Some((epoch, model)) = models.last() {
            *shared.counters.lock().unwrap_or_else(PoisonError::into_inner) = (*epoch, model.counters());
        }
        let next = models.iter().filter_map(|(epoch, m)| m.next_event().map(|t| epoch + t)).min();
        match next {
            // What waits is looked at once per `wake`: fewer and larger batches under load.
            Some(t) if t <= now + wake => sys::sleep_until(now + wake),
            Some(t) => {
                sys::wait_readable(from.as_raw_fd(), t.div_ceil(wake).saturating_mul(wake).min(now + LOOK_UP))
            }
            None => sys::wait_readable(from.as_raw_fd(), now + LOOK_UP),
        }
    }
}

/// Gives the model all that waits at the near end.
fn take_in(mut from: &File, model: &mut Direction<Vec<u8>>, epoch: Ns, buffer: &mut [u8], cut: bool) {
    loop {
        match from.read(buffer) {
            Ok(n) if !cut => model.push(sys::now().saturating_sub(epoch), n, buffer[..n].to_vec()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Turns samples into the differences of each interval, as lines of JSON.
///
/// `{"t": 0.1, "link": 0, "way": "up", "offered": .., "delivered": .., "packets": .., "arrived": ..,
/// "drop_queue": .., "drop_loss": .., "drop_outage": .., "queue_bytes": .., "qdelay_ms": ..}`; `t` is the
/// interval's end in seconds, bytes are of IP packets, `qdelay_ms` is the mean of waiting and serving.
pub struct Log {
    interval: Ns,
    last: Vec<Sample>,
    ticks: u64,
}

impl Log {
    /// A log with one line for each direction and `interval`.
    pub fn new(interval: Ns) -> Log {
        Log { interval, last: Vec::new(), ticks: 0 }
    }

    /// When the next lines are due, nanoseconds since the last reset.
    pub fn due(&self) -> Ns {
        (self.ticks + 1) * self.interval
    }

    /// The lines of the interval that has just ended.
    pub fn lines(&mut self, e: &Emulator) -> String {
        self.ticks += 1;
        self.last.resize(e.links() * 2, Sample::default());
        let at = self.ticks * self.interval;
        let mut out = String::new();
        for link in 0..e.links() {
            for way in [Way::Up, Way::Down] {
                let s = e.sample(link, way, at);
                let was = std::mem::replace(&mut self.last[index(link, way)], s);
                out += &line(at, link, way, &was, &s);
            }
        }
        out
    }
}

fn line(at: Ns, link: usize, way: Way, was: &Sample, is: &Sample) -> String {
    let (a, b) = (&was.counters, &is.counters);
    let served = b.served.saturating_sub(a.served);
    let time = b.queue_time.saturating_sub(a.queue_time);
    let v = serde_json::json!({
        "t": at as f64 / 1e9,
        "link": link,
        "way": if way == Way::Up { "up" } else { "down" },
        "offered": is.offered - was.offered,
        "delivered": b.delivered.saturating_sub(a.delivered),
        "packets": b.packets.saturating_sub(a.packets),
        "arrived": b.arrived.saturating_sub(a.arrived),
        "drop_queue": b.drop_queue.saturating_sub(a.drop_queue),
        "drop_loss": b.drop_loss.saturating_sub(a.drop_loss),
        "drop_outage": b.drop_outage.saturating_sub(a.drop_outage),
        "queue_bytes": b.queue_bytes,
        "qdelay_ms": time.checked_div(served).unwrap_or(0) as f64 / 1e6,
    });
    format!("{v}\n")
}
