//! The laboratory by hand: demo, benchmark, and emulated links to play with.
//!
//! ```text
//! lab demo [SECONDS]             two links, one tunnel, one TCP download (scripts/demo builds and calls it)
//! lab try LINKS [SECONDS]        the same over links of your own: a scenario file, or as in 30/15,12/40
//!                                (Mbit/s and one-way ms of each); LAB_ROWS=1 shows the proxy's rows
//! lab bench [ROUNDS]             CPU per GB beside wireguard-go (scripts/bench)
//! lab emulator SCENARIO --places near0:far0,near1:far1 [--log FILE] [--ctl SOCKET]
//!                                links between namespaces that exist, until it is ended
//! ```

#[path = "../tests/lab/mod.rs"]
mod lab;

#[path = "lab/bench.rs"]
mod bench;
#[path = "lab/demo.rs"]
mod demo;
#[path = "lab/links.rs"]
mod links;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |i: usize, usual: u64| words.get(i).map_or(Ok(usual), |w| w.parse::<u64>());
    let done = match (words.first().copied(), number(1, 15), number(1, 3)) {
        (Some("demo"), Ok(seconds), _) => {
            lab::space::private_world().and_then(|()| demo::run(seconds.max(4)))
        }
        (Some("bench"), _, Ok(rounds)) => {
            lab::space::private_world().and_then(|()| bench::run(rounds.max(1)))
        }
        (Some("try"), ..) if words.len() >= 2 => match number(2, 15) {
            Ok(seconds) => lab::space::private_world().and_then(|()| demo::own(words[1], seconds.max(4))),
            Err(e) => Err(format!("{}: {e}", words[2])),
        },
        (Some("emulator"), ..) => links::run(&words[1..]),
        _ => {
            eprintln!("usage: lab demo [SECONDS] | try LINKS [SECONDS] | bench [ROUNDS] | emulator SCENARIO --places NEAR:FAR,...");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
