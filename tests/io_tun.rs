//! Kernel TCP and UDP through two TUN devices in two networks of their own, in every offload mode.
//!
//! Needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN) and /dev/net/tun; else it says "skipped" and why.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gobonding::io::netlink::Netlink;
use gobonding::io::poll::{wait, Waker};
use gobonding::io::sys::enter_new_network;
use gobonding::io::tun::{Offload, ReadBuffer, Tun, WriteReport};
use gobonding::io::udp::{UdpOptions, UdpPort, Wait, RECV_BUFFER_BYTES};

#[test]
fn tcp_passes_whole_in_every_pair_of_modes() {
    for (near, far) in [
        (Offload::Probe, Offload::Probe),
        (Offload::Off, Offload::Off),
        (Offload::Probe, Offload::Off),
        (Offload::Off, Offload::Probe),
    ] {
        for addresses in [V4, V6] {
            let Some(cable) = Cable::lay(near, far, addresses) else { return };
            let far_ip = cable.far.ip;
            let server = cable.far.run(move || serve(far_ip));
            let client = cable.near.run(move || upload(far_ip));
            client.join().expect("the client's thread");
            assert_eq!(server.join().expect("the server's thread"), TCP_BYTES, "{near:?} to {far:?}");
            let moved = cable.cut();
            println!("{near:?} to {far:?}, {far_ip}: {moved:?}");
            assert_eq!((moved.dropped, moved.unmerged), (0, 0), "{:?}", moved.failure);
            assert_eq!(moved.merged > moved.written / 2, far == Offload::Probe, "{moved:?}");
        }
    }
}

#[test]
fn udp_trains_pass_as_their_datagrams() {
    for (near, far) in
        [(Offload::Probe, Offload::Probe), (Offload::Probe, Offload::Off), (Offload::Off, Offload::Probe)]
    {
        for addresses in [V4, V6] {
            let Some(cable) = Cable::lay(near, far, addresses) else { return };
            let (near_ip, far_ip) = (cable.near.ip, cable.far.ip);
            let bound = Arc::new(Barrier::new(2));
            let ready = Arc::clone(&bound);
            let receiver = cable.far.run(move || hear(far_ip, near_ip, &ready));
            let sender = cable.near.run(move || {
                let options = UdpOptions { local_ip: Some(near_ip), ..UdpOptions::default() };
                let port = UdpPort::connect(SocketAddr::new(far_ip, PORT), &options).expect("a socket");
                bound.wait();
                for _ in 0..TRAINS {
                    port.send_train(&pattern(0, TRAIN_BYTES), 1_200, None).expect("sent");
                }
                assert!(port.sends_trains());
                port.local_addr().expect("address").port()
            });
            sender.join().expect("the sender's thread");
            receiver.join().expect("the receiver's thread");
            let moved = cable.cut();
            println!("{near:?} to {far:?}, {far_ip}: {moved:?}");
            assert_eq!((moved.dropped, moved.unmerged), (0, 0), "{:?}", moved.failure);
        }
    }
}

#[test]
fn a_device_that_is_down_says_so() {
    let outcome = thread::spawn(|| {
        enter_new_network().map_err(|e| e.to_string())?;
        let tun = Tun::open("io-down", Offload::Probe).map_err(|e| e.to_string())?;
        let (mut buf, mut out) = (ReadBuffer::new(), Vec::new());
        assert_eq!(tun.read_batch(&mut buf, &mut out, 8).expect("empty"), 0);
        let packets = vec![gobonding::units::Packet::complete(&[0x45; 40]); 3];
        let report = tun.write_batch(&packets);
        assert_eq!((report.written, report.dropped), (0, 3));
        let failure = report.failure.expect("a reason").to_string();
        assert!(failure.contains("io-down") && failure.contains("down; "), "{failure}");
        let taken = Tun::open("io-down", Offload::Probe).expect_err("the name is taken").to_string();
        assert!(taken.contains("another program has that device"), "{taken}");
        Ok::<(), String>(())
    });
    if let Err(why) = outcome.join().expect("the test's thread") {
        eprintln!("skipped: {why}");
    }
}

