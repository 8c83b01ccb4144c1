//! Families of refresh tokens.
