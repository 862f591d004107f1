//! CPU seconds per GB: gobonding beside Debian's wireguard-go, in turns, one TCP flow, no shaping.

use crate::lab::bed::{address, wire};
use crate::lab::emulator::schedule::SECOND;
use crate::lab::emulator::sys;
use crate::lab::program::Program;
use crate::lab::space::{run as run_program, Space};
use crate::lab::traffic::{Load, Server, Stream};
use crate::lab::tunnel::{Setup, Tunnel, TUN_PROXY4};
use crate::lab::wait_until;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long each measurement lasts.
const TIME: Duration = Duration::from_secs(5);

/// What one measurement gave.
#[derive(Clone, Copy)]
struct Figure {
    mbit: f64,
    cpu_s_per_gb: f64,
}

/// Measures both in turns, `rounds` times, and prints every figure, the medians and their ratio.
pub fn run(rounds: u64) -> Result<(), String> {
    let wireguard = run_program(Command::new("wireguard-go").arg("--version"))
        .and_then(|version| run_program(Command::new("wg").arg("--version")).map(|_| version));
    let machine = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = machine.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = machine.lines().filter(|l| l.starts_with("processor")).count();
    println!("machine: {cores} x {}", model.trim_start_matches([' ', '\t', ':']));
    match &wireguard {
        Ok(version) => println!("beside:  {}", version.lines().next().unwrap_or_default()),
        Err(e) => println!("beside:  nothing ({e})"),
    }
    println!("CPU seconds of both ends per GB (10^9 bytes) of TCP payload, {} s each:\n", TIME.as_secs());
    println!("  round  tunnel        Mbit/s   CPU s/GB");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        ours.push(show(round, "gobonding", gobonding()?));
        if wireguard.is_ok() {
            theirs.push(show(round, "wireguard-go", wireguard_go()?));
        }
    }
    let (a, b) = (median(&ours), median(&theirs));
    match theirs.is_empty() {
        true => println!("\nmedian: gobonding {a:.2} CPU s/GB"),
        false => {
            println!("\nmedians: gobonding {a:.2}, wireguard-go {b:.2} CPU s/GB; ratio {:.2}", a / b)
        }
    }
    Ok(())
}

fn show(round: u64, name: &str, f: Figure) -> Figure {
    println!("  {round:>5}  {name:<12}{:>8.0}{:>11.2}", f.mbit, f.cpu_s_per_gb);
    f
}

fn median(figures: &[Figure]) -> f64 {
    let mut all: Vec<f64> = figures.iter().map(|f| f.cpu_s_per_gb).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Two namespaces with a wire between them.
fn ends() -> Result<(Space, Space), String> {
    let (a, b) = (Space::new("a")?, Space::new("b")?);
    wire(&a, "wan0", &b, "eth0", 1500)?;
    address(&a, "wan0", "10.71.0.2/24", "fd71::2/64")?;
    address(&b, "eth0", "10.71.0.1/24", "fd71::1/64")?;
    Ok((a, b))
}

fn gobonding() -> Result<Figure, String> {
    let (a, b) = ends()?;
    let setup = Setup::over(1, "10.71.0.1");
    let mut tunnel = Tunnel::start(&a, &b, &setup)?;
    tunnel.wait_channels(1, Duration::from_secs(20))?;
    measure(&a, &b, TUN_PROXY4, || tunnel.router.cpu_seconds() + tunnel.proxy.cpu_seconds())
}

fn wireguard_go() -> Result<Figure, String> {
    let (a, b) = ends()?;
    fs::create_dir_all("/run/lab").map_err(|e| e.to_string())?;
    let mut programs = Vec::new();
    let mut public = Vec::new();
    for (i, space) in [&a, &b].into_iter().enumerate() {
        let (device, key) = (format!("wg{i}"), format!("/run/lab/wg{i}.key"));
        let log = Path::new("/run/lab/wg.log");
        programs.push(Program::start(space, Path::new("wireguard-go"), &["-f", &device], log)?);
        wait_until("wireguard-go makes its device", Duration::from_secs(5), || {
            space.has_device(&device) && Path::new(&format!("/var/run/wireguard/{device}.sock")).exists()
        })?;
        let private = space.run("wg", &["genkey"])?;
        fs::write(&key, private).map_err(|e| format!("{key}: {e}"))?;
        space.run("wg", &["set", &device, "listen-port", "51820", "private-key", &key])?;
        public.push(space.run("wg", &["show", &device, "public-key"])?.trim().to_string());
        space.ip(&format!("addr add 10.200.1.{}/24 dev {device}", i + 1))?;
        space.ip(&format!("link set {device} mtu 1420 up"))?;
    }
    for (i, space) in [&a, &b].into_iter().enumerate() {
        let (device, endpoint) = (format!("wg{i}"), format!("10.71.0.{}:51820", i + 1));
        let peer =
            ["set", &device, "peer", &public[1 - i], "endpoint", &endpoint, "allowed-ips", "10.200.1.0/24"];
        space.run("wg", &peer)?;
    }
    measure(&a, &b, "10.200.1.2", || programs.iter().map(Program::cpu_seconds).sum())
}

/// One download after a second of warming up.
fn measure(a: &Space, b: &Space, to: &str, cpu: impl Fn() -> f64) -> Result<Figure, String> {
    let _server = Server::start(b)?;
    let stream = Stream::start(a, to, Load::Download, Duration::from_secs(10))?;
    sys::sleep_until(sys::now() + SECOND);
    let (bytes, seconds) = (stream.bytes(), cpu());
    let mbit = stream.measure(TIME);
    let (bytes, seconds) = (stream.bytes() - bytes, cpu() - seconds);
    match stream.is_broken() {
        true => Err("the connection broke".to_string()),
        false => Ok(Figure { mbit, cpu_s_per_gb: seconds * 1e9 / bytes.max(1) as f64 }),
    }
}
