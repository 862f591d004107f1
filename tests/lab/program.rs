//! One running program in a namespace: its output, its signals, its end.
//!
//! Not for: what it is told (`tunnel` writes the configurations).

use super::emulator::sys;
use super::space::Space;
use super::wait_for;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A program that runs until it ends, is stopped, or this is dropped.
pub struct Program {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Program {
    /// Starts it in `space`; what it prints goes to `log`.
    pub fn start(space: &Space, program: &Path, arguments: &[&str], log: &Path) -> Result<Program, String> {
        let fault = |e: std::io::Error| format!("{}: {e}", program.display());
        let out = File::options().create(true).append(true).open(log).map_err(fault)?;
        let child = space
            .command(&program.to_string_lossy())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(fault)?)
            .stderr(out)
            .spawn()
            .map_err(fault)?;
        let name = arguments.first().copied().unwrap_or("program").to_string();
        Ok(Program { child, log: log.to_path_buf(), name })
    }

    /// What it has printed so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has printed `text`.
    pub fn wait_said(&mut self, text: &str, limit: Duration) -> Result<(), String> {
        let log = self.log.clone();
        let found = wait_for(&format!("{} says \"{text}\"", self.name), limit, || {
            fs::read_to_string(&log).unwrap_or_default().contains(text).then_some(())
        });
        found.map_err(|e| format!("{e}; it said: {}", self.said().trim()))
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits; gives how it ended and how long that took.
    pub fn stop(&mut self, limit: Duration) -> Result<(ExitStatus, Duration), String> {
        let began = Instant::now();
        if self.runs() {
            sys::signal(self.child.id(), libc::SIGTERM);
        }
        let status = self.ended(limit)?;
        Ok((status, began.elapsed()))
    }

    /// Waits until it ends by itself.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let child = &mut self.child;
        wait_for(&format!("{} ends", self.name), limit, || child.try_wait().ok().flatten())
    }

    /// Ends it at once, as a crash of the machine would.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// CPU time that it has used in user and system mode, seconds.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// CPU time of a process with all its threads, seconds; 0 when it is gone.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(')') else { return 0.0 };
    // Behind the name come state and 10 numbers, then user and system time in ticks of 10 ms.
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
