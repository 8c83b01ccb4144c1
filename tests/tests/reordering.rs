//! Whatever order the answers of workers come in, however often they are repeated and replayed, and however often another gateway
//! goes on with the session, the client shows the same text; and whatever order the gateway's events come in, too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use client::transcript::Transcript;
use gateway::dispatch::{Conditions, Dispatch, Settings};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use shared::{
    bus::EntryId,
    ids::{SessionId, UtteranceId},
    jobs::{JobKind, SessionEvent, SpeechJob},
    language::{Language, Source},
    wire::{Caption, Event, ServerMessage, Translation},
};

/// A word is spoken in so many milliseconds.
const WORD_MS: u64 = 300;
const CONDITIONS: Conditions = Conditions {
    partials: true,
    words: false,
    max_utterance: Duration::from_secs(9),
    final_timeout: Duration::from_secs(3600),
};

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// Somebody speaks for so many words, in a new utterance where none is open.
    Speak(u64),
    /// The utterance ends.
    End,
    /// So many milliseconds pass, and what is due is asked for.
    Ask(u64),
    /// One of all the answers there have been arrives, perhaps for the second time.
    Deliver(Index),
    /// All answers from one on are read from the stream again.
    Replay(Index),
    /// Another gateway goes on with the session, and reads the stream from one answer on.
    Move(Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u64..8).prop_map(Step::Speak),
        2 => Just(Step::End),
        4 => (0_u64..7000).prop_map(Step::Ask),
        8 => any::<Index>().prop_map(Step::Deliver),
        1 => any::<Index>().prop_map(Step::Replay),
        1 => any::<Index>().prop_map(Step::Move),
    ]
}

fn text(utterance: UtteranceId, language: &str, words: u64) -> String {
    (0..words).map(|n| format!("{language}{utterance}.{n}")).collect::<Vec<_>>().join(" ")
}

/// What the workers tell for a job: all words but the last two are committed, or all in a final.
fn answers(job: &SpeechJob) -> Vec<SessionEvent> {
    let is_final = job.kind == JobKind::Final;
    let words = (job.end_ms - job.start_ms) / WORD_MS;
    let committed = if is_final { words } else { words.saturating_sub(2) };
    let tail = |language: &str| {
        let all = text(job.utterance, language, words);
        all[text(job.utterance, language, committed).len()..].to_owned()
    };
    let caption = Caption {
        utterance: job.utterance,
        revision: job.revision,
        start_ms: job.start_ms,
        end_ms: job.end_ms,
        language: "en".parse().unwrap(),
        language_probability: None,
        committed: text(job.utterance, "en", committed),
        tail: tail("en"),
        words: Vec::new(),
        is_final,
    };
    let mut events =
        vec![SessionEvent::Caption { caption, hidden: String::new(), committed_end_ms: None, reset: false }];
    for target in &job.targets {
        events.push(SessionEvent::Translation(Translation {
            utterance: job.utterance,
            revision: job.revision,
            target: target.clone(),
            committed: text(job.utterance, target.as_str(), committed),
            tail: tail(target.as_str()),
            is_final,
        }));
    }
    events
}

struct House {
    dispatch: Dispatch,
    session: SessionId,
    settings: Settings,
    now: Instant,
    /// The session's event stream.
    stream: Vec<SessionEvent>,
    /// Which of it arrived at least once.
    arrived: Vec<bool>,
    /// What the client was sent.
    events: Vec<Event>,
    open: Option<UtteranceId>,
    /// Words of each utterance.
    spoken: BTreeMap<UtteranceId, u64>,
    position_ms: u64,
    entries: u64,
}

impl House {
    fn new(targets: &[&str]) -> Self {
        let targets = targets.iter().map(|tag| tag.parse().unwrap()).collect();
        let source = Source::Language("en".parse().unwrap());
        let settings = Settings { source, targets, glossary: Vec::new() };
        let session = SessionId::random();
        Self {
            dispatch: Dispatch::new(session, CONDITIONS, settings.clone()),
            session,
            settings,
            now: Instant::now(),
            stream: Vec::new(),
            arrived: Vec::new(),
            events: Vec::new(),
            open: None,
            spoken: BTreeMap::new(),
            position_ms: 0,
            entries: 0,
        }
    }

    fn say(&mut self, messages: impl IntoIterator<Item = ServerMessage>) {
        for message in messages {
            let event = self.events.len() as u64 + 1;
            self.events.push(Event { event, message });
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Speak(words) => self.speak(*words),
            Step::End => self.end(),
            Step::Ask(ms) => {
                self.now += Duration::from_millis(*ms);
                self.ask();
            }
            Step::Deliver(index) if !self.stream.is_empty() => self.deliver(index.index(self.stream.len())),
            Step::Replay(index) => self.replay(*index),
            Step::Move(index) => {
                let written = serde_json::to_vec(&self.dispatch.memory()).unwrap();
                let memory = serde_json::from_slice(&written).unwrap();
                self.dispatch = Dispatch::resumed(self.session, CONDITIONS, self.settings.clone(), memory, self.now);
                if let Some(open) = self.open {
                    let last = EntryId { ms: self.entries, seq: 0 };
                    self.dispatch.found(open, Some(last), self.position_ms);
                }
                let shown = self.dispatch.show_again();
                self.say(shown);
                self.replay(*index);
            }
            Step::Deliver(_) => {}
        }
    }

