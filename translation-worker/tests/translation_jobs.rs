//! Translation jobs through a whole translation-worker, on the in-process bus with scripted translators (the real
//! models have tests of their own): what a session reads of each job, and what is left for the next one.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use prometheus::Registry;
use shared::{
    bus::{Bus, EntryId, MemoryBus, Produce, StateWrite},
    consumer::{BUS, DeadLetter},
    health::Health,
    ids::{Revision, SessionId, UtteranceId},
    jobs::{
        self, DEAD_LETTERS, JobKind, LEASE, MT_GROUP, SESSION_TTL, SessionEvent, TRANSLATION_JOBS, TranslationJob,
        TranslationState, event_stream, revision_key, translation_key,
    },
    language::Language,
    role_process::Fault,
    shutdown::CancellationToken,
    wire::{GlossaryTerm, Translation},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use translation_worker::{
    Pair, Routes, TranslationConfig, TranslationWorker,
    translator::{Term, TranslateError, TranslationHypothesis, TranslationRequest, Translator},
};

/// Translates word by word by putting a mark behind each, and honours a prefix by leaving out as many words; so that
/// what came out tells what went in.
struct Marking {
    mark: &'static str,
    asked: Mutex<Vec<TranslationRequest>>,
    /// Happens before the answer to the first request.
    first: Mutex<Option<StateWrite>>,
    bus: MemoryBus,
    fails: bool,
    /// Its device is gone.
    broken: bool,
}

impl fmt::Debug for Marking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mark)
    }
}

#[async_trait]
impl Translator for Marking {
    async fn translate(&self, request: TranslationRequest) -> Result<TranslationHypothesis, TranslateError> {
        self.asked.lock().unwrap().push(request.clone());
        let first = self.first.lock().unwrap().take();
        if let Some(write) = first {
            self.bus.set(write).await.unwrap();
        }
        if self.broken {
            return Err(TranslateError::Broken("as asked".to_owned()));
        }
        if self.fails {
            return Err(TranslateError::Failed("out of memory".to_owned()));
        }
        let forced = request.prefix.split_whitespace().count();
        let words = request.text.split_whitespace().skip(forced).map(|word| format!(" {word}{}", self.mark));
        Ok(TranslationHypothesis { text: words.collect(), ..Default::default() })
    }

    async fn broken(&self) -> String {
        if self.broken { "an illegal address".to_owned() } else { std::future::pending().await }
    }
}

struct Scene {
    bus: MemoryBus,
    session: SessionId,
    models: BTreeMap<&'static str, Arc<Marking>>,
    glossary: Vec<GlossaryTerm>,
}

impl Scene {
    fn new(pairs: &[(&'static str, &'static str)]) -> Self {
        Self::with(pairs, |_| ())
    }

    fn with(pairs: &[(&'static str, &'static str)], edit: impl Fn(&mut Marking)) -> Self {
        let bus = MemoryBus::new();
        let model = |mark| {
            let (asked, first) = (Mutex::default(), Mutex::default());
            let mut model = Marking { mark, asked, first, bus: bus.clone(), fails: false, broken: false };
            edit(&mut model);
            Arc::new(model)
        };
        let models = pairs.iter().map(|(pair, mark)| (*pair, model(*mark))).collect();
        Self { session: SessionId::random(), models, bus, glossary: Vec::new() }
    }

    fn worker(&self, name: &str) -> (JoinHandle<Result<(), Fault>>, CancellationToken) {
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let config = TranslationConfig { name: name.to_owned(), ..TranslationConfig::of_models(BTreeMap::new()) };
        let translators = self.models.iter().map(|(pair, model)| {
            let model: Arc<dyn Translator> = model.clone();
            (pair.parse::<Pair>().unwrap(), model)
        });
        let routes: Routes = translators.collect();
        let health = Health::new("test", &[BUS], registry.clone());
        let worker = TranslationWorker::new(&config, Arc::new(self.bus.clone()), routes, health, &registry).unwrap();
        (tokio::spawn(worker.run(stop.clone())), stop)
    }

    fn asked(&self, pair: &str) -> Vec<TranslationRequest> {
        self.models[pair].asked.lock().unwrap().clone()
    }

