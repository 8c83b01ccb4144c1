//! Sign-in against an issuer that does its worst.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; figures are read by others"
)]

// The package `tests` has it as well; there it would cost this one everything else that is tested there.
#[path = "../../tests/src/hostile_issuer.rs"]
pub mod hostile_issuer;
#[path = "oidc/id_tokens.rs"]
mod id_tokens;
#[path = "oidc/keys.rs"]
mod keys;
#[path = "oidc/sign_ins.rs"]
mod sign_ins;
