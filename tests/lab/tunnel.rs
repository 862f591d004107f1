//! The binary in both roles: keys, configurations, start, status, end.
//!
//! 1. `keys` makes three identities once: the router's, the proxy's, and a stranger's.
//! 2. `Setup` is what the two configuration files shall say; its default is a good tunnel over all links.
//! 3. `Tunnel::start` writes them and starts the proxy, then the router; `Drop` ends both.
//! 4. `Tunnel::status` asks a side for its snapshot; the waits look at nothing else.

use super::bed::{Bed, PROXY4, PROXY6};
use super::program::Program;
use super::space::Space;
use super::{wait_for, wait_until};
use gobonding::crypto::identity::Identity;
use gobonding::monitor::snapshot::{ChannelState, SessionState, Snapshot, TunnelRow};
use rand::{rngs::StdRng, SeedableRng};
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;
use std::time::Duration;

/// Addresses in the tunnel.
pub const TUN_PROXY4: &str = "10.200.0.1";
pub const TUN_ROUTER4: &str = "10.200.0.2";
pub const TUN_PROXY6: &str = "fd00:200::1";
pub const TUN_ROUTER6: &str = "fd00:200::2";
/// The tunnel device on both sides.
pub const DEVICE: &str = "gobo0";
/// The proxy's UDP port.
pub const PORT: u16 = 41414;

/// Longest time until a tunnel must stand, with all its channels.
pub const START: Duration = Duration::from_secs(20);

/// An RSA pair as PEM blocks.
pub struct Keys {
    pub private: String,
    pub public: String,
}

/// The router's, the proxy's and a stranger's keys; the same in every run.
pub fn keys() -> &'static [Keys; 3] {
    static KEYS: OnceLock<[Keys; 3]> = OnceLock::new();
    KEYS.get_or_init(|| {
        std::thread::scope(|s| {
            [1, 2, 3].map(|seed| s.spawn(move || key(seed))).map(|t| t.join().expect("a key can be made"))
        })
    })
}

fn key(seed: u64) -> Keys {
    let identity = Identity::generate(&mut StdRng::seed_from_u64(seed), 2048).expect("2048 is a good size");
    Keys { private: identity.to_pem().to_string(), public: identity.public().to_pem() }
}

/// What the configuration files say.
pub struct Setup {
    /// Device (or local address) and proxy of each channel.
    pub channels: Vec<(String, String)>,
    pub router_private: String,
    /// Whom the router takes for its proxy.
    pub router_trusts: String,
    pub proxy_private: String,
    /// Whom the proxy takes for its only router; empty when `proxy_more` lists several.
    pub proxy_trusts: String,
    /// More lines of YAML.
    pub router_more: String,
    pub proxy_more: String,
}

impl Setup {
    /// A channel on each of the bed's links over IPv4, all keys right, IPv4 and IPv6 inside.
    pub fn of(bed: &Bed) -> Setup {
        Setup::over(bed.isps.len(), PROXY4)
    }

    /// The same over IPv6.
    pub fn of_ipv6(bed: &Bed) -> Setup {
        Setup::over(bed.isps.len(), PROXY6)
    }

    /// A channel on each of `links` devices `wan0`.. to `proxy`.
    pub fn over(links: usize, proxy: &str) -> Setup {
        let [router, own, _] = keys();
        Setup {
            channels: (0..links).map(|i| (format!("wan{i}"), proxy.to_string())).collect(),
            router_private: router.private.clone(),
            router_trusts: own.public.clone(),
            proxy_private: own.private.clone(),
            proxy_trusts: router.public.clone(),
            router_more: String::new(),
            proxy_more: String::new(),
        }
    }

    fn router_file(&self, socket: &Path) -> String {
        let mut text = format!("tunname: {DEVICE}\nproxystartport: {PORT}\nstatus: {}\n", socket.display());
        text += "channels:\n";
        for (link, proxy) in &self.channels {
            text += &format!("  {link}: \"{proxy}\"\n");
        }
        text += &block("privatekey", &self.router_private);
        text += &block("proxykey", &self.router_trusts);
        text + &self.router_more
    }

    fn proxy_file(&self, socket: &Path) -> String {
        let mut text = format!("tunname: {DEVICE}\nproxystartport: {PORT}\nstatus: {}\n", socket.display());
        text += &format!("address4: {TUN_PROXY4}/24\naddress6: {TUN_PROXY6}/64\n");
        text += &block("privatekey", &self.proxy_private);
        if !self.proxy_trusts.is_empty() {
            text += &block("publickey", &self.proxy_trusts);
        }
        text + &self.proxy_more
    }
}

/// An entry of the proxy's `routers`.
pub fn router_entry(name: &str, address4: &str, public: &str) -> String {
    let key = block("    publickey", public).replace("\n  ", "\n      ");
    format!("  - name: {name}\n    address4: {address4}\n{key}")
}

/// A PEM block as a YAML value.
fn block(key: &str, pem: &str) -> String {
    let lines: String = pem.trim().lines().map(|l| format!("  {l}\n")).collect();
    format!("{key}: |\n{lines}")
}

/// The two ends of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Router,
    Proxy,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Side::Router => "router",
            Side::Proxy => "proxy",
        }
    }
}

