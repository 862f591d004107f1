//! The monitor file: replaced as a whole, so that a reader never sees half of it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `text` beside `path` and renames it over it; makes the folder when it is missing.
///
/// Not synced to the disk: after a crash of the machine the file is of no interest.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = beside(path);
    let written = fs::File::create(&fresh).and_then(|mut f| f.write_all(text.as_bytes()));
    if let Err(e) = written.and_then(|()| fs::rename(&fresh, path)) {
        // The first error is what counts; a leftover is overwritten next time.
        let _ = fs::remove_file(&fresh);
        return Err(e);
    }
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = std::env::temp_dir().join(format!("gobonding-file-{}", std::process::id()));
        let path = folder.join("deeper").join("monitor.yml");
        replace(&path, "one\n").unwrap();
        replace(&path, "two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error() {
        assert!(replace(Path::new("/dev/null/monitor.yml"), "x").is_err());
    }
}