    fn speak(&mut self, words: u64) {
        let utterance = self.open.unwrap_or_else(|| {
            let next = UtteranceId(self.spoken.len() as u32 + 1);
            let shown = self.dispatch.opened(next, self.position_ms, self.position_ms);
            let start_ms = self.position_ms;
            self.say([ServerMessage::SpeechStarted { utterance: next, start_ms }].into_iter().chain(shown));
            next
        });
        self.open = Some(utterance);
        *self.spoken.entry(utterance).or_default() += words;
        self.position_ms += words * WORD_MS;
        self.entries += 1;
        self.dispatch.appended(utterance, EntryId { ms: self.entries, seq: 0 }, self.position_ms);
    }

    fn end(&mut self) {
        let Some(utterance) = self.open.take() else { return };
        let shown = self.dispatch.ended(utterance, self.position_ms, false);
        let end_ms = self.position_ms;
        self.say([ServerMessage::SpeechEnded { utterance, end_ms }].into_iter().chain(shown));
    }

    fn ask(&mut self) {
        for job in self.dispatch.due(self.now) {
            self.stream.extend(answers(&job));
        }
        self.arrived.resize(self.stream.len(), false);
    }

    fn deliver(&mut self, which: usize) {
        self.arrived[which] = true;
        let mut out = Vec::new();
        self.dispatch.receive(self.stream[which].clone(), self.now, &mut out);
        self.say(out);
    }

    fn replay(&mut self, from: Index) {
        if !self.stream.is_empty() {
            (from.index(self.stream.len())..self.stream.len()).for_each(|which| self.deliver(which));
        }
    }

    /// The session ends in order: what is still on its way arrives, the newest first.
    fn finish(&mut self) {
        self.end();
        self.ask();
        for which in (0..self.stream.len()).rev() {
            if !self.arrived[which] {
                self.deliver(which);
            }
        }
        assert!(self.dispatch.idle(), "something is still owed: {:?}", self.dispatch);
    }

    /// Committed text goes on from committed text, revisions of partials grow, and each lane has one final an utterance, in order.
    fn check_events(&self) {
        let mut lanes: BTreeMap<(UtteranceId, Option<Language>), (u32, String, bool)> = BTreeMap::new();
        let mut finals: BTreeMap<Option<Language>, UtteranceId> = BTreeMap::new();
        for event in &self.events {
            let (utterance, lane, revision, committed, is_final) = match &event.message {
                ServerMessage::Caption(c) => (c.utterance, None, c.revision, &c.committed, c.is_final),
                ServerMessage::Translation(t) => {
                    (t.utterance, Some(t.target.clone()), t.revision, &t.committed, t.is_final)
                }
                _ => continue,
            };
            let held = lanes.entry((utterance, lane.clone())).or_default();
            assert!(!held.2, "{lane:?} of {utterance} goes on behind its final");
            // A final takes the place of any partial; one that is shown again keeps its text.
            let newer = revision.0 > held.0 || is_final || (revision.0 == held.0 && *committed == held.1);
            assert!(newer, "revision {revision} of {lane:?} of {utterance} after {}", held.0);
            assert!(committed.starts_with(&held.1), "`{}` was reworded to `{committed}`", held.1);
            *held = (revision.0, committed.clone(), is_final);
            if is_final {
                let before = finals.insert(lane.clone(), utterance);
                assert!(before.is_none_or(|before| before.0 + 1 == utterance.0), "{utterance} after {before:?}");
            }
        }
    }

    /// What was spoken, all of it, and nothing else.
    fn check_text(&self, transcript: &Transcript) {
        assert_eq!(transcript.utterances().count(), self.spoken.len());
        for (utterance, held) in transcript.utterances() {
            let words = self.spoken[&utterance];
            let caption = held.caption.as_ref().unwrap();
            assert!(caption.is_final && caption.tail.is_empty());
            assert_eq!(caption.committed, text(utterance, "en", words));
            for target in &self.settings.targets {
                let translation = &held.translations[target];
                assert!(translation.is_final);
                assert_eq!(translation.committed, text(utterance, target.as_str(), words));
            }
        }
    }
}

fn drawn<'a>(events: impl IntoIterator<Item = &'a Event>) -> Transcript {
    let mut transcript = Transcript::default();
    events.into_iter().for_each(|event| transcript.apply(event));
    transcript
}

fn any_order_renders_the_same_text(cases: u32) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let strategy = (vec(step(), 1..60), 0_usize..3, vec(any::<Index>(), 0..40));
    TestRunner::new(config)
        .run(&strategy, |(steps, targets, order)| {
            let mut house = House::new(&["es", "pt-BR"][..targets]);
            steps.iter().for_each(|step| house.take(step));
            house.finish();
            house.check_events();
            house.check_text(&drawn(&house.events));
            // The client's own socket may repeat and, over a resume, reorder.
            let mut disturbed = house.events.clone();
            for (n, index) in order.iter().enumerate().filter(|_| !house.events.is_empty()) {
                let which = index.index(disturbed.len());
                let event = disturbed[which].clone();
                if n % 2 == 0 { disturbed.push(event) } else { disturbed.insert(0, event) }
            }
            house.check_text(&drawn(&disturbed));
            house.check_text(&drawn(disturbed.iter().rev()));
            Ok(())
        })
        .unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn any_order_of_answers_and_events_renders_the_same_text() {
    any_order_renders_the_same_text(512);
}

#[test]
#[ignore = "takes half a minute; cargo xtask prove faults runs it"]
fn ten_thousand_orders_render_the_same_text() {
    any_order_renders_the_same_text(10_000);
    tests::figure::figure("reordering_cases", 10_000.0);
}
