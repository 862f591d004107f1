//! The laboratory's link emulator: WAN links with the rates, delays, queues, losses and outages we ask for.
//!
//! For: the demo, the benchmarks and the tests in network namespaces, because many kernels have no netem.
//! Not for: the shipped binary, and not for virtual time (`tests/sim` has its own links).
//!
//! 1. `scenario` reads what the links shall be (JSON) into one `Profile` for each direction.
//! 2. `schedule` knows when a direction may send how many bytes; `model` puts queue, loss and delay
//!    round it. Both are pure: time is an argument, in nanoseconds since the last reset.
//! 3. `run` moves real packets between TUN devices in two namespaces when the model says so.
//! 4. `sys` has the system calls that std lacks.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test and example that includes this uses a part"
)]

pub mod model;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod sys;
