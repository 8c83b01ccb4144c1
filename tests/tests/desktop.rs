//! The desktop client as a person has it: a real window on a screen of its own, real sound, a real keychain.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "desktop/captions.rs"]
mod captions;
#[path = "desktop/client.rs"]
mod client;
#[path = "desktop/idle.rs"]
mod idle;
#[path = "desktop/pictures.rs"]
mod pictures;
#[path = "desktop/sign_in.rs"]
mod sign_in;
