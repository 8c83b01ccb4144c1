//! One utterance as its dispatcher sees it: what was asked for, what came back, what is still owed.

use std::time::Instant;

use shared::{
    bus::EntryId,
    ids::{Revision, SessionId, UtteranceId},
    jobs::{JobKind, SpeechJob},
    language::Language,
    wire::{GapReason, ServerMessage},
};

use super::{FIRST_PARTIAL_MS, PARTIAL_STEP_MS, PARTIAL_TIMEOUT, Settings};

/// The final of an utterance in one lane.
#[derive(Debug, Default)]
pub(super) enum Lane {
    #[default]
    Open,
    /// It is there, but an earlier utterance's is not. Empty: nothing will be said in this lane.
    Held(Option<Box<ServerMessage>>),
    Closed,
}

#[derive(Debug)]
pub(super) struct Utterance {
    pub(super) settings: Settings,
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) last_entry: Option<EntryId>,
    pub(super) ended: bool,
    /// Newest revision asked for.
    pub(super) asked: Revision,
    pub(super) asked_kind: JobKind,
    pub(super) asked_at: Option<Instant>,
    pub(super) asked_end_ms: u64,
    pub(super) committed: String,
    pub(super) tail: String,
    /// A partial failed in a way that the next would too.
    pub(super) no_partials: bool,
    pub(super) caption: Lane,
    pub(super) translations: Vec<TargetLane>,
}

#[derive(Debug)]
pub(super) struct TargetLane {
    pub(super) target: Language,
    pub(super) shown: Revision,
    /// Committed text the client has.
    pub(super) committed: String,
    pub(super) lane: Lane,
}

impl Utterance {
    pub(super) fn new(settings: Settings, start_ms: u64) -> Self {
        let lane = |target: &Language| TargetLane {
            target: target.clone(),
            shown: Revision(0),
            committed: String::new(),
            lane: Lane::Open,
        };
        Self {
            translations: settings.targets.iter().map(lane).collect(),
            settings,
            start_ms,
            end_ms: start_ms,
            last_entry: None,
            ended: false,
            asked: Revision(0),
            asked_kind: JobKind::Partial,
            asked_at: None,
            asked_end_ms: start_ms,
            committed: String::new(),
            tail: String::new(),
            no_partials: false,
            caption: Lane::Open,
        }
    }

    pub(super) fn due_kind(&self, partials: bool, now: Instant) -> Option<JobKind> {
        self.last_entry?;
        if self.ended {
            return (self.asked_kind == JobKind::Partial && matches!(self.caption, Lane::Open))
                .then_some(JobKind::Final);
        }
        let free = self.asked_at.is_none_or(|at| now.duration_since(at) >= PARTIAL_TIMEOUT);
        let first = self.asked == Revision(0);
        let wanted = if first { self.start_ms + FIRST_PARTIAL_MS } else { self.asked_end_ms + PARTIAL_STEP_MS };
        (partials && !self.no_partials && free && self.end_ms >= wanted).then_some(JobKind::Partial)
    }

    pub(super) fn ask(
        &mut self,
        session: SessionId,
        utterance: UtteranceId,
        kind: JobKind,
        context: &str,
        now: Instant,
    ) -> SpeechJob {
        self.asked = self.asked.next();
        self.asked_kind = kind;
        self.asked_at = Some(now);
        self.asked_end_ms = self.end_ms;
        SpeechJob {
            session,
            utterance,
            revision: self.asked,
            kind,
            last_entry: self.last_entry.unwrap_or(EntryId::START),
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            source: self.settings.source.clone(),
            expected_language: None,
            targets: self.settings.targets.clone(),
            words: false,
            locate: false,
            committed: self.committed.clone(),
            tail: self.tail.clone(),
            context: context.to_owned(),
            glossary: self.settings.glossary.clone(),
            trace_parent: String::new(),
        }
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
