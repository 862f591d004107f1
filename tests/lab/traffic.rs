//! Traffic of our own: TCP streams that are counted, UDP probes, UDP floods.
//!
//! 1. A `Server` in one namespace answers whatever a client asks with its first bytes.
//! 2. `Stream` is a TCP connection that moves bytes one way and counts what arrives.
//! 3. `probe` sends numbered datagrams there and back and says what became of them.
//! 4. `flood` sends datagrams one way as fast as asked, and says what arrived when.

use super::emulator::sys;
use super::space::Space;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Port of the server, TCP and UDP.
pub const PORT: u16 = 5301;

/// Longest time a thread waits before it looks whether it shall end.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Which way a stream's bytes go; the client opens the connection in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Server to client.
    Download,
    /// Client to server.
    Upload,
}

/// Serves streams on TCP and sends UDP probes back, until it is dropped.
pub struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts it in `space`, on all addresses.
    pub fn start(space: &Space) -> Result<Server, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PORT);
        let sockets = space.within(|| -> std::io::Result<_> {
            let udp = UdpSocket::bind(any)?;
            udp.set_read_timeout(Some(LOOK_UP))?;
            let tcp = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
            tcp.set_reuse_address(true)?;
            tcp.bind(&any.into())?;
            tcp.listen(128)?;
            tcp.set_nonblocking(true)?;
            Ok((TcpListener::from(tcp), udp))
        })?;
        let (tcp, udp) = sockets.map_err(|e| format!("traffic server: {e}"))?;
        let (s1, s2) = (stop.clone(), stop.clone());
        let threads =
            vec![std::thread::spawn(move || accept(&tcp, &s1)), std::thread::spawn(move || echo(&udp, &s2))];
        Ok(Server { stop, threads })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for t in self.threads.drain(..) {
            // A thread that panicked has said so on standard error.
            let _ = t.join();
        }
    }
}

fn accept(tcp: &TcpListener, stop: &Arc<AtomicBool>) {
    let mut served = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        match tcp.accept() {
            Ok((stream, _)) => {
                let stop = stop.clone();
                served.push(std::thread::spawn(move || serve(stream, &stop)));
            }
            Err(_) => sys::sleep_until(sys::now() + 2_000_000),
        }
    }
    for t in served {
        let _ = t.join();
    }
}

/// One connection: the first byte says what the client wants, `d`, `u`, or `o` and a size in 8 bytes.
fn serve(mut stream: TcpStream, stop: &AtomicBool) {
    let mut wish = [0];
    let timeouts = stream.set_read_timeout(Some(LOOK_UP)).and(stream.set_write_timeout(Some(LOOK_UP)));
    if stream.set_nonblocking(false).and(timeouts).is_err() {
        return;
    }
    while !stop.load(Ordering::SeqCst) {
        match stream.read(&mut wish) {
            Ok(1) => break,
            Err(e) if waits(&e) => {}
            _ => return,
        }
    }
    let _ = match wish[0] {
        b'd' => pour(&mut stream, u64::MAX, stop),
        b'u' => pump(&mut stream, stop, &AtomicU64::new(0), b'a'),
        b'o' => {
            let mut size = [0; 8];
            stream.read_exact(&mut size).and_then(|()| pour(&mut stream, u64::from_be_bytes(size), stop))
        }
        _ => Ok(()),
    };
}