    async fn caption(&self, revision: u32, target: &str, committed: &str, tail: &str) -> TranslationJob {
        let kind = if tail.is_empty() { JobKind::Final } else { JobKind::Partial };
        let job = TranslationJob {
            session: self.session,
            utterance: UtteranceId(1),
            revision: Revision(revision),
            kind,
            start_ms: 700,
            end_ms: 1700,
            source: "en".parse().unwrap(),
            target: target.parse().unwrap(),
            committed: committed.to_owned(),
            tail: tail.to_owned(),
            glossary: self.glossary.clone(),
            trace_parent: String::new(),
        };
        self.newest(revision).await;
        let produce = Produce {
            stream: TRANSLATION_JOBS.to_owned(),
            idempotency_key: format!("{target}:{revision}"),
            payload: jobs::encode(&job).unwrap(),
            set: None,
        };
        self.bus.produce(produce).await.unwrap().unwrap();
        job
    }

    /// Says which revision of the utterance was asked for last.
    async fn newest(&self, revision: u32) {
        let key = revision_key(self.session, UtteranceId(1));
        let value = Bytes::from(revision.to_string());
        self.bus.set(StateWrite { key, value, ttl: SESSION_TTL }).await.unwrap();
    }

    async fn events(&self) -> Vec<SessionEvent> {
        self.all(&event_stream(self.session)).await
    }

    async fn all<T: for<'de> serde::Deserialize<'de>>(&self, stream: &str) -> Vec<T> {
        let last = "99999999999999-0".parse().unwrap();
        let entries = self.bus.range(stream, EntryId::START, last, 1000).await.unwrap();
        entries.iter().map(|entry| jobs::decode(&entry.payload).unwrap()).collect()
    }

    /// Waits until no job is left, and long enough for a second answer to show if there were one.
    async fn settle(&self) -> Vec<SessionEvent> {
        timeout(Duration::from_secs(600), async {
            loop {
                sleep(Duration::from_millis(100)).await;
                let depth = self.bus.depth(TRANSLATION_JOBS, MT_GROUP).await.unwrap();
                if depth.lag + depth.pending == 0 {
                    break;
                }
            }
        })
        .await
        .unwrap();
        sleep(LEASE * 2).await;
        self.events().await
    }

    async fn last(&self) -> Translation {
        match self.settle().await.last() {
            Some(SessionEvent::Translation(translation)) => translation.clone(),
            other => panic!("not a translation: {other:?}"),
        }
    }
}

fn texts(translation: &Translation) -> (&str, &str, bool) {
    (&translation.committed, &translation.tail, translation.is_final)
}

#[tokio::test(start_paused = true)]
async fn a_translation_grows_with_its_caption_and_its_final_commits_all() {
    let scene = Scene::new(&[("en-es", "'")]);
    let (_worker, _stop) = scene.worker("a");
    scene.caption(1, "es", "", "one two").await;
    assert_eq!(texts(&scene.last().await), ("", "one'", false));
    scene.caption(2, "es", "one two", "three four").await;
    assert_eq!(texts(&scene.last().await), ("one'", " two' three'", false));
    scene.caption(3, "es", "one two three four five", "").await;
    assert_eq!(texts(&scene.last().await), ("one' two' three' four' five'", "", true));
    let prefixes: Vec<String> = scene.asked("en-es").into_iter().map(|request| request.prefix).collect();
    assert_eq!(prefixes, ["", "", "one'"]);
}

#[tokio::test(start_paused = true)]
async fn a_settled_sentence_is_never_asked_again_and_what_follows_is_translated_by_itself() {
    let scene = Scene::new(&[("en-es", "'")]);
    let (_worker, _stop) = scene.worker("a");
    scene.caption(1, "es", "One two", "three. Four").await;
    scene.caption(2, "es", "One two three.", "Four five").await;
    assert_eq!(texts(&scene.last().await), ("One' two' three.'", " Four' five'", false));
    let before = scene.asked("en-es").len();
    scene.caption(3, "es", "One two three. Four five", "six").await;
    scene.last().await;
    scene.caption(4, "es", "One two three. Four five six seven.", "").await;
    assert_eq!(scene.last().await.committed, "One' two' three.' Four' five' six' seven.'");
    let asked: Vec<String> = scene.asked("en-es").into_iter().skip(before).map(|request| request.text).collect();
    assert_eq!(asked, ["Four five six", "Four five six seven."]);
}

