//! `keygen` and `pubkey`: keys as blocks that can be pasted into the config files.

use crate::crypto::identity::Identity;
use rand::SeedableRng;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Blocks of YAML for both files.
pub struct Blocks {
    pub router: Zeroizing<String>,
    pub proxy: Zeroizing<String>,
}

/// A pair for the router and one for the proxy.
pub fn both(bits: u32) -> Result<Blocks, String> {
    let (router, proxy) = (generate(bits)?, generate(bits)?);
    let mut r = Zeroizing::new(String::new());
    r.push_str("# The router proves itself with this. It stays on the router.\n");
    r.push_str(&block("privatekey", &router.to_pem(), ""));
    r.push_str("# The proxy's public key: only its owner is accepted as proxy.\n");
    r.push_str(&block("proxykey", &proxy.public().to_pem(), ""));
    let mut p = Zeroizing::new(String::new());
    p.push_str("# The proxy proves itself with this. It stays on the proxy.\n");
    p.push_str(&block("privatekey", &proxy.to_pem(), ""));
    p.push_str("# The router's public key: only its owner may connect.\n");
    p.push_str(&block("publickey", &router.public().to_pem(), ""));
    Ok(Blocks { router: r, proxy: p })
}

/// A pair for one more router.
pub fn another(bits: u32, name: &str) -> Result<Blocks, String> {
    let router = generate(bits)?;
    let mut r = Zeroizing::new(String::new());
    r.push_str("# The router proves itself with this. It stays on the router.\n");
    r.push_str(&block("privatekey", &router.to_pem(), ""));
    r.push_str("# Add `proxykey:` with the block that `gobonding pubkey` prints on the proxy.\n");
    let mut p = Zeroizing::new(String::new());
    p.push_str("# Under `routers:`, each router with its own address4.\n");
    p.push_str(&format!("  - name: {}\n", serde_yaml::to_string(name).map_err(|e| e.to_string())?.trim()));
    p.push_str(&block("publickey", &router.public().to_pem(), "    "));
    Ok(Blocks { router: r, proxy: p })
}

/// Both blocks with a line above each that says whose it is.
pub fn printed(blocks: &Blocks) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "# ======== into gobonding.yml of the ROUTER ========\n{}\n# ======== into gobonding.yml of the PROXY ========\n{}",
        *blocks.router, *blocks.proxy
    ))
}

/// Writes the blocks into two files that only the owner may read; never over existing ones.
pub fn write(blocks: &Blocks, folder: &Path) -> Result<String, String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let mut said = String::new();
    for (name, text) in [("router-keys.yml", &blocks.router), ("proxy-keys.yml", &blocks.proxy)] {
        let path = folder.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut f| f.write_all(text.as_bytes()))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        said.push_str(&format!("{}\n", path.display()));
    }
    Ok(said)
}

fn generate(bits: u32) -> Result<Identity, String> {
    let mut rng = rand::rngs::StdRng::try_from_rng(&mut rand::rngs::SysRng)
        .map_err(|e| format!("the kernel gives no random numbers: {e}"))?;
    Identity::generate(&mut rng, bits).map_err(|e| e.to_string())
}

/// `key: |` and the PEM block, indented two more than the key.
fn block(key: &str, pem: &str, indent: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(format!("{indent}{key}: |\n"));
    for line in pem.lines() {
        out.push_str(indent);
        out.push_str("  ");
        out.push_str(line);
        out.push('\n');
    }
    out
}
