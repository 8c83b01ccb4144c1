//! What a client had on its screen, and when: the events of a session, by utterance and language.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::{
    ids::{Revision, UtteranceId},
    language::Language,
    wire::{Event, ServerMessage},
};

use super::{
    alignment::{Placed, standing},
    figures::Delay,
    words::{Word, words},
};

/// An event and when it came.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Arrival {
    /// Milliseconds since the client's first sample was spoken.
    pub(super) at_ms: u64,
    /// What came.
    #[serde(flatten)]
    pub(super) event: Event,
}

/// One state of a text on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// When it came, milliseconds since the first sample.
    pub(super) at_ms: u64,
    /// End of the audio it was heard in.
    pub(super) audio_ms: u64,
    /// Text that will not change.
    pub(super) committed: String,
    /// The rest, with its own space before it.
    pub(super) tail: String,
    /// Whether it is the last.
    pub(super) is_final: bool,
}

/// One utterance in one language.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    /// Start of its audio, milliseconds since the first sample.
    pub(super) start_ms: u64,
    /// End of its audio.
    pub(super) end_ms: u64,
    /// Its states, in the order they came.
    pub(super) shown: Vec<Shown>,
}

/// Utterances in the order of speech.
pub(super) type Views = BTreeMap<UtteranceId, View>;

impl Shown {
    /// What people see.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.committed, self.tail)
    }
}

impl View {
    /// What was seen, state by state.
    pub(super) fn texts(&self) -> Vec<String> {
        self.shown.iter().map(Shown::text).collect()
    }

    /// The final text and its arrival.
    pub(super) fn last(&self) -> Option<&Shown> {
        self.shown.iter().find(|shown| shown.is_final)
    }

    /// Words of the final text.
    pub(super) fn words(&self) -> Vec<Word> {
        self.last().map(|last| words(&last.committed)).unwrap_or_default()
    }

    /// For each word of the final text, when it first stood at its place on the screen, and when it was committed there.
    pub(super) fn appearances(&self) -> Vec<Appearance> {
        let fold = |text: &str| words(text).into_iter().map(|word| word.folded).collect::<Vec<_>>();
        let whole: Vec<String> = self.words().into_iter().map(|word| word.folded).collect();
        let mut appearances = vec![Appearance::default(); whole.len()];
        for shown in &self.shown {
            let now = Delay { wall_ms: shown.at_ms as f64, audio_ms: shown.audio_ms as f64 };
            let seen = standing(&fold(&shown.text()), &whole);
            let settled = standing(&fold(&shown.committed), &whole);
            for ((appearance, seen), settled) in appearances.iter_mut().zip(seen).zip(settled) {
                if seen {
                    appearance.shown.get_or_insert(now);
                }
                if settled {
                    appearance.committed.get_or_insert(now);
                }
            }
        }
        appearances
    }
}

/// When a word came; the times are points in time, not delays.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Appearance {
    /// First seen.
    pub(super) shown: Option<Delay>,
    /// Committed.
    pub(super) committed: Option<Delay>,
}

/// Captions of a session.
pub(super) fn captions(arrivals: &[Arrival]) -> Views {
    let mut views = opened(arrivals);
    let mut newest: BTreeMap<UtteranceId, Revision> = BTreeMap::new();
    for Arrival { at_ms, event } in arrivals {
        let ServerMessage::Caption(caption) = &event.message else { continue };
        let view = views.entry(caption.utterance).or_default();
        if !take(&mut newest, view, caption.utterance, caption.revision) {
            continue;
        }
        view.start_ms = caption.start_ms;
        view.end_ms = view.end_ms.max(caption.end_ms);
        view.shown.push(Shown {
            at_ms: *at_ms,
            audio_ms: caption.end_ms,
            committed: caption.committed.clone(),
            tail: caption.tail.clone(),
            is_final: caption.is_final,
        });
    }
    views
}

/// Translations of a session into `target`.
pub(super) fn translations(arrivals: &[Arrival], target: &Language) -> Views {
    let mut views = opened(arrivals);
    let mut newest: BTreeMap<UtteranceId, Revision> = BTreeMap::new();
    let mut heard: BTreeMap<(UtteranceId, Revision), u64> = BTreeMap::new();
    for Arrival { at_ms, event } in arrivals {
        match &event.message {
            ServerMessage::Caption(caption) => {
                heard.insert((caption.utterance, caption.revision), caption.end_ms);
                let view = views.entry(caption.utterance).or_default();
                (view.start_ms, view.end_ms) = (caption.start_ms, view.end_ms.max(caption.end_ms));
            }
            ServerMessage::Translation(translation) if translation.target == *target => {
                let id = translation.utterance;
                let view = views.entry(id).or_default();
                if !take(&mut newest, view, id, translation.revision) {
                    continue;
                }
                // A caption that changed nothing was not sent; then the one before it told what was heard.
                let of_caption = heard.range((id, Revision(0))..=(id, translation.revision)).next_back();
                view.shown.push(Shown {
                    at_ms: *at_ms,
                    audio_ms: of_caption.map_or(view.end_ms, |(_, end_ms)| *end_ms),
                    committed: translation.committed.clone(),
                    tail: translation.tail.clone(),
                    is_final: translation.is_final,
                });
            }
            _ => {}
        }
    }
    views
}

