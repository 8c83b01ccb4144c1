//! Which decode is asked for when, and in which order the answers go out. Pure: no bus, no clock of its own.
//!
//! At most one partial of an utterance is in flight; the next is asked for when its answer is back, so under load the
//! update rate sinks by itself and the queue stays bounded by the number of open utterances. A final follows when the
//! utterance ends, whether or not a partial is still out; that partial's answer is then dropped, because the final was
//! asked for with what was committed before it.
//!
//! An utterance that grows long is split where its committed text ends, at the end of a sentence if one comes in time: its
//! final is what is committed, and the next utterance begins with its tail. So speech without a pause is captioned and
//! translated as it goes, and nothing is cut in mid-word.
//!
//! Finals go out in the order of the utterances, captions and each target in a lane of their own: whoever finishes
//! early is held back until all before it are out.

mod conditions;
mod memory;
mod pace;
mod tally;
mod utterance;
mod wording;

use std::{
    collections::BTreeMap,
    mem,
    time::{Duration, Instant},
};

pub(crate) use self::conditions::millis;
pub use self::conditions::{Closed, CommittedEnd, Conditions, Settings};
pub use self::memory::{Memory, MemoryView};
pub use self::tally::{Shown, Since, Stage, Tally};
use self::{
    pace::Pace,
    utterance::{Asking, Carried, Heard, Lane, TargetLane, Utterance},
    wording::{keep, tail_of},
};
use shared::{
    agreement::following,
    bus::EntryId,
    ids::{SessionId, UtteranceId},
    jobs::{JobKind, SessionEvent, SpeechJob},
    language::{Language, Source},
    wire::{Caption, ServerMessage, Translation},
};

/// New audio that makes another partial worthwhile: about the length of a word.
pub const PARTIAL_STEP_MS: u64 = 300;
/// Audio (pre-roll included) before the first partial: 300 ms of pre-roll and about two syllables.
pub const FIRST_PARTIAL_MS: u64 = 700;
/// A partial whose answer is not back by now is given up, and the next one may go.
pub const PARTIAL_TIMEOUT: Duration = Duration::from_secs(6);
/// Longest context handed to the next utterance, in bytes.
const MAX_CONTEXT_BYTES: usize = 240;

/// The dispatcher of one session.
#[derive(Debug)]
pub struct Dispatch {
    session: SessionId,
    conditions: Conditions,
    settings: Settings,
    utterances: BTreeMap<UtteranceId, Utterance>,
    pace: Pace,
    context: String,
    /// Language of the session so far, where the client did not give it.
    language: Option<Language>,
    committed_end: Option<CommittedEnd>,
    carried: Option<Carried>,
    closed: Vec<Closed>,
    /// Whether committed text has grown since it was last asked.
    grown: bool,
    tally: Tally,
}

impl Dispatch {
    /// A session without utterances.
    #[must_use]
    pub fn new(session: SessionId, conditions: Conditions, settings: Settings) -> Self {
        Self {
            session,
            conditions,
            settings,
            utterances: BTreeMap::new(),
            pace: Pace::default(),
            context: String::new(),
            language: None,
            committed_end: None,
            carried: None,
            closed: Vec::new(),
            grown: false,
            tally: Tally::default(),
        }
    }

