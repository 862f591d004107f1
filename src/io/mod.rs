//! Side wing: the kernel's doors (TUN, UDP, netlink, poll) for dedicated threads, one call at a time.
//!
//! Not for: decisions, clocks, threads. Everything here is used from a thread that owns the object or
//! shares it in an `Arc`; no call waits longer than it was told to. Only `sys` contains `unsafe`.

mod checksum;
mod control;
mod merge;
pub mod netlink;
pub mod offload;
pub mod poll;
mod rtmessage;
pub mod sys;
pub mod tun;
pub mod udp;

use std::fmt;
use std::io;

/// A call into the kernel that did not work: what was tried on which object, why, and the remedy.
#[derive(Debug)]
pub struct IoFailure {
    /// What was tried and on what: "cannot set the MTU of bond0 to 1420".
    pub what: String,
    /// What the kernel said.
    pub source: io::Error,
    /// What the owner can do about it; empty when nothing general is known.
    pub remedy: &'static str,
}

impl IoFailure {
    /// A failure whose remedy follows from the kernel's error alone (missing privileges).
    pub fn new(what: impl Into<String>, source: io::Error) -> IoFailure {
        let remedy = match source.raw_os_error() {
            Some(libc::EPERM) => NEEDS_NET_ADMIN,
            _ => "",
        };
        IoFailure { what: what.into(), source, remedy }
    }

    /// The same failure with a remedy of its own, unless one is set already.
    pub fn with_remedy(mut self, remedy: &'static str) -> IoFailure {
        if self.remedy.is_empty() {
            self.remedy = remedy;
        }
        self
    }

    /// The kernel's error number, 0 when there is none.
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }
}

impl fmt::Display for IoFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.source)?;
        if !self.remedy.is_empty() {
            write!(f, ": {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for IoFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

const NEEDS_NET_ADMIN: &str =
    "needs CAP_NET_ADMIN; run as root or `setcap cap_net_admin+ep` the gobonding binary";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_privilege_names_its_remedy() {
        let failure = IoFailure::new("cannot set bond0 up", io::Error::from_raw_os_error(libc::EPERM));
        let text = failure.to_string();
        assert!(text.starts_with("cannot set bond0 up: "), "{text}");
        assert!(text.contains("CAP_NET_ADMIN"), "{text}");
    }
}
