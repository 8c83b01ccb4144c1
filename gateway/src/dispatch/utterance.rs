//! One utterance as its dispatcher sees it: what was asked for, what came back, what is still owed.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use shared::{
    agreement::{ends_sentence, following},
    bus::EntryId,
    ids::{Revision, SessionId, UtteranceId},
    jobs::{JobKind, SpeechJob},
    language::{Language, Source},
    wire::{Caption, GapReason, ServerMessage, Word},
};

use super::{Conditions, FIRST_PARTIAL_MS, PARTIAL_TIMEOUT, Settings};

/// BCP 47 (ISO 639-2): nobody can tell the language.
const UNDETERMINED: &str = "und";

/// The final of an utterance in one lane.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) enum Lane {
    #[default]
    Open,
    /// It is there, but an earlier utterance's is not. Empty: nothing will be said in this lane.
    Held(Option<Box<ServerMessage>>),
    Closed,
}

/// A language and how sure the model is of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Heard {
    pub(super) language: Language,
    pub(super) probability: Option<f32>,
}

/// The session's part of a job.
pub(super) struct Asking<'a> {
    pub(super) session: SessionId,
    pub(super) conditions: &'a Conditions,
    /// What was said before.
    pub(super) context: &'a str,
    /// Language of the session so far, where it was not given.
    pub(super) language: Option<&'a Language>,
    /// New terms hold for what is not heard yet, open utterances included.
    pub(super) settings: &'a Settings,
}

