//! Sign-in over HTTP: a real provider, a hostile one, real routes, a real database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "sign_in/browser.rs"]
mod browser;
#[path = "sign_in/desk.rs"]
mod desk;
#[path = "sign_in/hostile.rs"]
mod hostile;
#[path = "sign_in/native.rs"]
mod native;
#[path = "sign_in/requests.rs"]
mod requests;
#[path = "sign_in/trusted.rs"]
mod trusted;
