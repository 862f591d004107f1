//! Configuration: `gobonding.yml` to settings, or a list of faults.

pub mod settings;
