//! The status socket: one snapshot as JSON for each connection, nothing is read from it.
//!
//! 1. The monitor thread waits in `StatusSocket::wait` for a connection or the next tick.
//! 2. `answer` writes and closes. A reader that does not read is dropped after a second.
//! 3. `ask` is the other end, for `gobonding status`.

use super::formats;
use super::snapshot::Snapshot;
use crate::io::IoFailure;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time a connection may take to be written or read. A guess: a local reader needs a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest answer that is read, against a stranger behind the path. A guess: 32 channels make 30 kB.
const ANSWER_MAX: u64 = 16 << 20;

/// A listening status socket; removes its file when dropped.
#[derive(Debug)]
pub struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    /// Listens at `path`; makes the folder; takes the place of a socket that nobody serves any more.
    /// Everybody on the host may read it: there are no secrets in it.
    pub fn listen(path: &Path) -> Result<StatusSocket, IoFailure> {
        let failure = |e: io::Error| {
            let remedy = match e.kind() {
                ErrorKind::AddrInUse => {
                    "another gobonding serves it; give each its own `status:` path or tunname"
                }
                _ => "set `status:` to a path that this user may write, or to off",
            };
            IoFailure::new(format!("cannot listen on status socket {}", path.display()), e)
                .with_remedy(remedy)
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failure)?;
        }
        remove_dead(path).map_err(failure)?;
        let listener = UnixListener::bind(path).map_err(failure)?;
        listener.set_nonblocking(true).map_err(failure)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(failure)?;
        Ok(StatusSocket { listener, path: path.to_owned() })
    }

    /// The next connection that waits, if any; never blocks.
    pub fn accept(&self) -> Option<StatusConnection> {
        let (stream, _) = self.listener.accept().ok()?;
        Some(StatusConnection { stream })
    }
}

/// Somebody who wants to know.
#[derive(Debug)]
pub struct StatusConnection {
    stream: UnixStream,
}

impl StatusConnection {
    /// Writes the snapshot and closes. Who has gone or does not read gets nothing.
    pub fn answer(mut self, snapshot: &Snapshot) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(PATIENCE))?;
        self.stream.write_all(formats::json(snapshot).as_bytes())
    }
}

impl AsFd for StatusSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        // Nothing to do about a file that somebody has removed already.
        let _ = fs::remove_file(&self.path);
    }
}

/// Asks a running gobonding. The error is a sentence.
pub fn ask(path: &Path) -> Result<Snapshot, String> {
    let shown = path.display();
    let mut stream = UnixStream::connect(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            format!("no gobonding is running here (nobody answers at {shown})")
        }
        _ => format!("cannot ask {shown}: {e}"),
    })?;
    let mut text = String::new();
    stream
        .set_read_timeout(Some(PATIENCE * 3))
        .and_then(|()| (&mut stream).take(ANSWER_MAX).read_to_string(&mut text))
        .map_err(|e| format!("{shown} did not answer: {e}"))?;
    formats::from_json(&text).map_err(|e| format!("{shown} gave an answer of another version ({e})"))
}

/// Status sockets in a folder, by name.
pub fn sockets_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_ok_and(|t| t.is_socket()))
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|x| x == "sock"))
        .collect();
    found.sort();
    found
}

fn remove_dead(path: &Path) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        Err(_) => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::sample;
    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("gobonding-{}-{name}.sock", std::process::id()))
    }

    #[test]
    fn whoever_connects_gets_the_snapshot() {
        let path = path("answer");
        let socket = StatusSocket::listen(&path).unwrap();
        let server = std::thread::spawn(move || loop {
            if let Some(c) = socket.accept() {
                return c.answer(&sample()).unwrap();
            }
            std::thread::yield_now();
        });
        assert_eq!(ask(&path).unwrap(), sample());
        server.join().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn nobody_there_is_said_in_a_sentence() {
        assert!(ask(&path("nobody")).unwrap_err().starts_with("no gobonding is running here"));
    }

    #[test]
    fn a_socket_in_use_is_not_taken_and_a_dead_one_is() {
        let path = path("dead");
        let first = StatusSocket::listen(&path).unwrap();
        assert!(StatusSocket::listen(&path).unwrap_err().to_string().contains("another gobonding serves it"));
        drop(first);
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(StatusSocket::listen(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let path = path("file");
        fs::write(&path, "precious").unwrap();
        assert!(StatusSocket::listen(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
    }
}
