//! Floor 7: what a router and a proxy do differently, from settings to the end of the process.

mod process;
pub mod proxy;
pub mod router;