#[tokio::test(start_paused = true)]
async fn terms_go_to_the_model_that_writes_the_target_and_are_kept_on_the_way_to_it() {
    let term = |source: &str, target: &str| Term { source: source.to_owned(), target: target.to_owned() };
    let wire = |source: &str, target: Option<&str>| GlossaryTerm {
        source: source.to_owned(),
        target: target.map(str::to_owned),
    };
    let mut scene = Scene::new(&[("fr-en", ""), ("en-es", "")]);
    scene.glossary = vec![wire("tide", Some("marea")), wire("hint", None)];
    let (_worker, _stop) = scene.worker("a");
    scene.caption(1, "es", "the tide and a hint", "").await;
    scene.last().await;
    assert_eq!(scene.asked("en-es")[0].terms, [term("tide", "marea")]);

    scene.glossary = vec![wire("marée", Some("pleamar")), wire("absent", Some("x"))];
    let mut job = scene.caption(2, "fr", "unused", "").await;
    (job.source, job.target) = ("fr".parse().unwrap(), "es".parse().unwrap());
    (job.utterance, job.committed) = (UtteranceId(2), "la marée monte".to_owned());
    let key = revision_key(scene.session, job.utterance);
    scene.bus.set(StateWrite { key, value: Bytes::from("2"), ttl: SESSION_TTL }).await.unwrap();
    let payload = jobs::encode(&job).unwrap();
    let produce = Produce { stream: TRANSLATION_JOBS.to_owned(), idempotency_key: "fr".to_owned(), payload, set: None };
    scene.bus.produce(produce).await.unwrap().unwrap();
    scene.last().await;
    assert_eq!(scene.asked("fr-en")[0].terms, [term("marée", "marée")]);
    assert_eq!(scene.asked("en-es")[1].terms, [term("marée", "pleamar")]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_glossary_is_for_what_is_not_committed_yet() {
    let mut scene = Scene::new(&[("en-es", "'")]);
    let (_worker, _stop) = scene.worker("a");
    scene.caption(1, "es", "The tide.", "It comes").await;
    let committed = scene.last().await.committed;
    scene.glossary = vec![GlossaryTerm { source: "tide".to_owned(), target: Some("marea".to_owned()) }];
    scene.caption(2, "es", "The tide. It comes. A tide", "goes").await;
    assert!(scene.last().await.committed.starts_with(&committed));
    let with_terms: Vec<String> = scene
        .asked("en-es")
        .into_iter()
        .filter(|request| !request.terms.is_empty())
        .map(|request| request.text)
        .collect();
    assert_eq!(with_terms, ["A tide goes"]);
}

#[tokio::test(start_paused = true)]
async fn an_older_caption_is_not_translated_after_a_newer_one() {
    let scene = Scene::new(&[("en-es", "'")]);
    let (_worker, _stop) = scene.worker("a");
    scene.caption(5, "es", "all of it", "").await;
    assert_eq!(scene.last().await.revision, Revision(5));
    scene.caption(4, "es", "all", "of").await;
    scene.newest(5).await;
    assert_eq!(scene.last().await.revision, Revision(5));
    assert_eq!(scene.asked("en-es").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_final_of_a_session_that_is_gone_costs_no_translation() {
    let scene = Scene::new(&[("en-es", "'")]);
    scene.caption(1, "es", "all of it", "").await;
    scene.bus.remove(&[revision_key(scene.session, UtteranceId(1))]).await.unwrap();
    let (_worker, _stop) = scene.worker("a");
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(scene.bus.depth(TRANSLATION_JOBS, MT_GROUP).await.unwrap(), shared::bus::Depth::default());
    assert!(scene.asked("en-es").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_partial_that_was_overtaken_twice_costs_no_translation_and_a_final_always_gets_one() {
    let scene = Scene::new(&[("en-es", "'")]);
    scene.caption(1, "es", "", "one").await;
    scene.caption(2, "es", "", "one two").await;
    scene.caption(3, "es", "one two", "").await;
    scene.newest(9).await;
    let (_worker, _stop) = scene.worker("a");
    assert_eq!(texts(&scene.last().await), ("one' two'", "", true));
    assert_eq!(scene.asked("en-es").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_the_state_changes_during_a_translation_it_is_done_again_from_the_new_state() {
    let scene = Scene::new(&[("en-es", "'")]);
    let job = scene.caption(7, "es", "one two three four", "").await;
    let between =
        TranslationState { revision: Revision(6), committed: "uno".to_owned(), ..TranslationState::default() };
    *scene.models["en-es"].first.lock().unwrap() = Some(StateWrite {
        key: translation_key(job.session, job.utterance, &job.target),
        value: jobs::encode(&between).unwrap(),
        ttl: SESSION_TTL,
    });
    let (_worker, _stop) = scene.worker("a");
    assert_eq!(texts(&scene.last().await), ("uno two' three' four'", "", true));
    assert_eq!(scene.events().await.len(), 1);
    assert_eq!(scene.asked("en-es").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_language_spoken_is_copied_and_english_lies_between_languages_without_a_model() {
    let scene = Scene::new(&[("de-en", "-"), ("en-es", "'")]);
    let (_worker, _stop) = scene.worker("a");
    scene.caption(1, "en-GB", "as it was said", "").await;
    assert_eq!(texts(&scene.last().await), ("as it was said", "", true));
    let mut job = scene.caption(2, "fr", "unused", "").await;
    job.source = "de".parse::<Language>().unwrap();
    job.target = "es".parse().unwrap();
    job.committed = "eins zwei".to_owned();
    let produce = Produce {
        stream: TRANSLATION_JOBS.to_owned(),
        idempotency_key: "pivot".to_owned(),
        payload: jobs::encode(&job).unwrap(),
        set: None,
    };
    scene.bus.produce(produce).await.unwrap().unwrap();
    assert_eq!(texts(&scene.last().await), ("eins-' zwei-'", "", true));
}

#[tokio::test(start_paused = true)]
async fn a_pair_without_a_model_is_a_gap_for_each_final() {
    let scene = Scene::new(&[("en-es", "'")]);
    let (_worker, _stop) = scene.worker("a");
    scene.caption(1, "fr", "", "one").await;
    scene.caption(2, "fr", "one two", "").await;
    let events = scene.settle().await;
    assert!(
        matches!(&events[..], [SessionEvent::Gap { was_final: true, target: Some(fr), .. }] if fr.as_str() == "fr"),
        "{events:?}"
    );
    assert!(scene.all::<DeadLetter>(DEAD_LETTERS).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_three_times_leaves_a_gap_and_a_letter_without_text() {
    let scene = Scene::with(&[("en-es", "'")], |model| model.fails = true);
    let (_worker, _stop) = scene.worker("a");
    scene.caption(1, "es", "a secret", "").await;
    let events = scene.settle().await;
    assert!(matches!(events[..], [SessionEvent::Gap { was_final: true, target: Some(_), .. }]), "{events:?}");
    assert_eq!(scene.asked("en-es").len(), 3);
    let letters: Vec<DeadLetter> = scene.all(DEAD_LETTERS).await;
    assert_eq!((letters.len(), letters[0].subject.as_ref().unwrap().revision), (1, Revision(1)));
    assert!(!format!("{letters:?}").contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn a_long_text_goes_to_the_model_in_sentences_and_keeps_its_committed_start() {
    let scene = Scene::new(&[("en-es", "'")]);
    let (_worker, _stop) = scene.worker("a");
    let sentence = |name: char| (1..=25).map(|i| format!("{name}{i}")).collect::<Vec<_>>().join(" ") + ".";
    let source = ['a', 'b', 'c', 'd'].map(sentence).join(" ");
    scene.caption(1, "es", "", "a1 a2 a3 a4").await;
    scene.caption(2, "es", "a1 a2 a3 a4", "a5").await;
    let committed = scene.last().await.committed;
    assert_eq!(committed, "a1' a2' a3'");
    scene.caption(3, "es", &source, "").await;
    let whole = scene.last().await.committed;
    assert_eq!(whole, source.split(' ').map(|word| format!("{word}'")).collect::<Vec<_>>().join(" "));
    let requests = scene.asked("en-es");
    assert!(requests.iter().all(|request| request.text.split(' ').count() <= 25));
    assert_eq!(requests.len(), 6, "two partials, and one request for each sentence");
}

#[tokio::test(start_paused = true)]
async fn a_worker_ends_when_one_of_its_models_breaks() {
    let scene = Scene::with(&[("en-es", "s"), ("en-fr", "f")], |model| model.broken = model.mark == "f");
    let (worker, _stop) = scene.worker("a");
    let fault = timeout(LEASE, worker).await.unwrap().unwrap().unwrap_err();
    assert_eq!(fault.exit_code(), 74);
    assert!(fault.to_string().contains("an illegal address"), "{fault}");
}
