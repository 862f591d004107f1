//! One link, blind to the others. Floor 3: what is sent, what arrived, how fast, how alive.

pub mod receiving;
pub mod row;
pub mod sending;
