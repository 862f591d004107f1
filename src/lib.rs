//! gobonding: bonds several poor internet links into one good one.
#![deny(unsafe_code)]

pub mod channel;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod io;
pub mod monitor;
pub mod role;
pub mod threads;
pub mod tunnel;
pub mod units;
pub mod wire;
