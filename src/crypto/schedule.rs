//! HKDF-SHA256: from X25519 and transcript to keys.
