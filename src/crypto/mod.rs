//! Keys and what is done with them. Floor 2: sealing, replay windows, key schedule, RSA identities.

pub mod aead;
pub mod generation;
pub mod identity;
pub mod replay;
pub mod schedule;
