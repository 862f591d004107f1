//! What spans channels. Floor 4: flow queues and balancer outwards, reordering inwards, the session.

pub mod address;
mod balancer;
pub mod classify;
mod codel;
pub mod flow_queue;
mod flow_rate;
mod hold_back;
pub mod inbound;
pub mod mss;
pub mod outbound;
pub mod session;
mod thin_acks;
