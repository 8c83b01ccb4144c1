//! What the fuzz targets do: each gives bytes to something that reads what others wrote, and says what must hold afterwards.
//!
//! The crate `fuzz`, which wants the nightly compiler, drives them; `tests/tests/fuzz_corpora.rs` replays the corpora with them on
//! any. A target that fails panics.
//!
//! # Layout
//! - [`wire`]: what clients and gateways tell each other; [`session`]: and in which order
//! - [`head`]: the head of a request; [`token`]: access tokens
//! - [`bus`]: what lies on the bus; [`audio`]: a client's sound; [`recording`]: sound files
//! - [`models`]: files that models come in; [`glossary`]: terms in a text

pub mod audio;
pub mod bus;
pub mod glossary;
pub mod head;
pub mod models;
pub mod recording;
pub mod session;
pub mod token;
pub mod wire;

/// A target: its name, which is that of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 15] = [
    ("client_message", wire::client_message),
    ("session", session::session),
    ("server_event", wire::server_event),
    ("head", head::head),
    ("resume_token", head::resume_token),
    ("token", token::token),
    ("bus_entry", bus::bus_entry),
    ("session_state", bus::session_state),
    ("audio", audio::audio),
    ("recording", recording::recording),
    ("sentencepiece", models::sentencepiece),
    ("tokenizer", models::tokenizer),
    ("weights", models::weights),
    ("gguf", models::gguf),
    ("glossary", glossary::glossary),
];

/// The first line, and what follows it.
fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}
