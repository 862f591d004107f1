//! What spans channels. Floor 4: flow queues and balancer outwards, reordering inwards, the session.

pub mod address;
mod balancer;
pub mod classify;
mod codel;
mod fill_times;
pub mod flow_queue;
mod flow_rate;
mod flow_table;
mod hold_back;
pub mod inbound;
mod loss_proof;
pub mod mss;
pub mod outbound;
mod reorder;
mod seen;
pub mod session;
mod thin_acks;
mod youth;
