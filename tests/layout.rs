//! The house stands as STYLE says: imports go down, files are short, and some words do not appear.
//!
//! Reads the sources as text. What the compiler checks is not checked again.

use std::fs;
use std::path::{Path, PathBuf};

/// What lies in `src/` and what it may import, from the lowest floor to the roof.
const HOUSE: [(&str, &[&str]); 12] = [
    ("units", &[]),
    ("wire", &["units"]),
    ("crypto", &["units", "wire"]),
    ("channel", &["units", "wire", "crypto"]),
    ("tunnel", &["units", "wire", "crypto", "channel"]),
    ("io", &["units"]),
    ("config", &["units", "wire", "crypto", "channel", "tunnel", "io"]),
    ("monitor", &["units", "wire", "crypto", "channel", "tunnel", "io", "config"]),
    ("threads", &["units", "wire", "crypto", "channel", "tunnel", "monitor", "io", "config"]),
    ("role", &["units", "wire", "crypto", "channel", "tunnel", "monitor", "threads", "io", "config"]),
    ("cli", &["units", "wire", "crypto", "channel", "tunnel", "monitor", "threads", "role", "io", "config"]),
    ("main", &["cli", "role", "config", "threads", "monitor", "io", "crypto", "units"]),
];

/// The floors that know no clock, file, socket, thread or lock.
const CORE: [&str; 5] = ["units", "wire", "crypto", "channel", "tunnel"];

/// Lines of code in one file, without tests, comments and blank lines.
const CODE_LINES_MAX: usize = 400;

/// Words that no code in `src/` has, and where they are allowed all the same.
const BANNED: [(&str, &[&str]); 11] = [
    (".unwrap()", &[]),
    ("unsafe ", &["src/io/sys.rs"]),
    ("allow(unsafe_code", &["src/io/sys.rs", "src/io/mod.rs"]),
    ("unbounded(", &[]),
    ("thread::sleep", &[]),
    ("static mut ", &[]),
    ("todo!(", &[]),
    ("unimplemented!(", &[]),
    ("dbg!(", &[]),
    ("TODO", &[]),
    ("FIXME", &[]),
];

/// Words that the core does not have: whoever needs them lives higher up.
const BANNED_IN_CORE: [&str; 9] = [
    "Instant::now",
    "SystemTime",
    "std::fs",
    "std::thread",
    "UdpSocket",
    "Mutex",
    "RwLock",
    "crossbeam",
    "std::process",
];

/// Names that say nothing.
const BANNED_NAMES: [&str; 7] = ["util", "utils", "misc", "helper", "helpers", "manager", "common"];

