//! Models of a TCP connection as Linux runs it: only what decides rate, loss and order.
//!
//! Not for: closing, windows smaller than a segment, Nagle. Sequence numbers count segments of one size;
//! on the wire they are real sequence numbers.

mod bbr;
mod cubic;
mod ranges;
mod receiver;
mod recovery;
mod sender;

pub use receiver::Receiver;
pub use sender::{Control, Sender};

/// Never.
pub const NEVER: u64 = u64::MAX;

/// Segment number from a 32-bit sequence number near segment `near`.
pub fn expand(seq: u32, near: u64, mss: u32) -> u64 {
    let at = wire(near, mss);
    let distance = i64::from(seq.wrapping_sub(at) as i32) / i64::from(mss);
    near.saturating_add_signed(distance)
}

/// 32-bit sequence number of a segment.
pub fn wire(segment: u64, mss: u32) -> u32 {
    (segment.wrapping_mul(u64::from(mss)) as u32).wrapping_add(1)
}
