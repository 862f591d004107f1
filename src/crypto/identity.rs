//! RSA keys: who a router and a proxy are.

/// A private key with its public half.
pub struct Identity {}

/// The public key of a peer.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicIdentity {}

/// Why a PEM block is no usable key. `Display` says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// There is no PEM block, or its base64 is damaged.
    NotPem,
    /// The block is of another kind: a private key where a public one belongs or the other way round, encrypted.
    OtherKind,
    /// The block is no RSA key, or its numbers do not fit together.
    NotRsa,
    /// Fewer than 2048 or more than 4096 bits; this many.
    Size(u32),
}

/// SHA-256 of the public key (SubjectPublicKeyInfo, DER). `Display` gives it short, as `SHA256:` and base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Identity {
    /// Makes a new key of `bits` (2048 to 4096). Takes seconds on a small CPU.
    pub fn generate<R: rand::CryptoRng>(_rng: &mut R, _bits: u32) -> Result<Identity, KeyError> {
        todo!()
    }
    /// Reads `BEGIN RSA PRIVATE KEY` (PKCS#1) or `BEGIN PRIVATE KEY` (PKCS#8).
    pub fn from_pem(_pem: &str) -> Result<Identity, KeyError> {
        todo!()
    }
    /// The private key as PKCS#8 PEM.
    pub fn to_pem(&self) -> zeroize::Zeroizing<String> {
        todo!()
    }
    pub fn public(&self) -> PublicIdentity {
        todo!()
    }
}

impl PublicIdentity {
    /// Reads `BEGIN PUBLIC KEY` (SPKI) or `BEGIN RSA PUBLIC KEY` (PKCS#1, or SPKI under that label as
    /// the predecessor wrote it).
    pub fn from_pem(_pem: &str) -> Result<PublicIdentity, KeyError> {
        todo!()
    }
    /// The public key as SPKI PEM.
    pub fn to_pem(&self) -> String {
        todo!()
    }
    pub fn fingerprint(&self) -> Fingerprint {
        todo!()
    }
}
