//! What an owner meets: commands, exit codes, faults, samples and scripts, with the built program.
//!
//! Not for: traffic (`tests/netns`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn every_command_has_help_and_ends_with_0() {
    for command in ["", "router", "proxy", "keygen", "pubkey", "check", "status"] {
        let words: Vec<&str> = [command, "--help"].into_iter().filter(|w| !w.is_empty()).collect();
        let out = gobonding(&words);
        assert_eq!(out.status.code(), Some(0), "{command}");
        assert!(stdout(&out).contains(&format!("Usage: gobonding {command}")), "{command}");
        assert!(out.stderr.is_empty(), "{command}: {}", stderr(&out));
    }
    let out = gobonding(&["--version"]);
    assert_eq!(stdout(&out), format!("gobonding {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_flags_end_with_2_and_a_hint() {
    for words in [&["--frobnicate"][..], &["roter"], &["router", "--confg", "x"], &[], &["status", "-s"]] {
        let out = gobonding(words);
        assert_eq!(out.status.code(), Some(2), "{words:?}");
        assert!(stderr(&out).starts_with("error: "), "{words:?}: {}", stderr(&out));
        assert!(stderr(&out).contains("--help"), "{words:?}");
    }
}

#[test]
fn a_bad_config_shows_every_fault_at_once_and_ends_with_2() {
    let folder = Folder::new("bad");
    let file = folder.write(
        "gobonding.yml",
        "tunnme: tun0\nbalancer: fastest\nmonitortick: soon\nchannels:\n  wan0: 300.1.2.3\n  wan1: 203.0.113.7:0\n\
         reorder: {wait_ms: 5000}\nprivatekey: none\n",
    );
    for words in [&["check", "--role", "router", "-c"][..], &["router", "-c"]] {
        let out = gobonding(&[words, &[text(&file)]].concat());
        let said = stderr(&out);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("error: {}: 8 faults\n  ", file.display())), "{said}");
        for part in [
            "tunnme: unknown key; did you mean `tunname`?",
            "balancer: \"fastest\" is no balancer; write adaptive",
            "monitortick: \"soon\" is no time; write a time",
            "channels.wan0: \"300.1.2.3\" is neither an address nor a host name; write the proxy as",
            "channels.wan1: \"203.0.113.7:0\" has no port after the colon; write a port",
            "reorder.wait_ms: \"5000\" is too large; write a number from 20 to 1000",
            "privatekey: no key block, or a damaged one; paste a block",
            "proxykey: missing; paste the proxy's public key block, or write `unpinned`",
        ] {
            assert!(said.contains(part), "{part:?} is not in:\n{said}");
        }
    }
}

#[test]
fn a_config_that_is_missing_or_no_yaml_says_so() {
    let out = gobonding(&["check", "-c", "/nonexistent/gobonding.yml"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("cannot be read"), "{}", stderr(&out));
    let folder = Folder::new("yaml");
    let file = folder.write("x.yml", "channels: [\n");
    let out = gobonding(&["check", "-c", text(&file)]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("this is no YAML: "), "{}", stderr(&out));
}

#[test]
fn status_without_a_daemon_is_a_clear_sentence() {
    let folder = Folder::new("status");
    let out = gobonding(&["status", "-s", text(&folder.path.join("none.sock"))]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).starts_with("error: no gobonding is running here"), "{}", stderr(&out));
}

#[test]
fn the_samples_with_fresh_keys_are_good_configs() {
    let folder = Folder::new("samples");
    let keys = folder.path.join("keys");
    let out = gobonding(&["keygen", "--out", text(&keys)]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    for role in ["router", "proxy"] {
        let own = keys.join(format!("{role}-keys.yml"));
        assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o600);
        let sample = fs::read_to_string(repository().join(format!("etc/gobonding-{role}.yml"))).unwrap();
        let keys = fs::read_to_string(&own).unwrap();
        // As it is, and with every explained default written out.
        for (name, sample) in [("plain", sample.clone()), ("all", with_defaults(&sample))] {
            let file = folder.write(&format!("{role}-{name}.yml"), &format!("{sample}\n{keys}"));
            let out = gobonding(&["check", "-c", text(&file)]);
            assert_eq!(out.status.code(), Some(0), "{name}: {}", stderr(&out));
            assert!(stdout(&out).contains(&format!("a good {role}'s file")), "{}", stdout(&out));
            assert!(out.stderr.is_empty(), "{}", stderr(&out));
        }
    }
    let again = gobonding(&["keygen", "--out", text(&keys)]);
    assert_eq!(again.status.code(), Some(1), "keys are never written over");
    assert!(stderr(&again).contains("router-keys.yml"), "{}", stderr(&again));
}

