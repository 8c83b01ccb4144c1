//! The Ed25519 keys of our own tokens.
