//! The emulator between namespaces that exist already, until somebody ends it.
//!
//! Control socket: each connection sends one line. `reset` begins again at time zero and answers
//! `ok NANOSECONDS` (CLOCK_MONOTONIC); `cut LINK up|down` and `mend LINK up|down` answer `ok`.

use crate::lab::emulator::run::{Cut, Emulator, Log, Way};
use crate::lab::emulator::scenario::Scenario;
use crate::lab::emulator::schedule::MS;
use crate::lab::emulator::sys;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Runs `lab emulator ...`.
pub fn run(words: &[&str]) -> Result<(), String> {
    let usage = "lab emulator SCENARIO --places NEAR:FAR,... [--log FILE] [--ctl SOCKET]";
    let (path, options) = words.split_first().ok_or(usage)?;
    let option = |name: &str| {
        let i = options.iter().position(|w| *w == name)?;
        options.get(i + 1).map(|w| w.to_string())
    };
    let scenario = Scenario::read(Path::new(path))?;
    let places = option("--places").ok_or(usage)?;
    let places: Option<Vec<_>> = places.split(',').map(|p| p.split_once(':')).collect();
    let places: Vec<_> = places.ok_or(usage)?.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    if places.len() != scenario.links.len() {
        return Err(format!("{} links and {} places", scenario.links.len(), places.len()));
    }
    let emulator = Emulator::start(&scenario, &places).map_err(|e| e.to_string())?;
    let control = match option("--ctl") {
        Some(path) => {
            let socket = UnixListener::bind(&path).map_err(|e| format!("{path}: {e}"))?;
            socket.set_nonblocking(true).map_err(|e| e.to_string())?;
            Some(socket)
        }
        None => None,
    };
    let mut file = match option("--log") {
        Some(path) => Some(File::create(&path).map_err(|e| format!("{path}: {e}"))?),
        None => None,
    };
    println!("ready");
    let mut log = Log::new(100 * MS);
    loop {
        if let Some(Ok((stream, _))) = control.as_ref().map(UnixListener::accept) {
            answer(stream, &emulator, &mut log);
        }
        while emulator.elapsed() >= log.due() {
            let lines = log.lines(&emulator);
            if let Some(f) = &mut file {
                f.write_all(lines.as_bytes()).map_err(|e| format!("log: {e}"))?;
            }
        }
        sys::sleep_until(sys::now() + 5 * MS);
    }
}

fn answer(stream: UnixStream, emulator: &Emulator, log: &mut Log) {
    let mut line = String::new();
    let patience = Some(std::time::Duration::from_secs(1));
    if stream.set_nonblocking(false).and(stream.set_read_timeout(patience)).is_err() {
        return;
    }
    if BufReader::new(&stream).read_line(&mut line).is_err() {
        return;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let reply = match words[..] {
        ["reset"] => {
            *log = Log::new(100 * MS);
            format!("ok {}", emulator.reset())
        }
        [verb @ ("cut" | "mend"), link, way @ ("up" | "down")] => match link.parse::<usize>() {
            Ok(link) if link < emulator.links() => {
                let cut = if verb == "cut" { Cut::Cut } else { Cut::Whole };
                emulator.set_cut(link, if way == "up" { Way::Up } else { Way::Down }, cut);
                "ok".to_string()
            }
            _ => "no such link".to_string(),
        },
        _ => "reset | cut LINK up|down | mend LINK up|down".to_string(),
    };
    // Somebody who does not wait for the answer does not need it.
    let _ = writeln!(&stream, "{reply}");
}
