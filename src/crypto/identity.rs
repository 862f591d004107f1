//! RSA keys: who a router and a proxy are.
//!
//! Not for: encryption; RSA signs here and does nothing else, always with blinding, because the time of
//! a private operation can be measured over the network (RUSTSEC-2023-0071).

use rand::CryptoRng;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use rsa::pkcs8::{
    DecodePrivateKey, DecodePublicKey, Document, EncodePrivateKey, EncodePublicKey, LineEnding,
    SecretDocument,
};
use rsa::pss::{Signature, SigningKey, VerifyingKey};
use rsa::signature::{RandomizedSigner, SignatureEncoding, Verifier};
use rsa::traits::PublicKeyParts;
use rsa::{PrivateKey, PublicKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a signature, at most: of a key of 4096 bits.
pub const SIGNATURE_MAX: usize = BITS_MAX as usize / 8;

/// A private key with its public half. Wiped when dropped; `Debug` shows the fingerprint alone.
pub struct Identity {
    key: SigningKey<Sha256>,
    public: PublicIdentity,
}

impl Identity {
    /// Makes a new key of `bits` (2048 to 4096). Takes seconds on a small CPU.
    pub fn generate<R: CryptoRng>(rng: &mut R, bits: u32) -> Result<Identity, KeyError> {
        if !(BITS_MIN..=BITS_MAX).contains(&bits) {
            return Err(KeyError::Size(bits));
        }
        Identity::from_key(PrivateKey::new(rng, bits as usize).map_err(|_| KeyError::NotRsa)?)
    }

    /// Reads `BEGIN RSA PRIVATE KEY` (PKCS#1) or `BEGIN PRIVATE KEY` (PKCS#8).
    pub fn from_pem(pem: &str) -> Result<Identity, KeyError> {
        let pem = tidy(pem)?;
        let (label, der) = SecretDocument::from_pem(&pem).map_err(|_| KeyError::NotPem)?;
        let key = match label {
            "RSA PRIVATE KEY" => PrivateKey::from_pkcs1_der(der.as_bytes()).map_err(|_| KeyError::NotRsa)?,
            "PRIVATE KEY" => PrivateKey::from_pkcs8_der(der.as_bytes()).map_err(|_| KeyError::NotRsa)?,
            _ => return Err(KeyError::OtherKind),
        };
        Identity::from_key(key)
    }

    /// Signs with PSS and SHA-256, salt of 32 bytes; `rng` gives salt and blinding.
    /// `None` when the random source or the key failed.
    pub fn sign<R: CryptoRng>(&self, rng: &mut R, message: &[u8]) -> Option<Vec<u8>> {
        self.key.try_sign_with_rng(rng, message).ok().map(|s| s.to_vec())
    }

    /// The private key as PKCS#8 PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.key.as_ref().to_pkcs8_pem(LineEnding::LF).expect("a key that was read or made can be written")
    }

    /// What the peer needs to recognise this key.
    pub fn public(&self) -> &PublicIdentity {
        &self.public
    }

    fn from_key(key: PrivateKey) -> Result<Identity, KeyError> {
        key.validate().map_err(|_| KeyError::NotRsa)?;
        let public = PublicIdentity::from_key(key.to_public_key())?;
        Ok(Identity { key: SigningKey::new(key), public })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.public.fingerprint)
    }
}

/// The public key of a peer.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicIdentity {
    key: PublicKey,
    fingerprint: Fingerprint,
}

impl PublicIdentity {
    /// Reads `BEGIN PUBLIC KEY` (SPKI) or `BEGIN RSA PUBLIC KEY` (PKCS#1, or SPKI under that label as
    /// the predecessor wrote it).
    pub fn from_pem(pem: &str) -> Result<PublicIdentity, KeyError> {
        let pem = tidy(pem)?;
        let (label, der) = Document::from_pem(&pem).map_err(|_| KeyError::NotPem)?;
        match label {
            "PUBLIC KEY" => PublicIdentity::from_der(der.as_bytes()),
            "RSA PUBLIC KEY" => match PublicKey::from_pkcs1_der(der.as_bytes()) {
                Ok(key) => PublicIdentity::from_key(key),
                Err(_) => PublicIdentity::from_der(der.as_bytes()),
            },
            _ => Err(KeyError::OtherKind),
        }
    }

    /// Reads a SubjectPublicKeyInfo in DER, as a handshake carries it.
    pub fn from_der(der: &[u8]) -> Result<PublicIdentity, KeyError> {
        PublicIdentity::from_key(PublicKey::from_public_key_der(der).map_err(|_| KeyError::NotRsa)?)
    }

    /// Whether the owner of this key signed `message` with PSS and SHA-256, whatever the salt's length
    /// (the predecessor took the longest possible).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::try_from(signature) else { return false };
        VerifyingKey::<Sha256>::new_with_auto_salt_len(self.key.clone()).verify(message, &signature).is_ok()
    }

    /// The public key as SPKI PEM.
    pub fn to_pem(&self) -> String {
        self.key.to_public_key_pem(LineEnding::LF).expect("a key that was read can be written")
    }

    /// The public key as SubjectPublicKeyInfo in DER; at most 550 bytes.
    pub fn to_der(&self) -> Vec<u8> {
        der_of(&self.key)
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn from_key(key: PublicKey) -> Result<PublicIdentity, KeyError> {
        let bits = key.n().bit_width();
        if !(BITS_MIN..=BITS_MAX).contains(&bits) {
            return Err(KeyError::Size(bits));
        }
        let fingerprint = Fingerprint(Sha256::digest(der_of(&key)).into());
        Ok(PublicIdentity { key, fingerprint })
    }
}

impl std::fmt::Debug for PublicIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicIdentity({})", self.fingerprint)
    }
}

