//! What was written down while the test ran, and whether a secret is in it, as it is or as it is commonly written.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use reqwest::Response;

/// Secrets by what they are.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<(String, BTreeSet<String>)>);

/// Everything that was written down.
#[derive(Debug, Default)]
pub(crate) struct Artefacts(Vec<(String, String)>);

impl Secrets {
    /// `value` in all the ways it might be written.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        assert!(value.len() >= 8, "{name} is too short to be found by");
        let escaped: String = url_escape(value);
        let ways = [value.to_owned(), escaped, value.replace('/', "\\/"), STANDARD_NO_PAD.encode(value)];
        self.0.push((name.to_owned(), ways.into_iter().map(|way| way.to_lowercase()).collect()));
    }

    pub(crate) fn kinds(&self) -> usize {
        self.0.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len()
    }
}

impl Artefacts {
    pub(crate) fn add(&mut self, name: &str, text: &str) {
        self.0.push((name.to_owned(), text.to_owned()));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, text)| text.len()).sum()
    }

    /// That there was something to look through: each program's log, each one's metrics, keys.
    pub(crate) fn assert_substantial(&self) {
        for (name, text) in &self.0 {
            assert!(!text.is_empty(), "{name} is empty: was it written at all?");
        }
        for wanted in [
            "log of gateway",
            "log of stt-worker",
            "log of translation-worker",
            "metrics of gateway",
            "names of keys in Redis",
        ] {
            assert!(self.0.iter().any(|(name, _)| name == wanted), "no {wanted}");
        }
    }

    /// One line for each secret in each place, with where it stands and without saying it again.
    pub(crate) fn search(&self, secrets: &Secrets) -> Vec<String> {
        let mut hits = Vec::new();
        for (place, text) in &self.0 {
            for (n, line) in text.lines().enumerate() {
                let folded = line.to_lowercase();
                for (name, ways) in &secrets.0 {
                    if let Some(way) = ways.iter().find(|way| folded.contains(way.as_str())) {
                        hits.push(format!(
                            "{name} in {place}, line {}: {}",
                            n + 1,
                            folded.replace(way.as_str(), "<IT>")
                        ));
                    }
                }
            }
        }
        hits
    }
}

fn url_escape(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Head and body of an answer, cookies left out: those are for who asked.
pub(crate) async fn whole(answer: Response) -> String {
    let mut text = format!("{}\n", answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "set-cookie") {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text + &answer.text().await.unwrap()
}
