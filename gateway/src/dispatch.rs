//! Which decode is asked for when, and in which order the answers go out. Pure: no bus, no clock of its own.
//!
//! At most one partial of an utterance is in flight; the next is asked for when its answer is back, so under load the
//! update rate sinks by itself and the queue stays bounded by the number of open utterances. A final follows when the
//! utterance ends, whether or not a partial is still out; that partial's answer is then dropped, because the final was
//! asked for with what was committed before it.
//!
//! Finals go out in the order of the utterances, captions and each target in a lane of their own: whoever finishes
//! early is held back until all before it are out.

mod utterance;

use std::{
    collections::BTreeMap,
    mem,
    time::{Duration, Instant},
};

use self::utterance::{Lane, TargetLane, Utterance};
use shared::{
    agreement::{append, stitch},
    bus::EntryId,
    ids::{SessionId, UtteranceId},
    jobs::{JobKind, SessionEvent, SpeechJob},
    language::{Language, Source},
    wire::{Caption, GlossaryTerm, ServerMessage, Translation},
};

/// New audio that makes another partial worthwhile: two updates a second are as many as people can read.
pub const PARTIAL_STEP_MS: u64 = 450;
/// Audio (pre-roll included) before the first partial: 300 ms of pre-roll and about two syllables.
pub const FIRST_PARTIAL_MS: u64 = 700;
/// A partial whose answer is not back by now is given up, and the next one may go.
pub const PARTIAL_TIMEOUT: Duration = Duration::from_secs(6);
/// Longest context handed to the next utterance, in bytes.
const MAX_CONTEXT_BYTES: usize = 240;

/// What can change from one utterance to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Language spoken.
    pub source: Source,
    /// Languages to translate into.
    pub targets: Vec<Language>,
    /// Terms.
    pub glossary: Vec<GlossaryTerm>,
}

/// An utterance with nothing owed any more; its keys on the bus can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Which.
    pub utterance: UtteranceId,
    /// The targets it had.
    pub targets: Vec<Language>,
}

/// The dispatcher of one session.
#[derive(Debug)]
pub struct Dispatch {
    session: SessionId,
    partials: bool,
    final_timeout: Duration,
    settings: Settings,
    utterances: BTreeMap<UtteranceId, Utterance>,
    context: String,
    closed: Vec<Closed>,
}

impl Dispatch {
    /// A session without utterances.
    #[must_use]
    pub fn new(session: SessionId, partials: bool, settings: Settings, final_timeout: Duration) -> Self {
        let (utterances, context, closed) = (BTreeMap::new(), String::new(), Vec::new());
        Self { session, partials, final_timeout, settings, utterances, context, closed }
    }

    /// Settings of the utterances opened from now on.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// An utterance was opened at `start_ms`.
    pub fn opened(&mut self, utterance: UtteranceId, start_ms: u64) {
        self.utterances.insert(utterance, Utterance::new(self.settings.clone(), start_ms));
    }

    /// Audio of an open utterance up to `end_ms` is on the bus.
    pub fn appended(&mut self, utterance: UtteranceId, entry: EntryId, end_ms: u64) {
        if let Some(state) = self.utterances.get_mut(&utterance) {
            state.last_entry = Some(entry);
            state.end_ms = end_ms;
        }
    }

    /// An utterance was closed, all its audio appended.
    pub fn ended(&mut self, utterance: UtteranceId) {
        if let Some(state) = self.utterances.get_mut(&utterance) {
            state.ended = true;
            if state.last_entry.is_none() {
                state.close_silently();
            }
        }
    }

    /// The decodes to ask for now. Each is counted as asked for.
    pub fn due(&mut self, now: Instant) -> Vec<SpeechJob> {
        let (session, partials, context) = (self.session, self.partials, self.context.clone());
        let next = |(id, state): (&UtteranceId, &mut Utterance)| {
            let kind = state.due_kind(partials, now)?;
            Some(state.ask(session, *id, kind, &context, now))
        };
        self.utterances.iter_mut().filter_map(next).collect()
    }

    /// Takes in an answer and puts what may now be said into `out`.
    pub fn receive(&mut self, event: SessionEvent, out: &mut Vec<ServerMessage>) {
        match event {
            SessionEvent::Caption { caption, .. } => self.receive_caption(caption, out),
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
        let timeout = self.final_timeout;
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

    /// Utterances still open, as if each were closed now.
    #[must_use]
    pub fn open(&self) -> Vec<Closed> {
        self.utterances.iter().map(|(id, u)| Closed { utterance: *id, targets: u.settings.targets.clone() }).collect()
    }

    fn receive_caption(&mut self, mut caption: Caption, out: &mut Vec<ServerMessage>) {
        let Some(state) = self.utterances.get_mut(&caption.utterance) else { return };
        if caption.revision != state.asked || !matches!(state.caption, Lane::Open) {
            return;
        }
        keep(&state.committed, &mut caption.committed);
        if caption.is_final {
            caption.committed.clone_into(&mut state.committed);
            state.caption = Lane::Held(Some(Box::new(ServerMessage::Caption(caption))));
            return;
        }
        state.asked_at = None;
        let changed = caption.committed != state.committed || caption.tail != state.tail;
        caption.committed.clone_into(&mut state.committed);
        caption.tail.clone_into(&mut state.tail);
        if changed {
            out.push(ServerMessage::Caption(caption));
        }
    }

    fn receive_translation(&mut self, mut translation: Translation, out: &mut Vec<ServerMessage>) {
        let Some(state) = self.utterances.get_mut(&translation.utterance) else { return };
        let Some(lane) = state.translations.iter_mut().find(|l| l.target == translation.target) else { return };
        if !matches!(lane.lane, Lane::Open) || translation.revision <= lane.shown {
            return;
        }
        lane.shown = translation.revision;
        keep(&lane.committed, &mut translation.committed);
        translation.committed.clone_into(&mut lane.committed);
        if translation.is_final {
            lane.lane = Lane::Held(Some(Box::new(ServerMessage::Translation(translation))));
        } else {
            out.push(ServerMessage::Translation(translation));
        }
    }

    /// Lets out what is held behind nothing any more, lane by lane, and forgets utterances that owe nothing.
    fn flush(&mut self, out: &mut Vec<ServerMessage>) {
        for state in self.utterances.values_mut() {
            match mem::take(&mut state.caption) {
                Lane::Open => break,
                Lane::Held(message) => {
                    self.context = tail_of(&state.committed, MAX_CONTEXT_BYTES).to_owned();
                    out.extend(message.map(|m| *m));
                    state.caption = Lane::Closed;
                }
                Lane::Closed => state.caption = Lane::Closed,
            }
        }
        self.flush_translations(out);
        while self.utterances.first_entry().is_some_and(|first| !first.get().owes()) {
            let Some((utterance, state)) = self.utterances.pop_first() else { break };
            self.closed.push(Closed { utterance, targets: state.settings.targets });
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

/// Makes `committed` go on from what the client has. Workers see to that themselves; this is for the cases that none of
/// them can see, such as a final decode that was asked for while the last partial was still on its way.
fn keep(shown: &str, committed: &mut String) {
    if !committed.starts_with(shown) {
        *committed = append(shown, &stitch(shown, committed));
    }
}

/// The last `max` bytes of `text`, from a word on.
fn tail_of(text: &str, max: usize) -> &str {
    let Some(mut from) = text.len().checked_sub(max).filter(|from| *from > 0) else { return text };
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let rest = &text[from..];
    rest.find(' ').map_or(rest, |space| &rest[space + 1..])
}

#[cfg(test)]
mod tests;
