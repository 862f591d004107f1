//! Runs the emulator's unit tests. What it does to real packets is tested in `tests/netns`.

#[path = "mod.rs"]
mod emulator;