    /// The settings at present.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes the settings: languages of the utterances opened from now on, terms of all that is heard from now on.
    pub fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        let before = self.settings.source.clone();
        change(&mut self.settings);
        if self.settings.source != before {
            (self.language, self.carried) = (None, None);
            self.context.clear();
        }
    }

    /// An utterance was opened at `start_ms`, its speech begins at `speech_ms`. Where it goes on from one that was split, what was its tail is shown.
    pub fn opened(&mut self, utterance: UtteranceId, start_ms: u64, speech_ms: u64) -> Option<ServerMessage> {
        if self.utterances.is_empty() {
            self.pace.rested();
        }
        let mut state = Utterance::new(&self.settings, start_ms, speech_ms);
        let carried = self.carried.take().filter(|carried| carried.source == self.settings.source);
        let message = carried.and_then(|Carried { tail, hidden, words, end_ms, heard, .. }| {
            let visible = !tail.is_empty();
            (state.tail, state.hidden, state.words, state.heard) = (tail, hidden, words, heard);
            state.voiced = visible;
            if visible { state.shown(utterance, end_ms) } else { None }
        });
        self.utterances.insert(utterance, state);
        message
    }

    /// Audio of an open utterance up to `end_ms` is on the bus.
    pub fn appended(&mut self, utterance: UtteranceId, entry: EntryId, end_ms: u64) {
        if let Some(state) = self.utterances.get_mut(&utterance) {
            state.last_entry = Some(entry);
            state.end_ms = end_ms;
        }
    }

    /// So much of an open utterance surely holds speech, 0 to 1.
    pub fn judged(&mut self, utterance: UtteranceId, speech_share: f32) {
        if let Some(state) = self.utterances.get_mut(&utterance).filter(|state| !state.ended) {
            state.speech_share = speech_share;
        }
    }

    /// An utterance was closed at `end_ms`, all its audio appended; `complete` when it was split where its committed text
    /// ends. Its tail is then taken off the screen, for the next utterance to begin with.
    pub fn ended(&mut self, utterance: UtteranceId, end_ms: u64, complete: bool) -> Option<ServerMessage> {
        let state = self.utterances.get_mut(&utterance)?;
        (state.ended, state.complete, state.end_ms) = (true, complete, end_ms);
        if state.last_entry.is_none() {
            state.close_silently();
        }
        if !complete {
            self.carried = None;
            return None;
        }
        let carried = state.carry();
        let tail_shown = !carried.tail.is_empty();
        self.carried = Some(carried);
        if tail_shown { state.shown(utterance, end_ms) } else { None }
    }

    /// Where the committed text of an open utterance ends, as the newest answer said; told once.
    pub fn take_committed_end(&mut self) -> Option<CommittedEnd> {
        self.committed_end.take()
    }

    /// The decodes to ask for now. Each is counted as asked for.
    pub fn due(&mut self, now: Instant) -> Vec<SpeechJob> {
        let (partials, interval_ms) = (self.conditions.partials, self.pace.interval_ms());
        let auto = self.settings.source == Source::Auto;
        let asking = Asking {
            session: self.session,
            conditions: &self.conditions,
            context: &self.context,
            language: self.language.as_ref().filter(|_| auto),
            settings: &self.settings,
        };
        let mut jobs = Vec::new();
        for (id, state) in &mut self.utterances {
            let Some(kind) = state.due_kind(partials, interval_ms, now) else { continue };
            if let Some(at) = state.asked_at.filter(|_| kind == JobKind::Partial) {
                self.pace.answered(now.duration_since(at)); // It was given up.
            }
            self.tally.asks(kind, state);
            jobs.push(state.ask(*id, kind, &asking, now));
        }
        jobs
    }

    /// New audio between two partial captions at present, milliseconds.
    #[must_use]
    pub fn update_interval_ms(&self) -> u64 {
        self.pace.interval_ms()
    }

    /// Takes in an answer and puts what may now be said into `out`.
    pub fn receive(&mut self, event: SessionEvent, now: Instant, out: &mut Vec<ServerMessage>) {
        let conditions = self.conditions;
        match event {
            SessionEvent::Caption { caption, hidden, committed_end_ms, reset } => {
                let utterance = caption.utterance;
                if let Some(state) = self.receive_caption(caption, (reset, committed_end_ms), now, out) {
                    state.hidden = hidden;
                    let split = state.wants_split(&conditions);
                    self.committed_end = committed_end_ms.map(|at_ms| CommittedEnd { utterance, at_ms, split });
                }
            }
            SessionEvent::Moved { .. } => {}
            SessionEvent::Translation(translation) => self.receive_translation(translation, out),
            SessionEvent::Gap { utterance, revision, was_final, target, from_ms, to_ms, reason } => {
                let Some(state) = self.utterances.get_mut(&utterance) else { return };
                let gap =
                    ServerMessage::Gap { utterance: Some(utterance), target: target.clone(), from_ms, to_ms, reason };
                match target {
                    None if was_final && revision == state.asked => state.fail(gap),
                    Some(target) if was_final => state.fail_target(&target, gap),
                    None if revision == state.asked => (state.asked_at, state.no_partials) = (None, true),
                    _ => {}
                }
            }
        }
        self.flush(out);
    }

    /// Gives up finals that did not come in time; each becomes a visible gap.
    pub fn expire(&mut self, now: Instant, out: &mut Vec<ServerMessage>) {
        let timeout = self.conditions.final_timeout;
        for (id, state) in &mut self.utterances {
            let waiting = state.asked_kind == JobKind::Final && state.owes();
            if waiting && state.asked_at.is_some_and(|at| now.duration_since(at) >= timeout) {
                state.give_up(*id);
            }
        }
        self.flush(out);
    }

    /// Gives up everything that is owed, now.
    pub fn give_up(&mut self, out: &mut Vec<ServerMessage>) {
        for (id, state) in &mut self.utterances {
            state.give_up(*id);
        }
        self.flush(out);
    }

    /// Whether nothing is owed.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.utterances.is_empty()
    }

    /// Utterances that something is owed for.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.utterances.len()
    }

    /// How long the oldest unanswered decode has waited.
    #[must_use]
    pub fn behind(&self, now: Instant) -> Option<Duration> {
        let waiting = self.utterances.values().filter(|u| matches!(u.caption, Lane::Open));
        waiting.filter_map(|u| u.asked_at).map(|at| now.duration_since(at)).max()
    }

    /// Utterances that were closed since the last call.
    pub fn take_closed(&mut self) -> Vec<Closed> {
        mem::take(&mut self.closed)
    }

    /// Whether committed text has grown since the last call.
    pub fn take_grown(&mut self) -> bool {
        mem::take(&mut self.grown)
    }

    /// Utterances still open, as if each were closed now.
    #[must_use]
    pub fn open(&self) -> Vec<Closed> {
        self.utterances.iter().map(|(id, u)| Closed { utterance: *id, targets: u.targets.clone() }).collect()
    }

    /// What was done and shown since the last call.
    pub fn take_tally(&mut self) -> Tally {
        mem::take(&mut self.tally)
    }

    /// The caption's utterance, where it is a partial that was waited for. The answer also says whether the model lost its
    /// way, and where the committed text ends.
    fn receive_caption(
        &mut self,
        mut caption: Caption,
        (reset, committed_end_ms): (bool, Option<u64>),
        now: Instant,
        out: &mut Vec<ServerMessage>,
    ) -> Option<&mut Utterance> {
        let state = self.utterances.get_mut(&caption.utterance)?;
        if caption.revision != state.asked || !matches!(state.caption, Lane::Open) {
            return None;
        }
        keep(&state.committed, &mut caption.committed);
        state.hear(&mut caption);
        state.reset |= reset;
        if caption.is_final {
            if let Some(Heard { language, .. }) = state.heard.as_ref().filter(|_| !caption.committed.is_empty()) {
                self.language = Some(language.clone());
            }
            caption.committed.clone_into(&mut state.committed);
            state.caption = Lane::Held(Some(Box::new(ServerMessage::Caption(caption))));
            return None;
        }
        if let Some(at) = state.asked_at.take() {
            self.pace.answered(now.duration_since(at));
        }
        let grown = caption.committed != state.committed;
        self.grown |= grown;
        if grown {
            self.tally.commits(state, committed_end_ms);
        }
        state.heard_to_ms = Some(state.asked_end_ms);
        let changed = grown || caption.tail != following(&state.committed, &state.tail);
        caption.committed.clone_into(&mut state.committed);
        caption.tail.trim().clone_into(&mut state.tail);
        caption.words.clone_into(&mut state.words);
        if changed {
            self.tally.words(&caption, state, self.conditions.partials);
            out.push(ServerMessage::Caption(caption));
        }
        Some(state)
    }

    fn receive_translation(&mut self, mut translation: Translation, out: &mut Vec<ServerMessage>) {
        let Some(state) = self.utterances.get_mut(&translation.utterance) else { return };
        let Some(lane) = state.translations.iter_mut().find(|l| l.target == translation.target) else { return };
        if !matches!(lane.lane, Lane::Open) || translation.revision <= lane.shown {
            return;
        }
        lane.shown = translation.revision;
        keep(&lane.committed, &mut translation.committed);
        self.grown |= translation.committed != lane.committed;
        let changed = translation.committed != lane.committed || translation.tail != lane.tail;
        translation.committed.clone_into(&mut lane.committed);
        translation.tail.clone_into(&mut lane.tail);
        if translation.is_final {
            lane.lane = Lane::Held(Some(Box::new(ServerMessage::Translation(translation))));
        } else if changed {
            out.push(ServerMessage::Translation(translation));
        }
    }

    /// Lets out what is held behind nothing any more, lane by lane, and forgets utterances that owe nothing.
    fn flush(&mut self, out: &mut Vec<ServerMessage>) {
        for state in self.utterances.values_mut() {
            match mem::take(&mut state.caption) {
                Lane::Open => break,
                Lane::Held(message) => {
                    // What may be invented is not told to the model as what was said, nor is anything before it.
                    let told = if state.reset { "" } else { tail_of(&state.committed, MAX_CONTEXT_BYTES) };
                    told.clone_into(&mut self.context);
                    if let Some(ServerMessage::Caption(caption)) = message.as_deref() {
                        self.tally.words(caption, state, self.conditions.partials);
                    }
                    self.tally.lets_out(message.as_deref(), state.final_at);
                    out.extend(message.map(|m| *m));
                    state.caption = Lane::Closed;
                }
                Lane::Closed => state.caption = Lane::Closed,
            }
        }
        self.flush_translations(out);
        while self.utterances.first_entry().is_some_and(|first| !first.get().owes()) {
            let Some((utterance, state)) = self.utterances.pop_first() else { break };
            self.closed.push(Closed { utterance, targets: state.targets });
        }
    }

    fn flush_translations(&mut self, out: &mut Vec<ServerMessage>) {
        let mut waiting: Vec<Language> = Vec::new();
        for state in self.utterances.values_mut() {
            let caption_out = matches!(state.caption, Lane::Closed);
            for TargetLane { target, lane, .. } in &mut state.translations {
                if waiting.contains(target) {
                    continue;
                }
                *lane = match mem::take(lane) {
                    Lane::Held(message) if caption_out => {
                        self.tally.lets_out(message.as_deref(), state.final_at);
                        out.extend(message.map(|m| *m));
                        Lane::Closed
                    }
                    other => other,
                };
                if !matches!(lane, Lane::Closed) {
                    waiting.push(target.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
