//! The laboratory: real kernels, namespaces and programs round the binary.
//!
//! For: the tests in `tests/netns`, the demo and the benchmark (`examples/lab.rs`).
//! Not for: the shipped binary.
//!
//! 1. `space`: a world of mounts and network namespaces that ends with this process, however it ends.
//! 2. `bed`: router, carriers, core and proxy as namespaces, emulated links between them.
//! 3. `tunnel`: keys and configurations; starts `program`s (the binary) in both roles and reads their status.
//! 4. `traffic`: TCP streams, UDP probes and floods of our own.
//! 5. `middle`: somebody on the path who can record, replay, forge, and change addresses.
#![allow(dead_code, unreachable_pub, reason = "each test and example that includes this uses a part of it")]

#[path = "../emulator/mod.rs"]
pub mod emulator;

pub mod bed;
pub mod middle;
pub mod program;
pub mod space;
pub mod traffic;
pub mod tunnel;

use std::time::{Duration, Instant};

/// Asks every 10 ms until `condition` gives something, for `limit` at most; the error says what was awaited.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(format!("{what}: not within {limit:?}"));
        }
        emulator::sys::sleep_until(emulator::sys::now() + 10_000_000);
    }
}

/// As `wait_for`, for a plain yes.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<(), String> {
    wait_for(what, limit, || condition().then_some(()))
}