/// The utterances that were opened, with their times.
fn opened(arrivals: &[Arrival]) -> Views {
    let mut views = Views::new();
    for Arrival { event, .. } in arrivals {
        match &event.message {
            ServerMessage::SpeechStarted { utterance, start_ms } => {
                let view = views.entry(*utterance).or_default();
                (view.start_ms, view.end_ms) = (*start_ms, (*start_ms).max(view.end_ms));
            }
            ServerMessage::SpeechEnded { utterance, end_ms } => {
                views.entry(*utterance).or_default().end_ms = *end_ms;
            }
            _ => {}
        }
    }
    views
}

/// Whether a client shows this revision: one that is not newer than what it has, or comes after the final, it does not.
fn take(newest: &mut BTreeMap<UtteranceId, Revision>, view: &View, id: UtteranceId, revision: Revision) -> bool {
    if view.last().is_some() || newest.get(&id).is_some_and(|held| *held >= revision) {
        return false;
    }
    newest.insert(id, revision);
    true
}

/// The words of the final texts of `views`, each with the stretch of its utterance, for an alignment. The second is where
/// each comes from: utterance and number of the word.
pub(super) fn final_words(views: &Views) -> (Vec<Placed>, Vec<(UtteranceId, usize)>) {
    let (mut placed, mut origins) = (Vec::new(), Vec::new());
    for (n, (id, view)) in views.iter().enumerate() {
        for (at, word) in view.words().into_iter().enumerate() {
            placed.push(Placed { word: word.folded, start_ms: view.start_ms, end_ms: view.end_ms, utterance: n });
            origins.push((*id, at));
        }
    }
    (placed, origins)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// An event from its JSON.
    pub(in super::super) fn arrival(at_ms: u64, message: serde_json::Value) -> Arrival {
        let mut event = message;
        event["event"] = json!(at_ms);
        Arrival { at_ms, event: serde_json::from_value(event).unwrap() }
    }

    /// A caption of utterance 1 from 0 on: when it came, its revision, the end of its audio, committed and tail.
    pub(in super::super) fn caption(at: u64, revision: u32, end: u64, text: (&str, &str), is_final: bool) -> Arrival {
        arrival(
            at,
            json!({"type": "caption", "utterance": 1, "revision": revision, "start_ms": 0, "end_ms": end,
                "language": "en", "committed": text.0, "tail": text.1, "final": is_final}),
        )
    }

    /// A translation of utterance 1 into Spanish.
    pub(in super::super) fn translation(at: u64, revision: u32, text: (&str, &str), is_final: bool) -> Arrival {
        arrival(
            at,
            json!({"type": "translation", "utterance": 1, "revision": revision, "target": "es",
                "committed": text.0, "tail": text.1, "final": is_final}),
        )
    }

    #[test]
    fn a_word_appears_when_it_first_stands_at_its_place() {
        let arrivals = [
            caption(900, 1, 700, ("", "the bat"), false),
            caption(1400, 2, 1200, ("the", " cat sat"), false),
            caption(2000, 3, 1800, ("the cat", " sad"), false),
            caption(2600, 4, 2000, ("The cat sat.", ""), true),
        ];
        let views = captions(&arrivals);
        let appearances = views[&UtteranceId(1)].appearances();
        let at = |moment: Option<Delay>| moment.map(|moment| (moment.wall_ms, moment.audio_ms));
        let shown: Vec<_> = appearances.iter().map(|word| at(word.shown)).collect();
        assert_eq!(shown, [Some((900.0, 700.0)), Some((1400.0, 1200.0)), Some((1400.0, 1200.0))]);
        let committed: Vec<_> = appearances.iter().map(|word| at(word.committed)).collect();
        assert_eq!(committed, [Some((1400.0, 1200.0)), Some((2000.0, 1800.0)), Some((2600.0, 2000.0))]);
    }

    #[test]
    fn what_a_client_would_not_show_is_not_shown() {
        let arrivals = [
            caption(900, 2, 700, ("", "new"), false),
            caption(950, 1, 500, ("", "old"), false),
            caption(1400, 3, 800, ("new", ""), true),
            caption(1500, 4, 900, ("", "late"), false),
        ];
        assert_eq!(captions(&arrivals)[&UtteranceId(1)].texts(), ["new", "new"]);
    }

    #[test]
    fn a_translation_has_the_audio_of_its_caption() {
        let arrivals = [
            caption(900, 1, 700, ("", "one"), false),
            translation(1000, 1, ("", "uno"), false),
            translation(1500, 2, ("uno", ""), false),
            caption(2000, 3, 1900, ("one two", ""), true),
            translation(2100, 3, ("uno dos", ""), true),
        ];
        let views = translations(&arrivals, &"es".parse().unwrap());
        let audio: Vec<_> = views[&UtteranceId(1)].shown.iter().map(|shown| shown.audio_ms).collect();
        assert_eq!(audio, [700, 700, 1900]);
        let (words, origins) = final_words(&views);
        assert_eq!(words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>(), ["uno", "dos"]);
        assert_eq!(origins, [(UtteranceId(1), 0), (UtteranceId(1), 1)]);
    }
}
