//! Strangers and replays: what they send is counted and has no effect.

use super::addresses::relay;
use crate::lab::bed::{Bed, PROXY4};
use crate::lab::emulator::scenario::Scenario;
use crate::lab::emulator::schedule::{MS, SECOND};
use crate::lab::emulator::sys;
use crate::lab::traffic::{probe, Load, Server, Stream};
use crate::lab::tunnel::{Setup, Side, Tunnel, PORT, TUN_PROXY4};
use crate::lab::wait_for;
use crate::{ensure, Outcome, Test};
use gobonding::monitor::snapshot::TunnelRow;
use std::net::UdpSocket;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test("replayed and forged datagrams are counted and ignored", replayed_and_forged),
        Test("a thousand random and truncated datagrams a second do not disturb a download", noise),
    ]
}

fn counted(row: &TunnelRow) -> (u64, u64) {
    row.channels.iter().fold((0, 0), |(r, f), c| (r + c.replayed, f + c.forged + c.malformed))
}

/// Packets that have come out of the tunnel, when that number stands still (rows are published every 100 ms).
fn settled(t: &Tunnel) -> Result<u64, String> {
    let mut last = None;
    wait_for("the proxy's counters stand still", Duration::from_secs(5), || {
        sys::sleep_until(sys::now() + 300 * MS);
        let is = t.row(Side::Proxy).ok()?.inbound.packets;
        (last.replace(is) == Some(is)).then_some(is)
    })
}

fn replayed_and_forged() -> Outcome {
    let bed = Bed::new(Scenario::of("replay", &[(20, 10)]))?;
    let (middle, setup) = relay(&bed)?;
    let mut t = Tunnel::up(&bed, &setup)?;
    let _server = Server::start(&bed.proxy)?;
    let p = probe(&bed.router, TUN_PROXY4, 100, Duration::from_millis(5), 300)?;
    ensure!(p.lost() == 0, "{} of 100 probes lost before anything was wrong; {}", p.lost(), t.story());
    let inside = settled(&t)?;
    // Types 1 and 2 carry packets (wire/header.rs); everything else, handshakes too, is replayed beside.
    let (data, others): (Vec<_>, Vec<_>) =
        middle.seen().into_iter().partition(|d| matches!(d[0] & 0x7f, 1 | 2));
    ensure!(data.len() >= 100, "only {} datagrams with packets seen on the path", data.len());
    for d in data.iter().chain(&others) {
        middle.inject(d);
    }
    let all = data.len() as u64;
    let row =
        t.wait_row(Side::Proxy, "replays are counted", Duration::from_secs(3), |row| counted(row).0 >= all)?;
    // The kernels themselves send a few packets (IPv6 neighbours).
    let more = settled(&t)? - inside;
    ensure!(more <= 5, "{more} packets more came out: {row:?}");
    for (i, d) in data.iter().enumerate() {
        // A number that has not come yet (bytes 4 to 7), or else it would count as replayed.
        let mut forged = d.clone();
        let number = u32::from_be_bytes([d[4], d[5], d[6], d[7]]).wrapping_add(1000);
        forged[4..8].copy_from_slice(&number.to_be_bytes());
        middle.inject(&forged);
        let at = i % forged.len();
        forged[at] ^= 1 << (i % 8);
        middle.inject(&forged);
        middle.inject(&d[..i % d.len()]);
    }
    t.wait_row(Side::Proxy, "forgeries are counted", Duration::from_secs(3), |row| counted(row).1 >= all)?;
    ensure!(settled(&t)? <= inside + 10, "a forged packet came out");
    let p = probe(&bed.router, TUN_PROXY4, 100, Duration::from_millis(5), 300)?;
    ensure!(p.lost() == 0 && p.twice == 0, "{} lost, {} twice afterwards; {}", p.lost(), p.twice, t.story());
    t.wait_channels(1, Duration::from_secs(1))?;
    Ok(())
}

fn noise() -> Outcome {
    let bed = Bed::new(Scenario::of("noise", &[(20, 10), (20, 20)]))?;
    let mut t = Tunnel::up(&bed, &Setup::of(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    let s = Stream::start(&bed.router, TUN_PROXY4, Load::Download, Duration::from_secs(5))?;
    sys::sleep_until(sys::now() + 2 * SECOND);
    let quiet = s.measure(Duration::from_secs(4));
    let noisy = std::thread::scope(|scope| {
        let noise = scope.spawn(|| make_noise(&bed, 5 * SECOND));
        let mbit = s.measure(Duration::from_secs(4));
        noise.join().unwrap_or_else(|_| Err("the noise panicked".to_string())).map(|sent| (mbit, sent))
    });
    let (mbit, sent) = noisy?;
    ensure!(sent >= 4_000, "only {sent} datagrams sent");
    ensure!(mbit >= 0.93 * quiet, "{mbit:.1} Mbit/s under noise, {quiet:.1} without; {}", t.story());
    ensure!(t.proxy.runs() && !s.is_broken(), "something broke; {}", t.story());
    let lines = t.proxy.said().lines().count();
    ensure!(lines < 60, "the proxy floods its log: {lines} lines; {}", t.story());
    t.wait_channels(2, Duration::from_secs(1))?;
    Ok(())
}

/// A thousand datagrams a second at the proxy's port: any bytes, any length, half of them with a type byte
/// that exists. From one address, as it is cheapest, with a new port every 100.
fn make_noise(bed: &Bed, time: u64) -> Result<u64, String> {
    bed.core.within(|| {
        let (mut x, mut sent, began) = (1u64, 0u64, sys::now());
        let mut socket = UdpSocket::bind("10.79.0.1:0").map_err(|e| e.to_string())?;
        while sys::now() < began + time {
            if sent % 100 == 0 {
                socket = UdpSocket::bind("10.79.0.1:0").map_err(|e| e.to_string())?;
            }
            let mut datagram = Vec::new();
            let length = (random(&mut x) % 1400) as usize >> (random(&mut x) % 8);
            while datagram.len() < length {
                datagram.extend_from_slice(&random(&mut x).to_be_bytes());
            }
            datagram.truncate(length);
            if let (Some(first), true) = (datagram.first_mut(), random(&mut x).is_multiple_of(2)) {
                *first &= 0x1f;
            }
            // A full queue is the noise's own problem.
            let _ = socket.send_to(&datagram, (PROXY4, PORT));
            sent += 1;
            sys::sleep_until(began + sent * MS);
        }
        Ok(sent)
    })?
}

/// Xorshift.
fn random(x: &mut u64) -> u64 {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    *x
}
