//! A corpus of recordings, with what is said in them word by word and when: `corpus.json` and the sound files beside it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use shared::{
    language::{Language, Source},
    wire::AudioFormat,
};

use super::words::{Word, words};
use crate::recording::Recording;

/// What a recording goes on after its last sentence when it is cut short: no next word may be in it.
const AFTER_CUT_MS: u64 = 300;

/// `corpus.json`.
#[derive(Debug, Clone, Deserialize)]
struct Corpus {
    recordings: Vec<Reference>,
}

/// One recording and what is said in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Reference {
    /// Its name, for people.
    pub(super) name: String,
    /// What it is an example of: `clean`, `babble-10`, `silence`.
    pub(super) group: String,
    /// The sound, beside `corpus.json`.
    pub(super) file: PathBuf,
    /// How long it is.
    pub(super) duration_ms: u64,
    /// Language spoken, or `auto`.
    pub(super) language: Source,
    /// Languages it can be translated into.
    #[serde(default)]
    pub(super) targets: Vec<Language>,
    /// Whether anybody speaks in it.
    pub(super) speech: bool,
    /// What is said, in order.
    #[serde(default)]
    pub(super) utterances: Vec<Spoken>,
}

/// One sentence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Spoken {
    /// What is said.
    pub(super) text: String,
    /// In which language.
    pub(super) language: Language,
    /// Translations of it.
    #[serde(default)]
    pub(super) translations: BTreeMap<Language, String>,
    /// Where its first word begins, milliseconds since the start of the recording.
    pub(super) start_ms: u64,
    /// Where its last word ends.
    pub(super) end_ms: u64,
    /// The words of `text`, as blanks part them.
    pub(super) words: Vec<SpokenWord>,
}

/// One word and when it is said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SpokenWord {
    /// The word with its punctuation.
    pub(super) text: String,
    /// Where it begins, milliseconds since the start of the recording.
    pub(super) start_ms: u64,
    /// Where it ends.
    pub(super) end_ms: u64,
}

/// A word of the reference as it is compared, with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimedWord {
    /// The word.
    pub(super) word: Word,
    /// Where it begins, milliseconds since the start of the recording.
    pub(super) start_ms: u64,
    /// Where it ends.
    pub(super) end_ms: u64,
}

/// A recording with its sound in memory.
#[derive(Debug)]
pub(super) struct Loaded {
    /// What is said in it.
    pub(super) reference: Reference,
    /// How the sound is laid out.
    pub(super) format: AudioFormat,
    /// The sound.
    pub(super) pcm: Vec<u8>,
}

impl Spoken {
    /// The words as they are compared. One written word that counts as several (a script without spaces) is said evenly.
    pub(super) fn timed_words(&self) -> Vec<TimedWord> {
        let mut found = Vec::new();
        for spoken in &self.words {
            let parts = words(&spoken.text);
            let (count, length) = (parts.len() as u64, spoken.end_ms.saturating_sub(spoken.start_ms));
            for (n, word) in parts.into_iter().enumerate() {
                let at = |n: u64| spoken.start_ms + length * n / count;
                found.push(TimedWord { word, start_ms: at(n as u64), end_ms: at(n as u64 + 1) });
            }
        }
        found
    }
}

impl Reference {
    /// The language to tell the gateway: the one named, or `auto` where several are spoken.
    pub(super) fn source(&self) -> Source {
        let mut spoken = self.utterances.iter().map(|utterance| utterance.language.primary());
        match spoken.next() {
            Some(first) if spoken.any(|other| other != first) => Source::Auto,
            _ => self.language.clone(),
        }
    }

    /// The part of it that is over within `limit_ms`, cut behind a sentence; `None` when nothing is.
    pub(super) fn within(&self, limit_ms: u64) -> Option<Self> {
        if self.duration_ms <= limit_ms {
            return Some(self.clone());
        }
        if !self.speech {
            return Some(Self { duration_ms: limit_ms, ..self.clone() });
        }
        let over = self.utterances.iter().take_while(|utterance| utterance.end_ms + AFTER_CUT_MS <= limit_ms).count();
        let last = self.utterances[..over].last()?;
        let next = self.utterances.get(over).map_or(u64::MAX, |next| next.start_ms);
        let duration_ms = (last.end_ms + AFTER_CUT_MS).min(next.max(last.end_ms)).min(self.duration_ms);
        Some(Self { duration_ms, utterances: self.utterances[..over].to_vec(), ..self.clone() })
    }
}