/// Two networks, a TUN device in each, and threads that carry packets between them.
struct Cable {
    near: End,
    far: End,
    stop: Arc<Waker>,
    carriers: Vec<JoinHandle<WriteReport>>,
}

/// One network: whatever runs there runs on its thread's children.
struct End {
    ip: IpAddr,
    work: crossbeam_channel::Sender<Box<dyn FnOnce() + Send>>,
    tun: Arc<Tun>,
}

impl Cable {
    /// `None` when this host does not let us.
    fn lay(near: Offload, far: Offload, (near_ip, far_ip): (&str, &str)) -> Option<Cable> {
        let near = End::make(near, near_ip, far_ip)?;
        let far = End::make(far, far_ip, near_ip)?;
        let stop = Arc::new(Waker::new().expect("eventfd"));
        let carriers = [(&near, &far), (&far, &near)]
            .map(|(from, to)| {
                let (from, to, stop) = (Arc::clone(&from.tun), Arc::clone(&to.tun), Arc::clone(&stop));
                thread::spawn(move || carry(&from, &to, &stop))
            })
            .into();
        Some(Cable { near, far, stop, carriers })
    }

    /// Ends the carriers; what they wrote into the far device.
    fn cut(self) -> WriteReport {
        self.stop.wake();
        let mut reports = self.carriers.into_iter().map(|carrier| carrier.join().expect("a carrier"));
        reports.next().expect("the way to the far end")
    }
}

impl End {
    fn make(offload: Offload, ip: &str, peer: &str) -> Option<End> {
        let (ip, peer): (IpAddr, IpAddr) =
            (ip.parse().expect("an address"), peer.parse().expect("an address"));
        let (work, orders) = crossbeam_channel::bounded::<Box<dyn FnOnce() + Send>>(4);
        let (give, made) = crossbeam_channel::bounded(1);
        thread::spawn(move || {
            // Sent exactly once to a receiver that waits for it.
            let _ = give.send(End::device(offload, ip, peer));
            // Children of this thread inherit its network.
            orders.iter().for_each(|order| drop(thread::spawn(order)));
        });
        match made.recv().expect("the network's thread") {
            Ok(tun) => Some(End { ip, work, tun: Arc::new(tun) }),
            Err(why) => {
                eprintln!("skipped: {why}");
                None
            }
        }
    }

    fn device(offload: Offload, ip: IpAddr, peer: IpAddr) -> Result<Tun, String> {
        enter_new_network().map_err(|e| format!("no new network namespace: {e}"))?;
        let tun = Tun::open("io-test%d", offload).map_err(|e| e.to_string())?;
        assert_eq!(tun.name(), "io-test0");
        if offload == Offload::Off {
            assert!(!tun.offloads().tcp);
        }
        let netlink = Netlink::open().expect("netlink");
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        netlink.set_mtu(tun.name(), 1_440).expect("MTU");
        netlink.set_up(tun.name()).expect("up");
        netlink.add_address(tun.name(), ip, bits, None).expect("address");
        netlink.add_route(tun.name(), peer, bits, None).expect("route");
        assert!(netlink.has_route(tun.name(), peer).expect("asked"));
        await_local(ip);
        // Flows with congestion marks; where the switch is missing they have none.
        let _ = std::fs::write("/proc/sys/net/ipv4/tcp_ecn", "1");
        Ok(tun)
    }

    /// Runs `body` in this network.
    fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let (give, answer) = crossbeam_channel::bounded(1);
        // The receiver may have given up by then.
        let order = Box::new(move || drop(give.send(body())));
        self.work.send(order).expect("the network's thread");
        Answer(answer)
    }
}

/// What a body in another network will give.
struct Answer<T>(crossbeam_channel::Receiver<T>);

impl<T> Answer<T> {
    fn join(self) -> Result<T, crossbeam_channel::RecvTimeoutError> {
        self.0.recv_timeout(Duration::from_secs(60))
    }
}