/// SHA-256 of the public key (SubjectPublicKeyInfo, DER). `Display` gives the first half in hex, as
/// `openssl pkey -pubin -outform der -in KEY | sha256sum` begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SHA256:")?;
        self.0.iter().take(16).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a PEM block is no usable key. `Display` says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// There is no PEM block, or its base64 is damaged.
    NotPem,
    /// The block is of another kind: a private key where a public one belongs or the other way round.
    OtherKind,
    /// The private key is protected by a passphrase.
    Encrypted,
    /// The block is no RSA key, or its numbers do not fit together.
    NotRsa,
    /// Fewer than 2048 or more than 4096 bits; this many.
    Size(u32),
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyError::NotPem => {
                f.write_str("no whole PEM block (-----BEGIN ... KEY----- to -----END ... KEY-----); copy it again")
            }
            KeyError::OtherKind => f.write_str(
                "a PEM block of another kind; a private key belongs into privatekey, a public one into publickey",
            ),
            KeyError::Encrypted => f.write_str("the key has a passphrase; remove it with `openssl pkey -in FILE`"),
            KeyError::NotRsa => f.write_str("not an intact RSA key; make one with `gobonding keygen`"),
            KeyError::Size(bits) => write!(
                f,
                "an RSA key of {bits} bits; it must have {BITS_MIN} to {BITS_MAX}: make one with `gobonding keygen`"
            ),
        }
    }
}

impl std::error::Error for KeyError {}

/// The first PEM block in `text` with lines as the decoder wants them: config files indent them, editors
/// wrap them and add blanks.
fn tidy(text: &str) -> Result<Zeroizing<String>, KeyError> {
    let (_, rest) = text.split_once("-----BEGIN ").ok_or(KeyError::NotPem)?;
    let (label, rest) = rest.split_once("-----").ok_or(KeyError::NotPem)?;
    let (body, _) = rest.split_once("-----END ").ok_or(KeyError::NotPem)?;
    if label.starts_with("ENCRYPTED") || body.contains("ENCRYPTED") {
        return Err(KeyError::Encrypted);
    }
    let mut out = Zeroizing::new(String::with_capacity(text.len() + text.len() / 64 + 128));
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----");
    for (i, c) in body.chars().filter(|c| !c.is_whitespace()).enumerate() {
        if i % 64 == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push_str("\n-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    Ok(out)
}

fn der_of(key: &PublicKey) -> Vec<u8> {
    key.to_public_key_der().expect("a key that was read or made can be written").into_vec()
}

const BITS_MIN: u32 = 2048;
const BITS_MAX: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{rngs::StdRng, SeedableRng};
    use rsa::pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey};

    #[test]
    fn a_private_key_is_read_in_both_shapes() {
        let identity = identity(1);
        let key: &PrivateKey = identity.key.as_ref();
        for pem in [identity.to_pem(), key.to_pkcs1_pem(LineEnding::CRLF).unwrap()] {
            let indented = pem.replace('\n', "\n    ");
            assert_eq!(Identity::from_pem(&indented).unwrap().public(), identity.public());
        }
    }

    #[test]
    fn a_public_key_is_read_in_three_shapes() {
        let public = identity(1).public().clone();
        let spki = public.to_pem();
        let lying = spki.replace("PUBLIC KEY", "RSA PUBLIC KEY");
        let pkcs1 = public.key.to_pkcs1_pem(LineEnding::LF).unwrap();
        for pem in [spki, lying, pkcs1] {
            assert_eq!(PublicIdentity::from_pem(&pem), Ok(public.clone()), "{pem}");
        }
    }

    #[test]
    fn a_wrong_block_is_named() {
        let identity = identity(1);
        assert_eq!(PublicIdentity::from_pem(&identity.to_pem()), Err(KeyError::OtherKind));
        assert_eq!(Identity::from_pem(&identity.public().to_pem()).unwrap_err(), KeyError::OtherKind);
        assert_eq!(Identity::from_pem("nothing").unwrap_err(), KeyError::NotPem);
        let damaged = identity.to_pem().replace("MII", "M!I");
        assert_eq!(Identity::from_pem(&damaged).unwrap_err(), KeyError::NotPem);
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
        assert_eq!(Identity::from_pem(locked).unwrap_err(), KeyError::Encrypted);
    }

    #[test]
    fn a_short_key_is_refused() {
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(Identity::generate(&mut rng, 1024).unwrap_err(), KeyError::Size(1024));
        let short = PrivateKey::new(&mut rng, 1024).unwrap().to_pkcs8_pem(LineEnding::LF).unwrap();
        assert_eq!(Identity::from_pem(&short).unwrap_err(), KeyError::Size(1024));
    }

    #[test]
    fn a_signature_holds_for_its_key_and_message_whatever_the_salt() {
        let mut rng = StdRng::seed_from_u64(3);
        let (one, two) = (identity(1), identity(2));
        let key: &PrivateKey = one.key.as_ref();
        let longest = SigningKey::<Sha256>::new_with_salt_len(key.clone(), 222);
        let longest = longest.try_sign_with_rng(&mut rng, b"message").unwrap().to_vec();
        for signature in [one.sign(&mut rng, b"message").unwrap(), longest] {
            assert!(one.public().verify(b"message", &signature));
            assert!(!one.public().verify(b"massage", &signature));
            assert!(!two.public().verify(b"message", &signature));
            assert!(!one.public().verify(b"message", &signature[1..]));
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let identity = identity(1);
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.public().fingerprint()));
    }

    fn identity(seed: u64) -> Identity {
        Identity::generate(&mut StdRng::seed_from_u64(seed), 2048).unwrap()
    }
}