/// What stays of an utterance that is split: its tail is the beginning of the next.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Carried {
    /// What the client had said of the language.
    pub(super) source: Source,
    pub(super) tail: String,
    pub(super) hidden: String,
    pub(super) words: Vec<Word>,
    pub(super) end_ms: u64,
    pub(super) heard: Option<Heard>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Utterance {
    /// Languages it was opened with.
    pub(super) source: Source,
    pub(super) targets: Vec<Language>,
    pub(super) start_ms: u64,
    /// Where its speech begins, behind what was taken along; known here.
    #[serde(skip)]
    pub(super) speech_ms: u64,
    pub(super) end_ms: u64,
    pub(super) last_entry: Option<EntryId>,
    pub(super) ended: bool,
    /// Share of its audio that surely holds speech.
    pub(super) speech_share: f32,
    /// Newest revision asked for.
    pub(super) asked: Revision,
    pub(super) asked_kind: JobKind,
    #[serde(skip)]
    pub(super) asked_at: Option<Instant>,
    /// When its final was asked for, here.
    #[serde(skip)]
    pub(super) final_at: Option<Instant>,
    /// End of the audio of the newest decode that was answered, here.
    #[serde(skip)]
    pub(super) heard_to_ms: Option<u64>,
    /// Whether words of it were shown; of one that another gateway began, nobody knows when.
    #[serde(skip, default = "yes")]
    pub(super) voiced: bool,
    pub(super) asked_end_ms: u64,
    pub(super) committed: String,
    pub(super) tail: String,
    /// End of the newest hypothesis, which is not shown.
    pub(super) hidden: String,
    /// The words of committed text and tail, where the client wants them.
    pub(super) words: Vec<Word>,
    /// The language its text so far is in.
    pub(super) heard: Option<Heard>,
    /// It was split where its committed text ends.
    pub(super) complete: bool,
    /// The model lost its way in it.
    pub(super) reset: bool,
    /// A partial failed in a way that the next would too.
    pub(super) no_partials: bool,
    pub(super) caption: Lane,
    pub(super) translations: Vec<TargetLane>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TargetLane {
    pub(super) target: Language,
    pub(super) shown: Revision,
    /// Committed text the client has.
    pub(super) committed: String,
    /// Tail the client has.
    pub(super) tail: String,
    pub(super) lane: Lane,
}

fn yes() -> bool {
    true
}

impl Utterance {
    pub(super) fn new(settings: &Settings, start_ms: u64, speech_ms: u64) -> Self {
        let lane = |target: &Language| TargetLane {
            target: target.clone(),
            shown: Revision(0),
            committed: String::new(),
            tail: String::new(),
            lane: Lane::Open,
        };
        Self {
            translations: settings.targets.iter().map(lane).collect(),
            source: settings.source.clone(),
            targets: settings.targets.clone(),
            start_ms,
            speech_ms,
            end_ms: start_ms,
            last_entry: None,
            ended: false,
            speech_share: 1.0,
            asked: Revision(0),
            asked_kind: JobKind::Partial,
            asked_at: None,
            final_at: None,
            heard_to_ms: None,
            voiced: false,
            asked_end_ms: start_ms,
            committed: String::new(),
            tail: String::new(),
            hidden: String::new(),
            words: Vec::new(),
            heard: None,
            complete: false,
            reset: false,
            no_partials: false,
            caption: Lane::Open,
        }
    }

    pub(super) fn due_kind(&self, partials: bool, interval_ms: u64, now: Instant) -> Option<JobKind> {
        self.last_entry?;
        if self.ended {
            return (self.asked_kind == JobKind::Partial && matches!(self.caption, Lane::Open))
                .then_some(JobKind::Final);
        }
        let free = self.asked_at.is_none_or(|at| now.duration_since(at) >= PARTIAL_TIMEOUT);
        let first = self.asked_end_ms == self.start_ms;
        let (since, more) = if first { (self.start_ms, FIRST_PARTIAL_MS) } else { (self.asked_end_ms, interval_ms) };
        let wanted = since.saturating_add(more);
        (partials && !self.no_partials && free && self.end_ms >= wanted).then_some(JobKind::Partial)
    }

    pub(super) fn ask(&mut self, id: UtteranceId, kind: JobKind, asking: &Asking<'_>, now: Instant) -> SpeechJob {
        self.asked = self.asked.next();
        self.asked_kind = kind;
        self.asked_at = Some(now);
        self.final_at = (kind == JobKind::Final).then_some(now);
        self.asked_end_ms = self.end_ms;
        let conditions = asking.conditions;
        let long = self.end_ms.saturating_sub(self.start_ms) >= conditions.locate_after_ms();
        SpeechJob {
            session: asking.session,
            utterance: id,
            revision: self.asked,
            kind,
            last_entry: self.last_entry.unwrap_or(EntryId::START),
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            source: self.language_to_hear(),
            expected_language: asking.language.cloned(),
            targets: self.targets.clone(),
            words: conditions.words,
            locate: kind == JobKind::Partial && long,
            complete: self.complete,
            speech_share: self.speech_share,
            committed: self.committed.clone(),
            tail: self.tail.clone(),
            hidden: self.hidden.clone(),
            context: asking.context.to_owned(),
            glossary: asking.settings.glossary.clone(),
            trace_parent: String::new(),
        }
    }

    /// The language to decode in: text that is committed is in one language, so what follows it is as well.
    fn language_to_hear(&self) -> Source {
        match (&self.source, &self.heard) {
            (Source::Auto, Some(heard)) if !self.committed.is_empty() => Source::Language(heard.language.clone()),
            (source, _) => source.clone(),
        }
    }

    /// Notes what language a caption is in; one whose language was decided before says so as it was decided.
    pub(super) fn hear(&mut self, caption: &mut Caption) {
        if self.source != Source::Auto || caption.language.as_str() == UNDETERMINED {
            return;
        }
        if caption.language_probability.is_none() {
            caption.language_probability = self.heard.as_ref().and_then(|heard| heard.probability);
        }
        let (language, probability) = (caption.language.clone(), caption.language_probability);
        self.heard = Some(Heard { language, probability });
    }

    /// Whether to split it where its committed text ends: a long utterance at the end of a sentence, a very long one behind
    /// any word.
    pub(super) fn wants_split(&self, conditions: &Conditions) -> bool {
        let very_long = self.end_ms.saturating_sub(self.start_ms) >= conditions.split_anywhere_after_ms();
        !self.ended && (very_long || ends_sentence(&self.committed))
    }

    /// Takes the tail away, for the next utterance to begin with.
    pub(super) fn carry(&mut self) -> Carried {
        let (tail, hidden) = (std::mem::take(&mut self.tail), std::mem::take(&mut self.hidden));
        let count = |text: &str| text.split_whitespace().count();
        let mut words = std::mem::take(&mut self.words);
        // In a script without spaces nobody can tell here which words are the tail's.
        let known = words.len() == count(&self.committed) + count(&tail);
        let words = if known { words.split_off(count(&self.committed)) } else { Vec::new() };
        let source = self.source.clone();
        Carried { source, tail, hidden, words, end_ms: self.asked_end_ms, heard: self.heard.clone() }
    }

    /// What is on the screen of it, once more. One whose final is asked for keeps its revision: the answer bears it.
    pub(super) fn shown_again(&mut self, id: UtteranceId) -> Option<ServerMessage> {
        let asked = self.asked;
        let message = self.shown(id, self.asked_end_ms);
        if self.asked_kind == JobKind::Final {
            self.asked = asked;
        }
        message
    }

    /// What is on the screen of it, as a new revision; `None` before there is a language to say.
    pub(super) fn shown(&mut self, id: UtteranceId, end_ms: u64) -> Option<ServerMessage> {
        let heard = self.heard.clone();
        let (language, language_probability) = match (&self.source, heard) {
            (Source::Language(given), _) => (given.clone(), None),
            (Source::Auto, heard) => heard.map(|heard| (heard.language, heard.probability))?,
        };
        self.asked = self.asked.next();
        Some(ServerMessage::Caption(Caption {
            utterance: id,
            revision: self.asked,
            start_ms: self.start_ms,
            end_ms,
            language,
            language_probability,
            committed: self.committed.clone(),
            tail: following(&self.committed, &self.tail),
            words: self.words.clone(),
            is_final: false,
        }))
    }

    pub(super) fn owes(&self) -> bool {
        !matches!(self.caption, Lane::Closed) || self.translations.iter().any(|t| !matches!(t.lane, Lane::Closed))
    }

    pub(super) fn close_silently(&mut self) {
        self.caption = Lane::Held(None);
        for lane in &mut self.translations {
            lane.lane = Lane::Held(None);
        }
    }

    pub(super) fn fail(&mut self, gap: ServerMessage) {
        if matches!(self.caption, Lane::Open) {
            self.close_silently();
            self.caption = Lane::Held(Some(Box::new(gap)));
        }
    }

    pub(super) fn fail_target(&mut self, target: &Language, gap: ServerMessage) {
        let lane = self.translations.iter_mut().find(|l| &l.target == target);
        if let Some(lane) = lane.filter(|l| matches!(l.lane, Lane::Open)) {
            lane.lane = Lane::Held(Some(Box::new(gap)));
        }
    }

    pub(super) fn give_up(&mut self, id: UtteranceId) {
        let (from_ms, to_ms, reason) = (self.start_ms, self.end_ms, GapReason::TimedOut);
        let gap = |target| ServerMessage::Gap { utterance: Some(id), target, from_ms, to_ms, reason };
        if matches!(self.caption, Lane::Open) {
            self.fail(gap(None));
        }
        for lane in self.translations.iter_mut().filter(|l| matches!(l.lane, Lane::Open)) {
            lane.lane = Lane::Held(Some(Box::new(gap(Some(lane.target.clone())))));
        }
    }
}
