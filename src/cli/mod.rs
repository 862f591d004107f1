//! The command line: flags, then config, then a role, then an exit code.
//!
//! Not for: anything that a role does.

mod flags;
mod help;
mod keygen;
mod logging;
mod status;

use crate::config::faults::Faults;
use crate::config::{self, Role};
use crate::io::IoFailure;
use crate::role;
use flags::{Command, Format, Watch};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Done.
const DONE: u8 = 0;
/// Failed while running.
const FAILED: u8 = 1;
/// Wrong flag or config.
const WRONG: u8 = 2;

/// Runs the program with the arguments after its name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let code = match flags::parse(args) {
        Ok(command) => run(command),
        Err(e) => {
            complain(&e);
            complain_line("`gobonding --help` shows what there is");
            WRONG
        }
    };
    ExitCode::from(code)
}

fn run(command: Command) -> u8 {
    match command {
        Command::Help(text) => say(text),
        Command::Version => say(&format!("gobonding {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Run { role: Role::Router, config, verbose } => {
            with_config(config::load_router(&config), |c| {
                logging::start(c.log, verbose);
                warn(&c.warnings);
                role::router::run(c)
            })
        }
        Command::Run { role: Role::Proxy, config, verbose } => {
            with_config(config::load_proxy(&config), |c| {
                logging::start(c.log, verbose);
                warn(&c.warnings);
                role::proxy::run(c)
            })
        }
        Command::Keygen { bits, out, another } => keygen(bits, out, another),
        Command::Pubkey { config } => match config::public_key_of(&config) {
            Ok(key) => {
                complain_line(&key.fingerprint().to_string());
                say(&key.to_pem())
            }
            Err(faults) => refuse(&faults),
        },
        Command::Check { config, role } => check(&config, role),
        Command::Status { socket, format, watch } => show_status(socket, format, watch),
    }
}

fn with_config<C>(config: Result<C, Faults>, run: impl FnOnce(C) -> Result<(), IoFailure>) -> u8 {
    match config.map(run) {
        Ok(Ok(())) => DONE,
        Ok(Err(failure)) => {
            complain(&failure);
            FAILED
        }
        Err(faults) => refuse(&faults),
    }
}

fn keygen(bits: u32, out: Option<PathBuf>, another: Option<String>) -> u8 {
    let blocks = match another {
        Some(name) => keygen::another(bits, &name),
        None => keygen::both(bits),
    };
    let said = match (blocks, out) {
        (Ok(blocks), Some(folder)) => keygen::write(&blocks, &folder),
        (Ok(blocks), None) => return say(&keygen::printed(&blocks)),
        (Err(e), _) => Err(e),
    };
    match said {
        Ok(text) => say(&text),
        Err(e) => {
            complain(&e);
            FAILED
        }
    }
}

fn check(file: &Path, role: Option<Role>) -> u8 {
    let role = match role.map_or_else(|| config::guess_role(file), Ok) {
        Ok(role) => role,
        Err(faults) => return refuse(&faults),
    };
    let checked = match role {
        Role::Router => config::load_router(file).map(|c| (c.warnings, c.channels.len(), "channel")),
        Role::Proxy => config::load_proxy(file).map(|c| (c.warnings, c.routers.len(), "router")),
    };
    match checked {
        Ok((warnings, n, what)) => {
            for w in warnings {
                complain_line(&format!("warning: {w}"));
            }
            let s = if n == 1 { "" } else { "s" };
            say(&format!("{}: a good {role}'s file with {n} {what}{s}\n", file.display()))
        }
        Err(faults) => refuse(&faults),
    }
}

fn show_status(socket: Option<PathBuf>, format: Format, watch: Watch) -> u8 {
    let sockets = status::sockets(socket);
    let each_second = crossbeam_channel::tick(Duration::from_secs(1));
    loop {
        let page = match status::page(&sockets, format) {
            Ok(page) => page,
            Err(e) => {
                complain(&e);
                return FAILED;
            }
        };
        let fresh_screen = watch == Watch::EverySecond && format == Format::Text;
        let code = say(&if fresh_screen { format!("\x1b[H\x1b[2J{page}") } else { page });
        if code != DONE || watch == Watch::Once {
            return code;
        }
        if each_second.recv().is_err() {
            return FAILED;
        }
    }
}

fn warn(warnings: &[String]) {
    for w in warnings {
        log::warn!("{w}");
    }
}

fn refuse(faults: &Faults) -> u8 {
    complain(faults);
    WRONG
}

/// Standard output; a reader who has gone ends the program without a word.
fn say(text: &str) -> u8 {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => DONE,
        Err(_) => FAILED,
    }
}

fn complain(what: &impl Display) {
    complain_line(&format!("error: {what}"));
}

fn complain_line(line: &str) {
    // With standard error closed there is nobody left to tell.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
