//! The YAML as it stands: sections of known keys, read value by value.
//!
//! Each value that is asked for is taken out of its section; what is left over at the end was unknown.
//! Not for: what a value means (`values.rs`, `check.rs`). The only file that knows serde_yaml's types.

use super::faults::Faults;
use serde_yaml::Value;
use std::ops::RangeInclusive;

/// A mapping in the file. Its keys are taken out one after the other; `finish` reports the rest.
#[derive(Debug)]
pub struct Section {
    place: String,
    entries: Vec<(String, Value)>,
    known: Vec<&'static str>,
}

/// One value in the file: a word or number as text, or something with parts.
#[derive(Debug)]
pub enum Entry {
    Text(String),
    Section(Section),
    List(Vec<Entry>),
}

/// Reads a whole file. `None`: it is not even YAML, the fault says where.
pub fn parse(text: &str, faults: &mut Faults) -> Option<Section> {
    let value: Value = match serde_yaml::from_str(text) {
        Ok(v) => v,
        Err(e) => {
            faults.note("", format!("this is no YAML: {e}"), syntax_remedy(text));
            return None;
        }
    };
    match entry("", value, faults) {
        Some(Entry::Section(s)) => Some(s),
        None => Some(Section { place: String::new(), entries: Vec::new(), known: Vec::new() }),
        Some(_) => {
            faults.note("", "the file is no list of `key: value` lines", "see etc/ for a sample");
            None
        }
    }
}

impl Section {
    /// The whole path of a key in this section: `reorder.wait_ms`.
    pub fn place(&self, key: &str) -> String {
        join(&self.place, key)
    }

    /// Whether the key is there and not empty. Does not take it.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, v)| k == key && !is_empty(v))
    }

    /// A word, number or block of text; empty ones count as absent.
    pub fn text(&mut self, key: &'static str, faults: &mut Faults) -> Option<String> {
        match self.entry(key, faults)? {
            Entry::Text(t) => Some(t),
            _ => {
                faults.note(&self.place(key), "has parts of its own", "write one value after the colon");
                None
            }
        }
    }

    /// A value that `read` understands; its refusal (what is wrong, what would be right) is a fault.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        faults: &mut Faults,
        read: impl FnOnce(&str) -> Result<T, super::values::Refusal>,
    ) -> Option<T> {
        let text = self.text(key, faults)?;
        read(text.trim()).map_err(|r| faults.value(&self.place(key), text.trim(), &r.wrong, r.remedy)).ok()
    }

    /// A whole number within bounds.
    pub fn number(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
        faults: &mut Faults,
    ) -> Option<u64> {
        self.parsed(key, faults, |t| super::values::number(t, bounds))
    }

    /// A mapping with keys of its own.
    pub fn section(&mut self, key: &'static str, faults: &mut Faults) -> Option<Section> {
        match self.entry(key, faults)? {
            Entry::Section(s) => Some(s),
            _ => {
                let remedy = "write `key: value` lines under it, indented";
                faults.note(&self.place(key), "has no parts", remedy);
                None
            }
        }
    }

    /// The value of a key, whatever it is.
    pub fn entry(&mut self, key: &'static str, faults: &mut Faults) -> Option<Entry> {
        self.known.push(key);
        let at = self.entries.iter().position(|(k, _)| k == key)?;
        let (_, value) = self.entries.remove(at);
        entry(&self.place(key), value, faults)
    }

    /// All keys with their values, for a mapping whose keys are names.
    pub fn into_entries(self, faults: &mut Faults) -> Vec<(String, Option<Entry>)> {
        let place = self.place;
        self.entries
            .into_iter()
            .map(|(k, v)| {
                let e = entry(&join(&place, &k), v, faults);
                (k, e)
            })
            .collect()
    }

    /// Makes a fault of every key that nobody asked for.
    pub fn finish(mut self, faults: &mut Faults) {
        self.known.sort_unstable();
        for (key, _) in &self.entries {
            faults.unknown_key(&self.place(key), key, &self.known);
        }
    }
}

fn entry(place: &str, value: Value, faults: &mut Faults) -> Option<Entry> {
    if is_empty(&value) {
        return None;
    }
    match value {
        Value::Null => None,
        Value::Bool(b) => Some(Entry::Text(b.to_string())),
        Value::Number(n) => Some(Entry::Text(n.to_string())),
        Value::String(s) => Some(Entry::Text(s)),
        Value::Tagged(t) => entry(place, t.value, faults),
        Value::Sequence(items) => Some(Entry::List(
            items
                .into_iter()
                .enumerate()
                .filter_map(|(i, v)| entry(&format!("{place}[{i}]"), v, faults))
                .collect(),
        )),
        Value::Mapping(map) => {
            let mut entries = Vec::new();
            for (key, value) in map {
                match key {
                    Value::String(s) => entries.push((s, value)),
                    Value::Number(n) => entries.push((n.to_string(), value)),
                    Value::Bool(b) => entries.push((b.to_string(), value)),
                    _ => faults.note(place, "a key here is no word", "write `key: value`"),
                }
            }
            Some(Entry::Section(Section { place: place.to_owned(), entries, known: Vec::new() }))
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.trim().is_empty(),
        _ => false,
    }
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        return key.to_owned();
    }
    format!("{place}.{key}")
}

/// Key blocks without indentation are the mistake that people make with PEM in YAML.
fn syntax_remedy(text: &str) -> &'static str {
    if text.lines().any(|l| l.starts_with("-----BEGIN")) {
        return "begin key blocks with `privatekey: |` and indent each of their lines by two spaces";
    }
    if text.contains('\t') {
        return "indent with spaces, YAML takes no tabs";
    }
    "write `key: value`, with a space after the colon and equal indentation in a section"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn faults() -> Faults {
        Faults::of(Path::new("x.yml"))
    }

    #[test]
    fn what_nobody_asked_for_is_a_fault() {
        let mut f = faults();
        let mut s = parse("tunname: tun0\nmonitorpth: /x\n", &mut f).unwrap();
        assert_eq!(s.text("tunname", &mut f), Some("tun0".into()));
        assert_eq!(s.text("monitorpath", &mut f), None);
        s.finish(&mut f);
        assert_eq!(f.list().len(), 1);
        assert!(f.list()[0].remedy.contains("monitorpath"), "{f}");
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        let mut f = faults();
        let mut s = parse("monitorpath: \"\"\nbalancer:\n", &mut f).unwrap();
        assert_eq!(s.text("monitorpath", &mut f), None);
        assert_eq!(s.text("balancer", &mut f), None);
        s.finish(&mut f);
        assert!(f.is_empty());
    }

    #[test]
    fn a_key_block_without_indentation_gets_its_own_remedy() {
        let mut f = faults();
        let text = "privatekey: |\n-----BEGIN RSA PRIVATE KEY-----\nabc: [\n";
        assert!(parse(text, &mut f).is_none());
        assert!(f.to_string().contains("indent each of their lines"), "{f}");
    }

    #[test]
    fn an_empty_file_has_no_keys() {
        let mut f = faults();
        assert!(parse("", &mut f).is_some());
        assert!(f.is_empty());
    }
}