#[test]
fn the_public_key_of_a_file_is_the_one_that_keygen_gave_the_other_end() {
    let folder = Folder::new("pubkey");
    assert!(gobonding(&["keygen", "--out", text(&folder.path)]).status.success());
    let of_proxy = gobonding(&["pubkey", "-c", text(&folder.path.join("proxy-keys.yml"))]);
    let router = fs::read_to_string(folder.path.join("router-keys.yml")).unwrap().replace("  ", "");
    assert!(stdout(&of_proxy).starts_with("-----BEGIN PUBLIC KEY-----"));
    assert!(router.contains(&stdout(&of_proxy)));
    assert!(stderr(&of_proxy).starts_with("SHA256:"), "{}", stderr(&of_proxy));
}

#[test]
fn without_privileges_the_missing_capability_is_named() {
    let folder = Folder::new("noroot");
    assert!(gobonding(&["keygen", "--out", text(&folder.path)]).status.success());
    let keys = fs::read_to_string(folder.path.join("proxy-keys.yml")).unwrap();
    let status = folder.path.join("p.sock");
    let config = format!("tunname: gbnoroot\nproxystartport: 41499\nstatus: {}\n{keys}", status.display());
    let file = folder.write("p.yml", &config);
    for path in [&folder.path, &file] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = folder.path.join("gobonding");
    fs::copy(env!("CARGO_BIN_EXE_gobonding"), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"]);
    let Ok(out) = command.arg(&program).args(["proxy", "-c", text(&file)]).output() else {
        return eprintln!("skipped: there is no setpriv here");
    };
    if stderr(&out).contains("setpriv:") {
        return eprintln!("skipped: {}", stderr(&out));
    }
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    let said = stderr(&out);
    let error = said.lines().find(|l| l.starts_with("error: ")).unwrap_or_default();
    assert!(error.contains("gbnoroot") && error.contains("CAP_NET_ADMIN"), "{said}");
    assert!(error.contains("root") && error.contains("run as"), "{said}");
}

#[test]
fn scripts_are_valid_shell_and_print_what_they_would_do() {
    for entry in fs::read_dir(repository().join("scripts")).unwrap() {
        let script = entry.unwrap().path();
        let head = fs::read_to_string(&script).unwrap();
        if !head.starts_with("#!/bin/sh") && !head.starts_with("#!/bin/bash") {
            continue;
        }
        let shell = if head.starts_with("#!/bin/sh") { "sh" } else { "bash" };
        let out = Command::new(shell).arg("-n").arg(&script).output().unwrap();
        assert!(out.status.success(), "{}: {}", script.display(), stderr(&out));
    }
    let out = script("proxy-setup", &["--net", "10.9.0.0/24", "--dry-run"]);
    assert!(stdout(&out).contains("ip saddr 10.9.0.0/24 oifname != \"tun0\" masquerade"), "{}", stdout(&out));
    let out = script("router-setup", &["--lan", "br-lan", "--dry-run"]);
    assert!(stdout(&out).contains("rule add pref 4141 iif br-lan lookup 4141"), "{}", stdout(&out));
    assert_eq!(script("router-setup", &["--dry-run"]).status.code(), Some(2));
    assert_eq!(script("proxy-setup", &["--net", "$(reboot)", "--dry-run"]).status.code(), Some(2));
}

#[test]
fn setup_scripts_can_be_repeated_and_undone() {
    let Some(ns) = Namespace::new() else {
        return eprintln!("skipped: no network namespace can be made here (needs root)");
    };
    if Command::new("nft").arg("--version").output().is_err() {
        return eprintln!("skipped: there is no nft here");
    }
    let folder = Folder::new("setup");
    ns.sh("ip link add lan0 type veth peer name lan1 && ip link set lan0 up && \
           ip tuntap add mode tun dev tun0 && ip link set tun0 up");
    const STATE: &str = "ip rule; ip -6 rule; ip route show table all; nft list ruleset; \
                         cat /proc/sys/net/ipv4/ip_forward";
    let before = ns.sh(STATE);
    let run = |script: &str, args: &str| {
        let script = repository().join("scripts").join(script);
        ns.sh(&format!("GOBONDING_RUN={} {} {args}", folder.path.display(), script.display()));
    };
    run("proxy-setup", "--net6 fd41:4141:4141::/64");
    run("router-setup", "--lan lan0 --ipv6 --strict");
    let once = ns.sh(STATE);
    assert!(once.contains("iif lan0 lookup 4141") && once.contains("masquerade"), "{once}");
    run("proxy-setup", "--net6 fd41:4141:4141::/64");
    run("router-setup", "--lan lan0 --ipv6 --strict");
    assert_eq!(ns.sh(STATE), once);
    run("proxy-setup", "--undo");
    run("router-setup", "--undo");
    assert_eq!(ns.sh(STATE), before);
}

#[test]
fn the_openwrt_script_renders_a_good_config() {
    let folder = Folder::new("openwrt");
    assert!(gobonding(&["keygen", "--out", text(&folder.path)]).status.success());
    // The few functions of OpenWrt that the script uses, with the sample of /etc/config/gobonding as data.
    let stubs = r#"
        config_get() { eval "v=\${uci_$2_$3-}"; eval "$1=\${v:-\${4-}}"; }
        config_get_bool() { config_get "$@"; }
        config_foreach() { for s in dsl lte off; do "$1" "$s" "$3"; done; }
        ubus() { [ "$2" != network.interface.wan ] || echo '{}'; }
        jsonfilter() { grep -q . && echo pppoe-wan; }
        uci() { [ "$3" != network.wwan.device ] || echo wwan0; }
        logger() { :; }
        uci_main_proxy='vps.example.org' uci_main_balancer=adaptive uci_main_tunname=tun0
        uci_dsl_interface=wan uci_dsl_up=20Mbit uci_lte_interface=wwan uci_lte_mark=0x3F00
        uci_off_disabled=1 uci_off_device='we"ird'
    "#;
    let init = repository().join("etc/openwrt/gobonding.init");
    let line = format!(
        "{stubs}\nuci_main_keys={}/router-keys.yml\n. {}\nrender router",
        folder.path.display(),
        init.display()
    );
    let out = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    let yaml = stdout(&out);
    let file = folder.write("rendered.yml", &yaml);
    let checked = gobonding(&["check", "-c", text(&file), "--role", "router"]);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    assert!(stdout(&checked).contains("2 channels"), "{}", stdout(&checked));
    assert!(yaml.contains("\"pppoe-wan\"") && yaml.contains("\"0x3F00\""));
}

fn gobonding(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gobonding"));
    command.args(words).env_remove("RUST_LOG").output().unwrap()
}

fn script(name: &str, words: &[&str]) -> Output {
    Command::new(repository().join("scripts").join(name)).args(words).output().unwrap()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The sample with every `#key: value` line switched on.
fn with_defaults(sample: &str) -> String {
    sample
        .lines()
        .map(|l| match l.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
            _ => l,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// A folder of its own for a test, gone at its end.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("gobonding-cli-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder { path }
    }

    /// Writes a file that only the owner may read.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).unwrap();
    }
}

/// A network namespace, gone at the end with all that is in it.
struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> Option<Namespace> {
        let name = format!("gobonding-cli-{}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output().ok()?;
        made.status.success().then_some(Namespace { name })
    }

    fn sh(&self, line: &str) -> String {
        let out = Command::new("ip").args(["netns", "exec", &self.name, "sh", "-c", line]).output().unwrap();
        assert!(out.status.success(), "{line}: {}", stderr(&out));
        stdout(&out)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let removed = Command::new("ip").args(["netns", "del", &self.name]).status();
        assert!(removed.is_ok_and(|s| s.success()), "namespace {} is left", self.name);
    }
}
