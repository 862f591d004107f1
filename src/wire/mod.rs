//! What the bytes on the wire mean. Floor 1: no keys, no state.

pub mod auth;
pub mod compressed;
pub mod frame;
pub mod header;
pub mod reader;
