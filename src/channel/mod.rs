//! One link, blind to the others. Floor 3: what is sent, what arrived, how fast, how alive.

mod ack_ranges;
pub mod congestion;
mod delay;
mod delivery;
mod gaps;
mod liveness;
mod loss;
mod meter;
mod pacer;
pub mod receiving;
pub mod row;
mod rtt;
pub mod sending;
mod sent;
mod unwrap;