/// Writes `left` bytes of a pattern.
fn pour(stream: &mut TcpStream, mut left: u64, stop: &AtomicBool) -> std::io::Result<()> {
    let block: Vec<u8> = (0..131_072u32).map(|i| (i % 251) as u8).collect();
    while left > 0 && !stop.load(Ordering::SeqCst) {
        match stream.write(&block[..block.len().min(left.min(usize::MAX as u64) as usize)]) {
            Ok(n) => left -= n as u64,
            Err(e) if waits(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads until the far end closes or `stop`, counting; an upload's reader says `note` at every read that got data.
fn pump(stream: &mut TcpStream, stop: &AtomicBool, count: &AtomicU64, note: u8) -> std::io::Result<()> {
    let mut block = vec![0; 262_144];
    let mut total = 0u64;
    while !stop.load(Ordering::SeqCst) {
        match stream.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                total += n as u64;
                count.fetch_add(n as u64, Ordering::SeqCst);
                if note == b'a' {
                    stream.write_all(&total.to_be_bytes())?;
                }
            }
            Err(e) if waits(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn waits(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn echo(udp: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::SeqCst) {
        if let Ok((n, from)) = udp.recv_from(&mut buffer) {
            // A lost answer is what the prober is there to count.
            let _ = udp.send_to(&buffer[..n], from);
        }
    }
}

/// One TCP connection under load, until it is dropped.
pub struct Stream {
    arrived: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Stream {
    /// Connects from `space` to the server at `to` (an address) within `limit` and begins.
    pub fn start(space: &Space, to: &str, load: Load, limit: Duration) -> Result<Stream, String> {
        let address: IpAddr = to.parse().map_err(|e| format!("{to}: {e}"))?;
        let to = SocketAddr::new(address, PORT);
        let connect = || TcpStream::connect_timeout(&to, limit);
        let mut stream = space.within(connect)?.map_err(|e| format!("connecting to {to}: {e}"))?;
        let fault = |e: std::io::Error| format!("{to}: {e}");
        stream.set_read_timeout(Some(LOOK_UP)).map_err(fault)?;
        stream.set_write_timeout(Some(LOOK_UP)).map_err(fault)?;
        let mut s = Stream {
            arrived: Arc::default(),
            broken: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        stream.write_all(if load == Load::Download { b"d" } else { b"u" }).map_err(fault)?;
        if load == Load::Upload {
            let (mut up, stop, broken) =
                (stream.try_clone().map_err(fault)?, s.stop.clone(), s.broken.clone());
            s.threads.push(std::thread::spawn(move || {
                if pour(&mut up, u64::MAX, &stop).is_err() {
                    broken.store(true, Ordering::SeqCst);
                }
            }));
        }
        let (arrived, stop, broken) = (s.arrived.clone(), s.stop.clone(), s.broken.clone());
        s.threads.push(std::thread::spawn(move || {
            let ended = match load {
                Load::Download => pump(&mut stream, &stop, &arrived, 0),
                Load::Upload => totals(&mut stream, &stop, &arrived),
            };
            if ended.is_err() || !stop.load(Ordering::SeqCst) {
                broken.store(true, Ordering::SeqCst);
            }
        }));
        Ok(s)
    }

    /// Bytes of payload that have arrived at the reading end.
    pub fn bytes(&self) -> u64 {
        self.arrived.load(Ordering::SeqCst)
    }

    /// Whether the connection has ended by itself.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Lets it run and gives its goodput over that time, Mbit/s of payload.
    pub fn measure(&self, time: Duration) -> f64 {
        let (began, bytes) = (Instant::now(), self.bytes());
        sys::sleep_until(sys::now() + time.as_nanos() as u64);
        (self.bytes() - bytes) as f64 * 8.0 / 1e6 / began.elapsed().as_secs_f64()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for t in self.threads.drain(..) {
            let _ = t.join();
        }
    }
}

/// Follows the totals that an upload's reader reports.
fn totals(stream: &mut TcpStream, stop: &AtomicBool, arrived: &AtomicU64) -> std::io::Result<()> {
    let (mut total, mut got) = ([0; 8], 0);
    while !stop.load(Ordering::SeqCst) {
        match stream.read(&mut total[got..]) {
            Ok(0) => return Ok(()),
            Ok(n) => got += n,
            Err(e) if waits(&e) => {}
            Err(e) => return Err(e),
        }
        if got == total.len() {
            arrived.store(u64::from_be_bytes(total), Ordering::SeqCst);
            got = 0;
        }
    }
    Ok(())
}

/// What became of UDP probes.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    pub sent: u32,
    /// Round trip times in microseconds, in the order of sending; lost ones are missing.
    pub rtt_us: Vec<u64>,
    /// Longest time between two answers, milliseconds.
    pub longest_gap_ms: u64,
    /// Answers that came twice.
    pub twice: u32,
}

impl Probes {
    /// How many were not answered.
    pub fn lost(&self) -> u32 {
        self.sent - self.rtt_us.len() as u32
    }

    /// This part (of 1) of the round trip times is not longer, microseconds.
    pub fn quantile_us(&self, part: f64) -> u64 {
        let mut all = self.rtt_us.clone();
        all.sort_unstable();
        let last = all.len().saturating_sub(1);
        all.get((last as f64 * part).round() as usize).copied().unwrap_or(u64::MAX)
    }
}

/// Sends `count` datagrams of `size` bytes, one every `gap`, and waits a second for the last answers.
pub fn probe(space: &Space, to: &str, count: u32, gap: Duration, size: usize) -> Result<Probes, String> {
    let address: IpAddr = to.parse().map_err(|e| format!("{to}: {e}"))?;
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket =
        space.within(|| UdpSocket::bind((any, 0)).and_then(|s| s.connect((address, PORT)).map(|()| s)))?;
    let socket = socket.map_err(|e| format!("probe to {to}: {e}"))?;
    socket.set_read_timeout(Some(Duration::from_millis(1))).map_err(|e| e.to_string())?;
    let mut times: Vec<Option<u64>> = vec![None; count as usize];
    let (mut p, mut buffer) = (Probes { sent: count, ..Probes::default() }, vec![0; size.max(12)]);
    let began = sys::now();
    let mut last_answer = began;
    let end = began + gap.as_nanos() as u64 * u64::from(count) + 1_000_000_000;
    let mut next = 0;
    while sys::now() < end && (next < count || times.iter().any(Option::is_none)) {
        if next < count && sys::now() >= began + gap.as_nanos() as u64 * u64::from(next) {
            buffer[..4].copy_from_slice(&next.to_be_bytes());
            buffer[4..12].copy_from_slice(&sys::now().to_be_bytes());
            // A refused send counts as a lost probe.
            let _ = socket.send(&buffer);
            next += 1;
        }
        let mut answer = [0; 2048];
        let Ok(n @ 12..) = socket.recv(&mut answer) else { continue };
        let number = u32::from_be_bytes([answer[0], answer[1], answer[2], answer[3]]) as usize;
        let mut sent = [0; 8];
        sent.copy_from_slice(&answer[4..12]);
        let now = sys::now();
        p.longest_gap_ms = p.longest_gap_ms.max((now - last_answer) / 1_000_000);
        last_answer = now;
        match times.get_mut(number) {
            Some(slot @ None) if n == buffer.len() => *slot = Some((now - u64::from_be_bytes(sent)) / 1000),
            _ => p.twice += 1,
        }
    }
    p.rtt_us = times.into_iter().flatten().collect();
    Ok(p)
}

/// Pings an IPv4 address once a `gap`, `count` times; gives how many answers came within a second of the last.
pub fn ping(space: &Space, to: &str, count: u16, gap: Duration) -> Result<u16, String> {
    let address: std::net::Ipv4Addr = to.parse().map_err(|e| format!("{to}: {e}"))?;
    let target = SocketAddr::new(address.into(), 0);
    let socket = space.within(|| {
        let s = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        s.set_read_timeout(Some(Duration::from_millis(1)))?;
        s.connect(&target.into())?;
        Ok::<Socket, std::io::Error>(s)
    })?;
    let mut socket = socket.map_err(|e| format!("ping to {to}: {e}"))?;
    let (mut answers, mut sent, mut buffer) = (0, 0, [0; 256]);
    let began = sys::now();
    let end = began + gap.as_nanos() as u64 * u64::from(count) + 1_000_000_000;
    while sys::now() < end && answers < count {
        if sent < count && sys::now() >= began + gap.as_nanos() as u64 * u64::from(sent) {
            // Echo request, code 0, checksum, identifier 77, number; the sum of all words must be 0xffff.
            let sum = 0x0800 + 77 + u32::from(sent);
            let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
            let words = [0x0800, sum, 77, sent];
            let request: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
            // A refused send counts as a lost ping.
            let _ = socket.write(&request);
            sent += 1;
        }
        // An IPv4 header of 20 bytes, then the echo reply: type 0, code 0.
        if let Ok(28..) = socket.read(&mut buffer) {
            answers += u16::from(buffer[20..22] == [0, 0] && buffer[24..26] == [0, 77]);
        }
    }
    Ok(answers)
}

/// Sends datagrams of `size` bytes of payload at `mbit` (of IP packets over IPv4) for `time` from one namespace
/// to another. Gives the moment of arrival (CLOCK_MONOTONIC nanoseconds) of each that came.
pub fn flood(
    from: &Space,
    source: SocketAddr,
    to: &Space,
    target: SocketAddr,
    size: usize,
    mbit: f64,
    time: Duration,
) -> Result<Vec<u64>, String> {
    let receiver = to.within(|| {
        let s = Socket::new(Domain::for_address(target), Type::DGRAM, None)?;
        s.set_recv_buffer_size(8 << 20)?;
        s.bind(&target.into())?;
        s.set_read_timeout(Some(Duration::from_millis(300)))?;
        Ok::<UdpSocket, std::io::Error>(s.into())
    })?;
    let receiver = receiver.map_err(|e| format!("flood to {target}: {e}"))?;
    let sender = from.within(|| UdpSocket::bind(source).and_then(|s| s.connect(target).map(|()| s)))?;
    let sender = sender.map_err(|e| format!("flood from {source}: {e}"))?;
    let end = sys::now() + time.as_nanos() as u64;
    let counter = std::thread::spawn(move || {
        let (mut seen, mut buffer) = (Vec::new(), [0; 65_536]);
        loop {
            match receiver.recv(&mut buffer) {
                Ok(_) => seen.push(sys::now()),
                Err(_) if sys::now() > end => return seen,
                Err(_) => {}
            }
        }
    });
    let gap = ((size + 28) as f64 * 8000.0 / mbit) as u64;
    let (payload, began) = (vec![7; size], sys::now());
    let mut sent = 0u64;
    while sys::now() < end {
        while began + sent * gap <= sys::now() {
            // A full queue of the sending kernel is part of the flood.
            let _ = sender.send(&payload);
            sent += 1;
        }
        sys::sleep_until((began + sent * gap).max(sys::now() + 200_000));
    }
    counter.join().map_err(|_| "the flood's receiver panicked".to_string())
}
