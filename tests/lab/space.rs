//! Network namespaces that nobody outside sees and that are gone when this process is.
//!
//! 1. `private_world`, first thing in `main`: own mounts, and without root an own user namespace.
//!    What `ip netns add` makes then hangs on a /run of ours: even SIGKILL leaves nothing behind.
//! 2. `Space::new` makes a namespace, its `Drop` removes it.
//! 3. `Space::run`, `Space::within`, `Space::command` do things inside.

use super::emulator::sys;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Puts this process into its own world. Call it in `main` before any thread exists.
///
/// The error is a sentence that says why it cannot be, for "skipped".
pub fn private_world() -> Result<(), String> {
    sys::unshare_world()
        .map_err(|e| format!("no namespaces of our own: {e} (run it as root, or allow user namespaces)"))?;
    let tun = fs::File::options().read(true).write(true).open("/dev/net/tun");
    let remedy = |e: &io::Error| match e.kind() {
        io::ErrorKind::PermissionDenied => "run it as root, or let this user open the device",
        _ => "modprobe tun; in a container, give it the device",
    };
    tun.map_err(|e| format!("/dev/net/tun: {e} ({})", remedy(&e)))?;
    fs::create_dir_all("/run/netns").map_err(|e| format!("/run/netns: {e}"))?;
    match Command::new("ip").arg("-V").stdout(Stdio::null()).status() {
        Ok(s) if s.success() => Ok(()),
        _ => Err("the program ip is missing (apt-get install iproute2)".to_string()),
    }
}

/// Whether `nft` can make a NAT in a namespace here.
pub fn nat_works() -> Result<(), String> {
    let space = Space::new("nat")?;
    masquerade(&space, "lo")
}

/// Hides what leaves through `device` behind its address.
pub fn masquerade(space: &Space, device: &str) -> Result<(), String> {
    let rules = format!(
        "table ip nat {{ chain post {{ type nat hook postrouting priority 100; oifname \"{device}\" masquerade; }}; }}"
    );
    space.run("nft", &[&rules]).map_err(|e| format!("no NAT here: {e} (apt-get install nftables)"))?;
    Ok(())
}

/// One network namespace; removed when dropped.
#[derive(Debug)]
pub struct Space {
    pub name: String,
}

impl Space {
    /// A namespace with its loopback up, forwarding on, TCP with CUBIC and large buffers.
    pub fn new(role: &str) -> Result<Space, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let name = format!("gbt{}-{n}-{role}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let space = Space { name };
        space.ip("link set lo up")?;
        space.within(|| {
            for (key, value) in SETTINGS {
                // Kernels built without IPv6 lack some; a test that needs one fails by itself.
                let _ = fs::write(format!("/proc/sys/net/{key}"), value);
            }
        })?;
        Ok(space)
    }

    /// `ip` with these words (split at blanks) in the namespace; gives what it prints.
    pub fn ip(&self, words: &str) -> Result<String, String> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Runs a program to its end in the namespace; gives what it prints.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        run(self.command(program).args(arguments))
    }

    /// A program that will start in the namespace and dies with the thread that starts it.
    pub fn command(&self, program: &str) -> Command {
        let mut c = Command::new(program);
        let name = self.name.clone();
        // SAFETY: between fork and exec only open, setns and prctl are called.
        unsafe { c.pre_exec(move || sys::enter_namespace(&name).and_then(|()| sys::die_with_parent())) };
        c
    }

    /// Runs `body` in a thread that is in the namespace; sockets it makes stay in it.
    pub fn within<T: Send>(&self, body: impl FnOnce() -> T + Send) -> Result<T, String> {
        std::thread::scope(|s| {
            let inside = s.spawn(|| sys::enter_namespace(&self.name).map(|()| body()));
            match inside.join() {
                Ok(r) => r.map_err(|e| format!("namespace {}: {e}", self.name)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Whether a device of this name exists in the namespace.
    pub fn has_device(&self, name: &str) -> bool {
        self.ip(&format!("link show dev {name}")).is_ok()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if let Err(e) = run(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("namespace {} stays: {e}", self.name);
        }
    }
}

/// Runs a program to its end; the error has its words and what it said.
pub fn run(command: &mut Command) -> Result<String, String> {
    let words = format!("{command:?}").replace('"', "");
    let out = match command.stdin(Stdio::null()).output() {
        Ok(out) => out,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(format!("{} is not installed", command.get_program().to_string_lossy()))
        }
        Err(e) => return Err(format!("{}: {e}", words)),
    };
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    match out.status.success() {
        true => Ok(said),
        false => Err(format!("{}: {}", words, said.trim())),
    }
}

/// Of each namespace, below /proc/sys/net.
const SETTINGS: [(&str, &str); 9] = [
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/tcp_rmem", "4096 131072 16777216"),
    ("ipv4/tcp_wmem", "4096 16384 16777216"),
    ("ipv4/tcp_no_metrics_save", "1"),
    ("ipv4/tcp_congestion_control", "cubic"),
    ("ipv6/conf/default/accept_dad", "0"),
];
