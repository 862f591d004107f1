//! Two emulated links, a tunnel across both, one TCP download: does it get the sum?

use crate::lab::bed::Bed;
use crate::lab::emulator::model::Profile;
use crate::lab::emulator::run::Way;
use crate::lab::emulator::scenario::Scenario;
use crate::lab::emulator::schedule::{MS, SECOND};
use crate::lab::emulator::sys;
use crate::lab::traffic::{Load, Server, Stream};
use crate::lab::tunnel::{Setup, Side, Tunnel, TUN_PROXY4};
use std::path::Path;
use std::time::{Duration, Instant};

/// Rate (Mbit/s) and one-way delay (ms) of the demo's links.
const LINKS: [(u64, u64); 2] = [(30, 15), (12, 40)];
/// Seconds that TCP may take to get going; they are shown, and not in the last line's figure.
const START: u64 = 3;

/// Runs the demo for `seconds`; an error if the one flow got no more than the faster link has.
pub fn run(seconds: u64) -> Result<(), String> {
    let steady = watch(Scenario::of("demo", &LINKS), seconds)?;
    let sum: u64 = LINKS.iter().map(|l| l.0).sum();
    let fastest = LINKS.iter().map(|l| l.0).max().unwrap_or(0) as f64;
    let rates: Vec<String> = LINKS.iter().map(|l| l.0.to_string()).collect();
    println!(
        "\nLinks: {} = {sum} Mbit/s with all headers (1500-byte packets of TCP alone: {:.1} of it is data,",
        rates.join(" + "),
        sum as f64 * 1448.0 / 1500.0
    );
    println!(
        "inside the tunnel, where six bytes of its headers are left, {:.1}). Counted from second {START} on, when TCP has got going.",
        sum as f64 * 1388.0 / 1454.0
    );
    println!("One TCP connection got {steady:.1} of {sum} Mbit/s: {:.0} %", steady * 100.0 / sum as f64);
    match steady > fastest {
        true => Ok(()),
        false => Err(format!("one connection got no more than the faster link ({fastest} Mbit/s) has: is this machine too busy?")),
    }
}

/// The same over links of the user's own.
pub fn own(links: &str, seconds: u64) -> Result<(), String> {
    let pair = |l: &str| l.split_once('/').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let pairs: Option<Vec<(u64, u64)>> = links.split(',').map(pair).collect();
    let scenario = match pairs {
        Some(pairs) => Scenario::of("own", &pairs),
        None => Scenario::read(Path::new(links))?,
    };
    let sum: u64 = scenario.links.iter().map(|l| l.down.capacity.mean_bits_per_s()).sum();
    let sum = sum as f64 / 1e6;
    let steady = watch(scenario, seconds)?;
    println!(
        "One TCP connection got {steady:.1} of {sum:.1} Mbit/s in the mean: {:.0} %",
        steady * 100.0 / sum
    );
    Ok(())
}

/// Lays out a tunnel over the scenario's links and downloads for `seconds`, with a line for each; gives the
/// goodput after the start, Mbit/s.
pub fn watch(scenario: Scenario, seconds: u64) -> Result<f64, String> {
    let count = scenario.links.len();
    println!("Laying out a router with {count} links, and a proxy, in network namespaces of their own.");
    let bed = Bed::new(scenario)?;
    for (i, link) in bed.scenario.links.iter().enumerate() {
        let mbit = |p: &Profile| format!("{:.1} Mbit/s", p.capacity.mean_bits_per_s() as f64 / 1e6);
        let ms = (link.up.delay + link.down.delay) / MS;
        println!("  link {i} (wan{i}): {} down, {} up, {ms} ms round trip", mbit(&link.down), mbit(&link.up));
    }
    println!("Starting gobonding on both sides.");
    let began = Instant::now();
    let mut tunnel = Tunnel::up(&bed, &Setup::of(&bed))?;
    println!("  the tunnel stands after {:.1} s", began.elapsed().as_secs_f64());
    let server = Server::start(&bed.proxy)?;
    println!(
        "Downloading through the tunnel over ONE TCP connection. Mbit/s on each link, and what arrives:"
    );
    let outcome = download(&bed, &tunnel, seconds);
    drop(server);
    let steady = outcome.map_err(|e| format!("{e}; {}", tunnel.story()))?;
    for program in [&mut tunnel.router, &mut tunnel.proxy] {
        program.stop(Duration::from_secs(5))?;
    }
    Ok(steady)
}

/// Downloads, with a line for each second; gives the goodput after the start, Mbit/s.
fn download(bed: &Bed, tunnel: &Tunnel, seconds: u64) -> Result<f64, String> {
    let zero = bed.emulator.reset();
    let stream = Stream::start(&bed.router, TUN_PROXY4, Load::Download, Duration::from_secs(5))?;
    let carried = |i: usize| bed.emulator.sample(i, Way::Down, 0).counters.delivered;
    let links = bed.emulator.links();
    let head: String = (0..links).map(|i| format!("{:>9}", format!("link {i}"))).collect();
    println!("  second{head}      sum   download");
    let (mut last, mut last_bytes, mut at_start) = (vec![0; links], 0, 0);
    for second in 1..=seconds {
        sys::sleep_until(zero + second * SECOND);
        if stream.is_broken() {
            return Err("the connection broke".to_string());
        }
        let is: Vec<u64> = (0..links).map(carried).collect();
        let bytes = stream.bytes();
        let mbit = |bytes: u64| bytes as f64 * 8.0 / 1e6;
        let cells: String = is.iter().zip(&last).map(|(a, b)| format!("{:>9.1}", mbit(a - b))).collect();
        let sum = mbit(is.iter().sum::<u64>() - last.iter().sum::<u64>());
        println!("  {second:>6}{cells}{sum:>9.1}{:>11.1}", mbit(bytes - last_bytes));
        if std::env::var_os("LAB_ROWS").is_some() {
            for c in tunnel.row(Side::Proxy)?.channels {
                let (capacity, rtt, base) = (c.send_capacity_bit_per_s / 1000, c.rtt_us, c.base_rtt_us);
                let (cwnd, flight, queue) = (c.cwnd_bytes, c.in_flight_bytes, c.queue_delay_us);
                println!(
                    "         {}: {capacity} kbit/s, cwnd {cwnd}, in flight {flight}, rtt {rtt} of {base} us, \
                     queue {queue} us, {} lost, {} again, {:?} {:?}",
                    c.name, c.lost_packets, c.resent_packets, c.state, c.held_back
                );
            }
        }
        (last, last_bytes) = (is, bytes);
        if second == START {
            at_start = bytes;
        }
    }
    let time = (sys::now() - zero) / MS - START * 1000;
    Ok((last_bytes - at_start) as f64 * 8.0 / 1000.0 / time as f64)
}