/// The recordings of `directory` whose group is among `groups` (all when there are none), sound included. Blocks.
///
/// # Errors
/// When `corpus.json` or a sound cannot be read or does not say what it must.
pub(super) fn load(directory: &Path, groups: &[String]) -> anyhow::Result<Vec<Loaded>> {
    let path = directory.join("corpus.json");
    let text = std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let corpus: Corpus = serde_json::from_slice(&text).with_context(|| format!("{} is no corpus", path.display()))?;
    for group in groups {
        let known = corpus.recordings.iter().any(|recording| recording.group == *group);
        anyhow::ensure!(known, "{}: no recording is of group {group}", path.display());
    }
    let chosen = |recording: &Reference| groups.is_empty() || groups.contains(&recording.group);
    let recordings: Vec<_> = corpus.recordings.into_iter().filter(chosen).collect();
    anyhow::ensure!(!recordings.is_empty(), "{} has no recordings", path.display());
    recordings.into_iter().map(|reference| load_one(directory, reference)).collect()
}

fn load_one(directory: &Path, reference: Reference) -> anyhow::Result<Loaded> {
    for (n, utterance) in reference.utterances.iter().enumerate() {
        let fault = fault(utterance);
        anyhow::ensure!(fault.is_none(), "{}, utterance {n}: {}", reference.name, fault.unwrap_or_default());
    }
    let mut recording = Recording::open(&directory.join(&reference.file))?.with_both_channels();
    let mut pcm = Vec::new();
    while let Some(piece) = recording.next_piece()? {
        pcm.extend(piece);
    }
    Ok(Loaded { format: recording.format(), reference, pcm })
}

/// What is wrong with the times of `utterance`.
fn fault(utterance: &Spoken) -> Option<&'static str> {
    let written = utterance.text.split_whitespace();
    if !written.eq(utterance.words.iter().map(|word| word.text.as_str())) {
        return Some("its words are not those of its text");
    }
    let in_order = utterance.words.windows(2).all(|pair| pair[0].end_ms <= pair[1].end_ms);
    let each = utterance.words.iter().all(|word| word.start_ms <= word.end_ms);
    (!in_order || !each).then_some("its words are not in the order of their times")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A sentence whose words are said evenly.
    pub(in super::super) fn spoken(text: &str, spanish: &str, start_ms: u64, end_ms: u64) -> Spoken {
        let count = text.split_whitespace().count() as u64;
        let at = |n: u64| start_ms + (end_ms - start_ms) * n / count;
        let word = |(n, text): (usize, &str)| SpokenWord {
            text: text.to_owned(),
            start_ms: at(n as u64),
            end_ms: at(n as u64 + 1),
        };
        Spoken {
            text: text.to_owned(),
            language: "en".parse().unwrap(),
            translations: BTreeMap::from([("es".parse().unwrap(), spanish.to_owned())]),
            start_ms,
            end_ms,
            words: text.split_whitespace().enumerate().map(word).collect(),
        }
    }

    /// A recording of `utterances`.
    pub(in super::super) fn reference(utterances: Vec<Spoken>, duration_ms: u64) -> Reference {
        Reference {
            name: "test".to_owned(),
            group: "clean".to_owned(),
            file: PathBuf::new(),
            duration_ms,
            language: "en".parse().unwrap(),
            targets: vec!["es".parse().unwrap()],
            speech: !utterances.is_empty(),
            utterances,
        }
    }

    #[test]
    fn a_word_of_characters_is_said_evenly() {
        let words = spoken("今天 ok", "", 1000, 2000).timed_words();
        let times: Vec<_> = words.iter().map(|word| (word.start_ms, word.end_ms)).collect();
        assert_eq!(times, [(1000, 1250), (1250, 1500), (1500, 2000)]);
    }

    #[test]
    fn several_languages_are_left_to_be_found_out() {
        let mut recording = reference(vec![spoken("a", "a", 0, 500), spoken("b", "b", 900, 1500)], 2000);
        assert_eq!(recording.source(), "en".parse().unwrap());
        recording.utterances[1].language = "es".parse().unwrap();
        assert_eq!(recording.source(), Source::Auto);
    }

    #[test]
    fn a_recording_is_cut_behind_a_sentence() {
        let recording = reference(vec![spoken("a", "a", 100, 500), spoken("b", "b", 600, 1500)], 2000);
        let cut = recording.within(1600).unwrap();
        assert_eq!((cut.duration_ms, cut.utterances.len()), (600, 1));
        assert_eq!(recording.within(1800).unwrap().duration_ms, 1800);
        assert!(recording.within(400).is_none());
        assert_eq!(reference(Vec::new(), 2000).within(700).unwrap().duration_ms, 700);
    }

    #[test]
    fn words_that_are_not_those_of_the_text_are_refused() {
        let mut utterance = spoken("a b", "", 0, 500);
        assert_eq!(fault(&utterance), None);
        utterance.words.swap(0, 1);
        assert!(fault(&utterance).is_some());
    }
}
