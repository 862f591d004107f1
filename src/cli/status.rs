//! `status`: asks a running gobonding and prints its answer.

use super::flags::Format;
use crate::monitor::{formats, socket, text};
use std::path::{Path, PathBuf};

/// Where the sockets are when nobody says otherwise.
const FOLDER: &str = "/run/gobonding";

/// Sockets to ask: the one that was named, else all in the folder.
pub fn sockets(named: Option<PathBuf>) -> Vec<PathBuf> {
    match named {
        Some(path) => vec![path],
        None => socket::sockets_in(Path::new(FOLDER)),
    }
}

/// The answers of all, one below the other. The error is a sentence.
pub fn page(sockets: &[PathBuf], format: Format) -> Result<String, String> {
    if sockets.is_empty() {
        let remedy = "start it, or name its `status:` socket with -s";
        return Err(format!("no gobonding is running here (no socket in {FOLDER}); {remedy}"));
    }
    let mut out = String::new();
    let mut silent = Vec::new();
    for path in sockets {
        let snapshot = match socket::ask(path) {
            Ok(snapshot) => snapshot,
            Err(e) => {
                silent.push(e);
                continue;
            }
        };
        match format {
            Format::Text if !out.is_empty() => {
                out.push('\n');
                out.push_str(&text::text(&snapshot));
            }
            Format::Text => out.push_str(&text::text(&snapshot)),
            Format::Json => out.push_str(&formats::json(&snapshot)),
            Format::Prometheus => out.push_str(&formats::prometheus(&snapshot)),
        }
    }
    // A socket that nobody serves is left by a killed process and of no interest beside one that answers.
    if out.is_empty() {
        return Err(silent.join("; "));
    }
    Ok(out)
}