/// A running tunnel.
pub struct Tunnel {
    pub router: Program,
    pub proxy: Program,
    pub folder: PathBuf,
}

impl Tunnel {
    /// Writes the files and starts both ends.
    pub fn start(router: &Space, proxy: &Space, setup: &Setup) -> Result<Tunnel, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = PathBuf::from(format!("/run/lab/{}", NEXT.fetch_add(1, Ordering::SeqCst)));
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let socket = |side: Side| folder.join(format!("{}.sock", side.word()));
        write(&folder.join("router.yml"), &setup.router_file(&socket(Side::Router)))?;
        write(&folder.join("proxy.yml"), &setup.proxy_file(&socket(Side::Proxy)))?;
        let proxy = launch(&folder, proxy, Side::Proxy)?;
        let router = launch(&folder, router, Side::Router)?;
        Ok(Tunnel { router, proxy, folder })
    }

    /// Starts both ends across a bed and waits until every channel is up on both sides.
    pub fn up(bed: &Bed, setup: &Setup) -> Result<Tunnel, String> {
        let mut t = Tunnel::start(&bed.router, &bed.proxy, setup)?;
        t.wait_channels(setup.channels.len(), START)?;
        Ok(t)
    }

    /// Starts one more router of the same proxy in `space`.
    pub fn another_router(&self, space: &Space, setup: &Setup) -> Result<Program, String> {
        let file = self.folder.join("another.yml");
        write(&file, &setup.router_file(&self.folder.join("another.sock")))?;
        let arguments = ["router", "-c", &file.to_string_lossy()];
        Program::start(space, &binary()?, &arguments, &self.folder.join("another.log"))
    }

    /// Starts a side again after its end.
    pub fn restart(&mut self, space: &Space, side: Side) -> Result<(), String> {
        let program = launch(&self.folder, space, side)?;
        *self.program(side) = program;
        Ok(())
    }

    /// Waits until both sides see `count` channels up in an established session.
    pub fn wait_channels(&mut self, count: usize, limit: Duration) -> Result<(), String> {
        for side in [Side::Router, Side::Proxy] {
            let waited = wait_until(&format!("{} sees {count} channels up", side.word()), limit, || {
                self.channels_up(side) == count
            });
            waited.map_err(|e| format!("{e}; {}", self.story()))?;
        }
        Ok(())
    }

    /// Channels that this side sees up; 0 without a session.
    pub fn channels_up(&self, side: Side) -> usize {
        let Ok(row) = self.row(side) else { return 0 };
        match row.session {
            SessionState::Established => row.channels.iter().filter(|c| c.state == ChannelState::Up).count(),
            _ => 0,
        }
    }

    /// The snapshot of one side.
    pub fn status(&self, side: Side) -> Result<Snapshot, String> {
        let path = self.folder.join(format!("{}.sock", side.word()));
        let fault = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut text = String::new();
        let mut socket = UnixStream::connect(&path).map_err(fault)?;
        socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(fault)?;
        socket.read_to_string(&mut text).map_err(fault)?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e} in {text}", path.display()))
    }

    /// The (first) tunnel in the snapshot of one side.
    pub fn row(&self, side: Side) -> Result<TunnelRow, String> {
        self.status(side)?.tunnels.into_iter().next().ok_or(format!("{} has no tunnel", side.word()))
    }

    /// Waits until something is so on one side.
    pub fn wait_row(
        &self,
        side: Side,
        what: &str,
        limit: Duration,
        mut is_so: impl FnMut(&TunnelRow) -> bool,
    ) -> Result<TunnelRow, String> {
        let found =
            wait_for(&format!("{}: {what}", side.word()), limit, || self.row(side).ok().filter(&mut is_so));
        found.map_err(|e| format!("{e}; {:?}; {}", self.row(side), self.story()))
    }

    pub fn program(&mut self, side: Side) -> &mut Program {
        match side {
            Side::Router => &mut self.router,
            Side::Proxy => &mut self.proxy,
        }
    }

    /// What both sides have said, for the report of a failure.
    pub fn story(&self) -> String {
        let last = |p: &Program| {
            let said = p.said();
            let lines: Vec<&str> = said.lines().collect();
            lines[lines.len().saturating_sub(12)..].join("\n    ")
        };
        format!("\n  router:\n    {}\n  proxy:\n    {}", last(&self.router), last(&self.proxy))
    }
}

fn launch(folder: &Path, space: &Space, side: Side) -> Result<Program, String> {
    let word = side.word();
    let file = folder.join(format!("{word}.yml"));
    let arguments = [word, "-c", &file.to_string_lossy()];
    Program::start(space, &binary()?, &arguments, &folder.join(format!("{word}.log")))
}

/// The program beside the one that runs: cargo puts tests and examples one folder below it.
pub fn binary() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| format!("where am I? {e}"))?;
    let path = own.parent().and_then(Path::parent).map(|p| p.join("gobonding"));
    path.filter(|p| p.is_file()).ok_or("the program gobonding is not built: cargo build".to_string())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut f| f.write_all(text.as_bytes())).map_err(|e| format!("{}: {e}", path.display()))
}
