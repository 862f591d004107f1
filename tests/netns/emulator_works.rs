//! The emulator does to real packets what its model says, and the bed is wired as drawn.

use crate::lab::bed::{Bed, PROXY4, PROXY6};
use crate::lab::emulator::run::{Cut, Way};
use crate::lab::emulator::scenario::Scenario;
use crate::lab::emulator::schedule::{Ns, MS, SECOND};
use crate::lab::emulator::sys;
use crate::lab::space::nat_works;
use crate::lab::traffic::{flood, probe, Load, Server, Stream};
use crate::{ensure, Failure, Outcome, Test};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test("a flood through the emulator gets what its schedule offers, within 2 %", flood_gets_the_offer),
        Test("the emulator's round trip time is right within 1 ms", round_trips_are_right),
        Test("a cut link loses everything and a mended one nothing", cut_and_mend),
        Test("one kernel TCP flow fills one emulated link", tcp_fills_a_link),
        Test("a carrier's NAT hides the router's address", nat_hides_the_router),
    ]
}

fn parse(links: &str) -> Result<Scenario, Failure> {
    Ok(Scenario::parse(&format!("{{\"nat\": false, \"links\": [{links}]}}"), Path::new("."))?)
}

fn flood_gets_the_offer() -> Outcome {
    let trace: String = (0..20_000u64).filter(|ms| ms % 100 < 60).map(|ms| format!("{ms}\n")).collect();
    let dir = std::env::temp_dir().join(format!("gobonding-lab-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let file = dir.join("pulse.trace");
    std::fs::write(&file, trace).map_err(|e| e.to_string())?;
    let outcome = parse(&format!(
        r#"{{"rate_mbit": 20, "delay_ms": 10}},
           {{"steps": [[0, 30], [0.5, 5]], "steps_period_s": 1, "delay_ms": 5}},
           {{"sine": {{"min_mbit": 5, "max_mbit": 40, "period_s": 1, "step_s": 0.1}}}},
           {{"trace": "{}", "queue_bytes": 60000}}"#,
        file.display()
    ))
    .and_then(|s| Bed::new(s).map_err(Failure::Wrong))
    .and_then(|bed| (0..4).try_for_each(|i| flood_link(&bed, i)));
    std::fs::remove_dir_all(&dir).map_err(|e| e.to_string())?;
    outcome
}

/// Floods both directions at once.
fn flood_link(bed: &Bed, i: usize) -> Outcome {
    let zero = bed.emulator.reset();
    std::thread::scope(|s| {
        let up = s.spawn(|| flood_direction(bed, i, Way::Up, zero));
        flood_direction(bed, i, Way::Down, zero)?;
        up.join().unwrap_or_else(|_| Err(Failure::Wrong("the flood upwards panicked".to_string())))
    })
}

fn flood_direction(bed: &Bed, i: usize, way: Way, zero: Ns) -> Outcome {
    let port = if way == Way::Up { 5400 } else { 5401 };
    let router: SocketAddr = format!("{}:{port}", Bed::router4(i)).parse().map_err(|e| format!("{e}"))?;
    let proxy: SocketAddr = format!("{PROXY4}:{port}").parse().map_err(|e| format!("{e}"))?;
    let (from, source, to, target) = match way {
        Way::Up => (&bed.router, router, &bed.proxy, proxy),
        Way::Down => (&bed.proxy, proxy, &bed.router, router),
    };
    let arrived = flood(from, source, to, target, 1472, 55.0, Duration::from_millis(3300))?;
    let delay = bed.scenario.links[i].up.delay;
    // Whole periods of every schedule, when the queue is full.
    let (a, b): (Ns, Ns) = (SECOND, 3 * SECOND);
    let got = arrived.iter().filter(|t| (a..b).contains(&(*t - zero - delay))).count() as u64 * 1500;
    let offered = bed.emulator.sample(i, way, b).offered - bed.emulator.sample(i, way, a).offered;
    let part = got as f64 / offered as f64;
    ensure!((part - 1.0).abs() < 0.02, "link {i} {way:?}: {got} bytes came of {offered} offered ({part:.3})");
    let c = bed.emulator.sample(i, way, b).counters;
    // The kernel itself sends a few packets (IPv6 neighbours).
    let others = c.packets.abs_diff(arrived.len() as u64);
    ensure!(others <= 5, "link {i} {way:?}: {} arrived of {c:?}", arrived.len());
    Ok(())
}

fn round_trips_are_right() -> Outcome {
    let links = [5u64, 20, 60];
    let bed = Bed::new(Scenario::of("delays", &[(100, links[0]), (100, links[1]), (100, links[2])]))?;
    let _server = Server::start(&bed.proxy)?;
    for (i, ms) in links.iter().enumerate() {
        for to in [PROXY4, PROXY6] {
            let gateway = if to == PROXY4 { format!("10.71.{i}.1") } else { format!("fd71:0:0:{i}::1") };
            let family = if to == PROXY4 { "" } else { "-6 " };
            bed.router.ip(&format!("{family}route replace {to} via {gateway} dev wan{i}"))?;
            let p = probe(&bed.router, to, 50, Duration::from_millis(5), 200)?;
            ensure!(p.lost() == 0 && p.twice == 0, "link {i} to {to}: {} lost, {} twice", p.lost(), p.twice);
            let (got, want) = (p.quantile_us(0.5), 2 * ms * 1000);
            ensure!((want..want + 1000).contains(&got), "link {i} to {to}: {got} us instead of {want}");
        }
    }
    Ok(())
}

fn cut_and_mend() -> Outcome {
    let bed = Bed::new(Scenario::of("cut", &[(50, 5)]))?;
    let _server = Server::start(&bed.proxy)?;
    for (cut, lost) in [(Cut::Cut, 20), (Cut::Whole, 0)] {
        bed.emulator.set_cut(0, Way::Down, cut);
        let p = probe(&bed.router, PROXY4, 20, Duration::from_millis(5), 200)?;
        ensure!(p.lost() == lost, "{cut:?}: {} lost", p.lost());
    }
    Ok(())
}

fn tcp_fills_a_link() -> Outcome {
    let bed = Bed::new(Scenario::of("one", &[(30, 15)]))?;
    let _server = Server::start(&bed.proxy)?;
    for load in [Load::Download, Load::Upload] {
        let s = Stream::start(&bed.router, PROXY4, load, Duration::from_secs(3))?;
        sys::sleep_until(sys::now() + 1500 * MS);
        let mbit = s.measure(Duration::from_secs(3));
        // 1448 bytes of payload in 1500.
        let ceiling = 30.0 * 1448.0 / 1500.0;
        ensure!(
            (0.95 * ceiling..1.02 * ceiling).contains(&mbit),
            "{load:?}: {mbit:.2} of {ceiling:.2} Mbit/s"
        );
        ensure!(!s.is_broken(), "{load:?}: the connection broke");
    }
    Ok(())
}

fn nat_hides_the_router() -> Outcome {
    nat_works().map_err(Failure::Skipped)?;
    let mut scenario = Scenario::of("nat", &[(50, 5)]);
    scenario.nat = true;
    let bed = Bed::new(scenario)?;
    let _server = Server::start(&bed.proxy)?;
    let p = probe(&bed.router, PROXY4, 20, Duration::from_millis(5), 200)?;
    ensure!(p.lost() == 0, "{} lost on the way back", p.lost());
    Ok(())
}
