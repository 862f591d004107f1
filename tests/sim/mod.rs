//! The first laboratory: the real core in virtual time over modelled links, with modelled inner flows.
//!
//! Not for: the kernel, threads, sockets and ciphers (tests/netns has them). The same seed gives the
//! same result, packet by packet. Ground floor first:
//!
//! 1. `rng`, `trace`, `generator`: where a link's capacity comes from.
//! 2. `link`: one direction of one link; `scenario`, `scenarios`: several of them with names.
//! 3. `packet`, `tcp`, `workload`: inner traffic with real headers.
//! 4. `endpoint`: the core as the threads would drive it; `world`: the event loop round it all.
//! 5. `measure`, `score`, `goals`, `plot`: what came of it.
#![allow(dead_code, reason = "the example and each test use a part of it")]

pub mod endpoint;
pub mod generator;
pub mod goals;
pub mod knobs;
pub mod link;
pub mod measure;
pub mod packet;
pub mod plot;
pub mod random;
pub mod rng;
pub mod scenario;
pub mod scenarios;
pub mod score;
pub mod statistics;
pub mod tcp;
pub mod trace;
pub mod traffic;
pub mod workload;
pub mod world;
