//! Key blocks in the file: is it a key, and of the right kind?
//!
//! Not for: using keys (`crypto`). The settings keep the text, the roles read it again.

use super::faults::Faults;
use crate::crypto::identity::{Identity, KeyError, PublicIdentity};

const PRIVATE_REMEDY: &str =
    "paste a block from `-----BEGIN PRIVATE KEY-----` to its END line (`gobonding keygen` makes one)";
const PUBLIC_REMEDY: &str =
    "paste a block from `-----BEGIN PUBLIC KEY-----` to its END line (`gobonding keygen` makes one)";

/// Notes a fault if the text is no private key.
pub(super) fn check_private(place: &str, pem: &str, faults: &mut Faults) {
    let Err(e) = Identity::from_pem(pem) else { return };
    match e {
        KeyError::OtherKind if pem.contains("PUBLIC") => {
            faults.note(place, "is a public key", PRIVATE_REMEDY);
        }
        _ => faults.note(place, wrong(e), PRIVATE_REMEDY),
    }
}

/// Notes a fault if the text is no public key.
pub(super) fn check_public(place: &str, pem: &str, faults: &mut Faults) {
    let Err(e) = PublicIdentity::from_pem(pem) else { return };
    match e {
        KeyError::OtherKind if pem.contains("PRIVATE") => {
            let remedy = "paste the public half, and make a new pair if others have seen this file";
            faults.note(place, "is a private key", remedy);
        }
        _ => faults.note(place, wrong(e), PUBLIC_REMEDY),
    }
}

/// Whether the two are halves of one key; `None` when one of them is no key.
pub(super) fn are_a_pair(private: &str, public: &str) -> Option<bool> {
    let private = Identity::from_pem(private).ok()?;
    let public = PublicIdentity::from_pem(public).ok()?;
    Some(*private.public() == public)
}

/// Whether the two are one public key.
pub(super) fn are_the_same(a: &str, b: &str) -> bool {
    match (PublicIdentity::from_pem(a), PublicIdentity::from_pem(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

fn wrong(e: KeyError) -> String {
    match e {
        KeyError::NotPem => "no key block, or a damaged one".to_owned(),
        KeyError::OtherKind => "a block of another kind".to_owned(),
        KeyError::Encrypted => "a key with a passphrase (`openssl pkey -in FILE` removes it)".to_owned(),
        KeyError::NotRsa => "no RSA key".to_owned(),
        KeyError::Size(bits) => format!("a key of {bits} bits, and only 2048 to 4096 are taken"),
    }
}
