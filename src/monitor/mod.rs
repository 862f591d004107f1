//! Monitor: what runs, for the eyes of an owner and for other programs.

pub mod file;
pub mod formats;
pub mod snapshot;
pub mod socket;
pub mod text;
mod words;
