//! Configuration: `gobonding.yml` to settings, or a list of faults.
//!
//! 1. `schema` reads the YAML.
//! 2. `check` with `router` and `proxy` turns it into settings, by the words of `values`.
//! 3. `faults` holds everything that was wrong, to be shown at once.

mod check;
pub mod faults;
mod keys;
mod proxy;
mod router;
mod schema;
pub mod settings;
mod values;

use crate::crypto::identity::{Identity, PublicIdentity};
use faults::Faults;
use settings::{ProxyConfig, RouterConfig};
use std::path::Path;

/// The two files there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Router,
    Proxy,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Router => "router",
            Role::Proxy => "proxy",
        })
    }
}

/// Reads the router's file.
pub fn load_router(file: &Path) -> Result<RouterConfig, Faults> {
    let mut config = parse_router(&read(file)?, file)?;
    config.warnings.extend(readable_by_others(file));
    Ok(config)
}

/// Reads the proxy's file.
pub fn load_proxy(file: &Path) -> Result<ProxyConfig, Faults> {
    let mut config = parse_proxy(&read(file)?, file)?;
    config.warnings.extend(readable_by_others(file));
    Ok(config)
}

/// Checks the router's text; `file` is only for the fault's head line.
pub fn parse_router(text: &str, file: &Path) -> Result<RouterConfig, Faults> {
    let mut faults = Faults::of(file);
    let config = schema::parse(text, &mut faults).and_then(|s| router::router(s, &mut faults));
    config.ok_or(faults)
}

/// Checks the proxy's text; `file` is only for the fault's head line.
pub fn parse_proxy(text: &str, file: &Path) -> Result<ProxyConfig, Faults> {
    let mut faults = Faults::of(file);
    let config = schema::parse(text, &mut faults).and_then(|s| proxy::proxy(s, &mut faults));
    config.ok_or(faults)
}

/// Whose file it seems to be, by the keys that only one role has.
pub fn guess_role(file: &Path) -> Result<Role, Faults> {
    let text = read(file)?;
    let mut faults = Faults::of(file);
    let Some(s) = schema::parse(&text, &mut faults) else { return Err(faults) };
    let proxy = s.has("routers") || s.has("listen") || !(s.has("channels") || s.has("proxykey"));
    Ok(if proxy { Role::Proxy } else { Role::Router })
}

/// The public half of the file's `privatekey`, whatever else is in it.
pub fn public_key_of(file: &Path) -> Result<PublicIdentity, Faults> {
    let text = read(file)?;
    let mut faults = Faults::of(file);
    if let Some(mut s) = schema::parse(&text, &mut faults) {
        match s.text("privatekey", &mut faults) {
            Some(pem) => match Identity::from_pem(&pem) {
                Ok(identity) => return Ok(identity.public().clone()),
                Err(_) => keys::check_private("privatekey", &pem, &mut faults),
            },
            None => faults.note("privatekey", "missing", "`gobonding keygen` makes one"),
        }
    }
    Err(faults)
}

fn read(file: &Path) -> Result<String, Faults> {
    std::fs::read_to_string(file).map_err(|e| {
        let mut faults = Faults::of(file);
        let remedy = match e.kind() {
            std::io::ErrorKind::NotFound => "name the file with -c; samples are in etc/",
            std::io::ErrorKind::PermissionDenied => "run as root, or as the file's owner",
            _ => "the file must be UTF-8 text that this user may read",
        };
        faults.note("", format!("cannot be read ({e})"), remedy);
        faults
    })
}

fn readable_by_others(file: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(file).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| format!("{0} can be read by everybody: chmod 600 {0}", file.display()))
}

#[cfg(test)]
mod tests;
