//! Faults: what is wrong in a file, where, and what would be right. All of them, not the first.
//!
//! Not for: finding them (`schema.rs`, `check.rs`).

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong in a config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Way to the value: `channels.wan0.proxy`; empty for the file as a whole.
    pub place: String,
    /// What is wrong, beginning with the value where there is one.
    pub wrong: String,
    /// What would be right.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        write!(f, "{}; {}", self.wrong, self.remedy)
    }
}

/// The faults of one file, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    file: PathBuf,
    list: Vec<Fault>,
}

impl Faults {
    /// No faults yet.
    pub fn of(file: &Path) -> Faults {
        Faults { file: file.to_owned(), list: Vec::new() }
    }

    /// Notes a fault whose text stands for itself.
    pub fn note(&mut self, place: &str, wrong: impl Into<String>, remedy: impl Into<String>) {
        self.list.push(Fault { place: place.to_owned(), wrong: wrong.into(), remedy: remedy.into() });
    }

    /// Notes a fault of a value, which is shown in quotes and shortened.
    pub fn value(&mut self, place: &str, value: &str, wrong: &str, remedy: impl Into<String>) {
        self.note(place, format!("{} {wrong}", quoted(value)), remedy);
    }

    /// Notes an unknown key and names the known one that it resembles.
    pub fn unknown_key(&mut self, place: &str, key: &str, known: &[&str]) {
        let remedy = match nearest(key, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.note(place, "unknown key", remedy);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The faults found.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.list.len();
        write!(f, "{}: {n} fault{}", self.file.display(), if n == 1 { "" } else { "s" })?;
        for fault in &self.list {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The value in quotes, without line breaks, at most 40 characters of it.
pub fn quoted(value: &str) -> String {
    let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 40 {
        return format!("{line:?}");
    }
    format!("{:?}", line.chars().take(37).chain("...".chars()).collect::<String>())
}

/// The known key that a mistyped one resembles: case, `_` and `-` do not count, and at most a third
/// of its letters may differ.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |s: &str| s.to_lowercase().replace(['_', '-'], "");
    let wanted = plain(key);
    known
        .iter()
        .map(|k| (edit_distance(&wanted, &plain(k)), *k))
        .min()
        .filter(|(d, k)| *d <= (wanted.len().max(k.len()) / 3).max(1))
        .map(|(_, k)| k)
}

/// Letters to insert, delete, replace or swap with their neighbour to turn `a` into `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 6] = ["tunname", "monitorpath", "monitortick", "channels", "publickey", "privatekey"];

    #[test]
    fn a_mistyped_key_finds_its_neighbour() {
        assert_eq!(nearest("tun_name", &KNOWN), Some("tunname"));
        assert_eq!(nearest("TunNmae", &KNOWN), Some("tunname"));
        assert_eq!(nearest("privkey", &KNOWN), Some("privatekey"));
        assert_eq!(nearest("chanels", &KNOWN), Some("channels"));
        assert_eq!(nearest("colour", &KNOWN), None);
    }

    #[test]
    fn faults_print_one_line_each_under_the_file() {
        let mut f = Faults::of(Path::new("/etc/gobonding/gobonding.yml"));
        f.value("balancer", "fastest", "is no balancer", "write adaptive");
        f.unknown_key("tunnmae", "tunnmae", &KNOWN);
        assert_eq!(
            f.to_string(),
            "/etc/gobonding/gobonding.yml: 2 faults\n  balancer: \"fastest\" is no balancer; write adaptive\n  \
             tunnmae: unknown key; did you mean `tunname`?"
        );
    }

    #[test]
    fn a_long_value_is_shortened_to_one_line() {
        let text = quoted(&"line\n".repeat(40));
        assert!(text.chars().count() <= 42 && !text.contains('\n'), "{text}");
    }
}