/// One source file.
struct Source {
    /// As in `src/wire/header.rs`.
    path: String,
    /// What lies in `src/`: `wire`.
    floor: String,
    text: String,
    /// Without comments, strings' contents kept, up to the tests at the end; with line numbers.
    code: Vec<(usize, String)>,
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for s in sources().iter().filter(|s| s.floor != "lib") {
        let Some((_, allowed)) = HOUSE.iter().find(|(name, _)| *name == s.floor) else {
            wrong.push(format!("{}: {} is on no floor; give it a place in tests/layout.rs", s.path, s.floor));
            continue;
        };
        for (line, code) in &s.code {
            for target in imports(code) {
                let known = HOUSE.iter().any(|(name, _)| *name == target);
                if known && target != s.floor && !allowed.contains(&target.as_str()) {
                    wrong.push(format!("{}:{line}: {} may not use {target}", s.path, s.floor));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let long =
        |s: &Source| (s.code.len() > CODE_LINES_MAX).then(|| format!("{}: {} lines", s.path, s.code.len()));
    let wrong: Vec<String> = sources().iter().filter_map(long).collect();
    assert!(wrong.is_empty(), "more than {CODE_LINES_MAX} lines of code:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let mute = |s: &Source| (!s.text.starts_with("//! ")).then(|| s.path.clone());
    let mut wrong: Vec<String> = sources().iter().filter_map(mute).collect();
    for dir in ["tests", "examples", "benches"] {
        let files = rust_files(&root().join(dir));
        wrong.extend(files.iter().filter(|f| !read(f).starts_with("//! ")).map(|f| shown(f)));
    }
    assert!(wrong.is_empty(), "no //! comment at the head:\n{}", wrong.join("\n"));
}

#[test]
fn banned_words_do_not_appear() {
    let mut wrong = Vec::new();
    for s in sources() {
        for (line, code) in &s.code {
            for (word, exceptions) in BANNED {
                if code.contains(word) && !exceptions.contains(&s.path.as_str()) {
                    wrong.push(format!("{}:{line}: {word}", s.path));
                }
            }
        }
        // In comments, too; the tests may not leave them behind either.
        for (i, line) in s.text.lines().enumerate() {
            if line.contains("TODO") || line.contains("FIXME") {
                wrong.push(format!("{}:{}: {}", s.path, i + 1, line.trim()));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for s in sources().iter().filter(|s| CORE.contains(&s.floor.as_str())) {
        for (line, code) in &s.code {
            for word in BANNED_IN_CORE.iter().filter(|w| code.contains(**w)) {
                wrong.push(format!("{}:{line}: {word} in the core", s.path));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn names_say_something() {
    let mut wrong = Vec::new();
    for s in sources() {
        for part in s.path.trim_end_matches(".rs").split('/') {
            if BANNED_NAMES.contains(&part) {
                wrong.push(format!("{}: {part}", s.path));
            }
        }
        for (line, code) in &s.code {
            let name = code
                .trim_start()
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ")
                .strip_prefix("mod ");
            if name.is_some_and(|n| BANNED_NAMES.contains(&n.trim_end_matches([';', ' ', '{']))) {
                wrong.push(format!("{}:{line}: {code}", s.path));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn this_test_would_notice() {
    let s = source(
        "src/wire/x.rs",
        "//! x\nuse crate::tunnel::y; // crate::role\n/// .unwrap()\nfn f() { a.unwrap() }\n",
    );
    assert_eq!(s.floor, "wire");
    assert_eq!(s.code.iter().map(|c| c.0).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(imports(&s.code[0].1), ["tunnel"]);
    assert!(s.code[1].1.contains(BANNED[0].0));
    let tests = source("src/cli.rs", "//! x\nfn f() {}\n#[cfg(test)]\nmod tests { a.unwrap() }\n");
    assert_eq!((tests.floor.as_str(), tests.code.len()), ("cli", 1));
}

/// Targets of `crate::` and `gobonding::` paths in a line.
fn imports(code: &str) -> Vec<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for root in ["crate::", "gobonding::"] {
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(list) => {
                    let list = list.split('}').next().unwrap_or_default();
                    found.extend(list.split(',').map(|part| word(part.trim())));
                }
                None => found.push(word(rest)),
            }
        }
    }
    found
}

fn sources() -> Vec<Source> {
    let files = rust_files(&root().join("src"));
    assert!(files.len() > 10, "the sources are not where this test looks");
    files.iter().map(|f| source(&shown(f), &read(f))).collect()
}

fn source(path: &str, text: &str) -> Source {
    let inside = path.trim_start_matches("src/");
    let floor = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_string();
    let mut code = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.starts_with("#[cfg(test)]") || path.ends_with("/tests.rs") {
            break;
        }
        let line = without_comment(line);
        if !line.trim().is_empty() {
            code.push((i + 1, line.to_string()));
        }
    }
    Source { path: path.to_string(), floor, text: text.to_string(), code }
}

/// A line up to its comment; two slashes in a string (as in an address) do not begin one.
fn without_comment(line: &str) -> &str {
    let starts = |at: usize| at == 0 || line[..at].ends_with([' ', ';', '{', '}', ',', '(']);
    let in_string = |at: usize| line[..at].matches('"').count() % 2 == 1;
    match line.match_indices("//").find(|(at, _)| starts(*at) && !in_string(*at)) {
        Some((at, _)) => &line[..at],
        None => line,
    }
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|e| e.expect("a folder can be listed").path()) {
        match path.is_dir() {
            true => files.extend(rust_files(&path)),
            false if path.extension().is_some_and(|x| x == "rs") => files.push(path),
            false => {}
        }
    }
    files.sort();
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a source file is text")
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}