/// The kernel takes an IPv6 address as its own only after a work of its own has run.
fn await_local(ip: IpAddr) {
    let IpAddr::V6(ip) = ip else { return };
    let host = ip.octets().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")) + " 80 ";
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let routes = std::fs::read_to_string("/proc/thread-self/net/ipv6_route").expect("IPv6");
        // The flags' highest bit says local.
        let is_local =
            |line: &str| line.split_whitespace().nth(8).is_some_and(|flags| flags.starts_with('8'));
        if routes.lines().any(|line| line.starts_with(&host) && is_local(line)) {
            return;
        }
        thread::yield_now();
    }
    panic!("{ip} did not become local");
}

fn carry(from: &Tun, to: &Tun, stop: &Waker) -> WriteReport {
    let (mut buf, mut packets, mut total) = (ReadBuffer::new(), Vec::new(), WriteReport::default());
    loop {
        let ready = wait(&[from.as_fd(), stop.as_fd()], None).expect("poll");
        if ready.has(1) {
            return total;
        }
        while from.read_batch(&mut buf, &mut packets, 64).expect("read") > 0 {
            let report = to.write_batch(&packets);
            total.written += report.written;
            total.merged += report.merged;
            total.dropped += report.dropped;
            total.unmerged += report.unmerged;
            total.failure = report.failure.or(total.failure);
            packets.clear();
        }
    }
}

fn serve(ip: IpAddr) -> usize {
    let listener = TcpListener::bind(SocketAddr::new(ip, PORT)).expect("listen");
    let (mut stream, _) = listener.accept().expect("accept");
    let mut got = 0;
    let mut buf = vec![0; 100_000];
    loop {
        let len = stream.read(&mut buf).expect("read");
        if len == 0 {
            return got;
        }
        assert!(buf[..len] == pattern(got, len), "bytes {got} to {} are damaged", got + len);
        got += len;
    }
}

fn upload(to: IpAddr) {
    let address = SocketAddr::new(to, PORT);
    // The listener may not be there yet; then the answer is a reset, at once.
    let connect =
        (0..10_000).find_map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(20)).ok());
    let mut stream = connect.expect("connected");
    let mut sent = 0;
    for len in [1, 700, 1_400, 2_801].into_iter().chain(std::iter::repeat(77_777)) {
        let len = len.min(TCP_BYTES - sent);
        if len == 0 {
            break;
        }
        stream.write_all(&pattern(sent, len)).expect("write");
        sent += len;
    }
}

fn hear(ip: IpAddr, peer: IpAddr, ready: &Barrier) {
    let options = UdpOptions { local_ip: Some(ip), port: PORT, ..UdpOptions::default() };
    let port = UdpPort::listen(&options).expect("a socket");
    ready.wait();
    let (mut buf, mut datagrams, mut bytes) = (vec![0; RECV_BUFFER_BYTES], 0, 0);
    while bytes < TRAINS * TRAIN_BYTES {
        let received = port.recv(&mut buf, Wait::AtMost(Duration::from_secs(20))).expect("no trouble");
        let received = received.unwrap_or_else(|| panic!("only {bytes} bytes in time"));
        assert_eq!((received.from.ip(), received.to), (peer, Some(ip)));
        for datagram in received.segments(&mut buf) {
            assert!(*datagram == pattern(bytes % TRAIN_BYTES, datagram.len()), "damaged at {bytes}");
            bytes += datagram.len();
            datagrams += 1;
        }
    }
    assert_eq!(datagrams, TRAINS * TRAIN_BYTES.div_ceil(1_200));
}

/// Bytes `from` to `from + len` of an endless text without short repeats.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

const V4: (&str, &str) = ("10.77.0.1", "10.77.0.2");
const V6: (&str, &str) = ("fd77::1", "fd77::2");
const PORT: u16 = 7_707;
const TCP_BYTES: usize = 8_000_003;
const TRAINS: usize = 10;
const TRAIN_BYTES: usize = 1_200 * 20 + 333;
