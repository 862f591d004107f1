//! What spans channels. Floor 4: flow queues and balancer outwards, reordering inwards, the session.

pub mod classify;
mod codel;
pub mod flow_queue;
mod flow_rate;
pub mod inbound;
pub mod outbound;
pub mod session;
mod thin_acks;
