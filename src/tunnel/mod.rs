//! What spans channels. Floor 4: flow queues and balancer outwards, reordering inwards, the session.

pub mod classify;
pub mod flow_queue;
pub mod inbound;
pub mod outbound;
pub mod session;
