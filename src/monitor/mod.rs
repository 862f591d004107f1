//! Monitor: what runs, for the eyes of an owner and for other programs.

pub mod snapshot;
