//! Speech jobs through a whole stt-worker, on the in-process bus with a scripted transcriber (the real models have
//! tests of their own): what a session hears of each job, and what goes on to the translation-workers.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use prometheus::Registry;
use shared::{
    audio::f32_to_s16le,
    bus::{Bus, EntryId, MemoryBus, Produce, StateWrite},
    consumer::{BUS, DeadLetter},
    health::Health,
    ids::{Revision, SessionId, UtteranceId},
    jobs::{
        self, AUDIO_JOBS, DEAD_LETTERS, JobKind, LEASE, SESSION_TTL, STT_GROUP, SessionEvent, SpeechJob,
        TRANSLATION_JOBS, TranslationJob, audio_stream, event_stream, revision_key,
    },
    language::Source,
    shutdown::CancellationToken,
    wire::Caption,
};
use stt_worker::{
    SttConfig, SttWorker,
    transcriber::{SpeechHypothesis, SpeechRequest, TranscribeError, Transcriber},
};
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};

type Answer = Result<SpeechHypothesis, TranscribeError>;

/// Says of every audio what it was told to say, once it is let.
#[derive(Debug)]
struct Scripted {
    answer: Answer,
    asked: Mutex<Vec<SpeechRequest>>,
    /// One permit for each request that may be answered.
    gate: Semaphore,
}

#[async_trait]
impl Transcriber for Scripted {
    async fn transcribe(&self, request: SpeechRequest) -> Answer {
        self.asked.lock().unwrap().push(request);
        self.gate.acquire().await.unwrap().forget();
        self.answer.clone()
    }

    fn window_samples(&self) -> usize {
        WINDOW
    }
}

const WINDOW: usize = 5 * 16_000;

impl Scripted {
    fn new(answer: Answer) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::default(), gate: Semaphore::new(1000) })
    }

    fn says(text: &str) -> Arc<Self> {
        Self::new(Ok(SpeechHypothesis { text: text.to_owned(), language: "en".to_owned(), ..Default::default() }))
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

struct Scene {
    bus: MemoryBus,
    session: SessionId,
}

impl Scene {
    fn new() -> Self {
        Self { bus: MemoryBus::new(), session: SessionId::random() }
    }

    fn worker(&self, transcriber: &Arc<Scripted>, name: &str) -> (JoinHandle<()>, CancellationToken) {
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let config = SttConfig { name: name.to_owned(), ..SttConfig::of_model(PathBuf::new()) };
        let health = Health::new("test", &[BUS], registry.clone());
        let transcriber: Arc<dyn Transcriber> = transcriber.clone();
        let worker = SttWorker::new(&config, Arc::new(self.bus.clone()), transcriber, health, &registry).unwrap();
        (tokio::spawn(worker.run(stop.clone())), stop)
    }

    /// Appends a tone of `seconds` and asks for its decode.
    async fn speak(&self, seconds: usize, edit: impl FnOnce(&mut SpeechJob)) -> SpeechJob {
        let mut job = SpeechJob {
            session: self.session,
            utterance: UtteranceId(1),
            revision: Revision(1),
            kind: JobKind::Partial,
            last_entry: EntryId::START,
            start_ms: 700,
            end_ms: 1700,
            source: Source::Language("en".parse().unwrap()),
            expected_language: None,
            targets: vec!["es".parse().unwrap(), "fr".parse().unwrap()],
            words: false,
            locate: false,
            committed: String::new(),
            tail: String::new(),
            context: String::new(),
            glossary: Vec::new(),
            trace_parent: String::new(),
        };
        edit(&mut job);
        let tone: Vec<f32> = (0..seconds * 16_000).map(|i| if i % 40 < 20 { 0.1 } else { -0.1 }).collect();
        let stream = audio_stream(job.session, job.utterance);
        for entry in f32_to_s16le(&tone).chunks(6400) {
            job.last_entry = self.bus.append(&stream, Bytes::copy_from_slice(entry), SESSION_TTL).await.unwrap();
        }
        self.ask(&job).await;
        job
    }

    async fn ask(&self, job: &SpeechJob) {
        let newest = StateWrite {
            key: revision_key(job.session, job.utterance),
            value: Bytes::from(job.revision.to_string()),
            ttl: SESSION_TTL,
        };
        let produce = Produce {
            stream: AUDIO_JOBS.to_owned(),
            idempotency_key: format!("{}:{}", job.utterance, job.revision),
            payload: jobs::encode(job).unwrap(),
            set: Some(newest),
        };
        self.bus.produce(produce).await.unwrap().unwrap();
    }

    async fn all<T: for<'de> serde::Deserialize<'de>>(&self, stream: &str) -> Vec<T> {
        let last = "99999999999999-0".parse().unwrap();
        let entries = self.bus.range(stream, EntryId::START, last, 1000).await.unwrap();
        entries.iter().map(|entry| jobs::decode(&entry.payload).unwrap()).collect()
    }

    async fn events(&self) -> Vec<SessionEvent> {
        self.all(&event_stream(self.session)).await
    }

    /// Waits until no job is left, and long enough for a second answer to show if there were one.
    async fn settle(&self) -> Vec<SessionEvent> {
        timeout(Duration::from_secs(600), async {
            loop {
                sleep(Duration::from_millis(100)).await;
                let depth = self.bus.depth(AUDIO_JOBS, STT_GROUP).await.unwrap();
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

    async fn caption(&self) -> Caption {
        match self.settle().await.as_slice() {
            [SessionEvent::Caption { caption, .. }] => caption.clone(),
            other => panic!("not one caption: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_partial_commits_what_it_agrees_on_and_is_sent_to_be_translated() {
    let (scene, model) = (Scene::new(), Scripted::says(" her friends now"));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene
        .speak(1, |job| {
            job.committed = "Please call".to_owned();
            job.tail = "her friends tomorrow".to_owned();
            job.revision = Revision(4);
        })
        .await;
    let caption = scene.caption().await;
    assert_eq!((caption.committed.as_str(), caption.tail.as_str()), ("Please call her friends", " now"));
    assert_eq!((caption.revision, caption.start_ms, caption.end_ms), (Revision(4), 700, 1700));
    assert!(!caption.is_final);
    let request = model.asked.lock().unwrap()[0].clone();
    assert_eq!((request.prefix.as_str(), request.pcm.len()), ("Please call", 16_000));
    let jobs: Vec<TranslationJob> = scene.all(TRANSLATION_JOBS).await;
    let targets: Vec<&str> = jobs.iter().map(|job| job.target.as_str()).collect();
    assert_eq!(targets, ["es", "fr"]);
    assert_eq!((jobs[0].committed.as_str(), jobs[0].tail.as_str()), ("Please call her friends", "now"));
}

#[tokio::test(start_paused = true)]
async fn a_final_commits_everything() {
    let (scene, model) = (Scene::new(), Scripted::says(", world."));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene.speak(1, |job| (job.kind, job.committed) = (JobKind::Final, "Hello".to_owned())).await;
    let caption = scene.caption().await;
    assert_eq!((caption.committed.as_str(), caption.tail.as_str(), caption.is_final), ("Hello, world.", "", true));
    assert_eq!(scene.all::<TranslationJob>(TRANSLATION_JOBS).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_not_translated_again() {
    let (scene, model) = (Scene::new(), Scripted::says(" hello"));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene.speak(1, |job| job.tail = "hello".to_owned()).await;
    assert_eq!(scene.caption().await.tail, "hello");
    assert!(scene.all::<TranslationJob>(TRANSLATION_JOBS).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn text_that_was_made_up_leaves_a_final_with_what_was_committed() {
    let made_up = SpeechHypothesis {
        text: " Thanks for watching!".to_owned(),
        language: "en".to_owned(),
        avg_logprob: -1.5,
        no_speech_prob: 0.9,
        truncated: false,
        ..SpeechHypothesis::default()
    };
    let (scene, model) = (Scene::new(), Scripted::new(Ok(made_up)));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene.speak(1, |job| (job.kind, job.committed) = (JobKind::Final, "Hello".to_owned())).await;
    assert_eq!(scene.caption().await.committed, "Hello");
}

#[tokio::test(start_paused = true)]
async fn silence_never_reaches_the_model_and_still_gets_its_finals() {
    let (scene, model) = (Scene::new(), Scripted::says(" you"));
    let (_worker, _stop) = scene.worker(&model, "a");
    let mut job = scene.speak(0, |job| (job.kind, job.revision) = (JobKind::Final, Revision(2))).await;
    let stream = audio_stream(job.session, job.utterance);
    job.last_entry = scene.bus.append(&stream, Bytes::from(vec![0; 32_000]), SESSION_TTL).await.unwrap();
    job.revision = Revision(3);
    scene.ask(&job).await;
    let events = scene.settle().await;
    assert_eq!(model.asked(), 0);
    let finals: Vec<&SessionEvent> = events
        .iter()
        .filter(|event| match event {
            SessionEvent::Caption { caption: c, .. } => {
                c.revision == Revision(3) && c.is_final && c.committed.is_empty()
            }
            SessionEvent::Translation(t) => t.revision == Revision(3) && t.is_final && t.committed.is_empty(),
            SessionEvent::Gap { .. } => false,
        })
        .collect();
    assert_eq!(finals.len(), 3, "a caption and two translations: {events:?}");
    assert!(scene.all::<TranslationJob>(TRANSLATION_JOBS).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_older_revision_costs_no_decode_and_says_nothing() {
    let (scene, model) = (Scene::new(), Scripted::says(" hello"));
    let mut job = scene.speak(1, |_| ()).await;
    (job.revision, job.kind) = (Revision(2), JobKind::Final);
    scene.ask(&job).await;
    let (_worker, _stop) = scene.worker(&model, "a");
    let caption = scene.caption().await;
    assert_eq!((caption.revision, caption.is_final), (Revision(2), true));
    assert_eq!(model.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_grows_old_during_its_decode_says_nothing() {
    let (scene, model) = (Scene::new(), Scripted::says(" hello"));
    model.gate.forget_permits(1000);
    let (_worker, _stop) = scene.worker(&model, "a");
    let mut job = scene.speak(1, |_| ()).await;
    while model.asked() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    job.revision = Revision(2);
    scene.ask(&job).await;
    model.gate.add_permits(2);
    assert_eq!(scene.caption().await.revision, Revision(2));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_in_mid_decode_is_replaced_and_one_final_comes_out() {
    let scene = Scene::new();
    let (stuck, fine) = (Scripted::says(" never heard"), Scripted::says(" hello"));
    stuck.gate.forget_permits(1000);
    let (dying, _stop) = scene.worker(&stuck, "a");
    scene.speak(1, |job| job.kind = JobKind::Final).await;
    while stuck.asked() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let (_living, _stop) = scene.worker(&fine, "b");
    dying.abort();
    assert_eq!(scene.caption().await.committed, "hello");
    assert_eq!((stuck.asked(), fine.asked()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_three_times_leaves_a_gap_and_a_letter_without_text() {
    let scene = Scene::new();
    let model = Scripted::new(Err(TranscribeError::Failed("out of memory".to_owned())));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene.speak(1, |job| (job.kind, job.committed) = (JobKind::Final, "a secret".to_owned())).await;
    let events = scene.settle().await;
    assert!(
        matches!(events[..], [SessionEvent::Gap { was_final: true, from_ms: 700, to_ms: 1700, target: None, .. }]),
        "{events:?}"
    );
    assert_eq!(model.asked(), 3);
    let letters: Vec<DeadLetter> = scene.all(DEAD_LETTERS).await;
    assert_eq!(letters[0].subject.as_ref().unwrap().session, scene.session);
    assert!(!format!("{letters:?}").contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn audio_that_is_gone_is_a_gap_at_once() {
    let (scene, model) = (Scene::new(), Scripted::says(" hello"));
    let job = scene.speak(1, |job| job.kind = JobKind::Final).await;
    scene.bus.remove(&[audio_stream(job.session, job.utterance)]).await.unwrap();
    let (_worker, _stop) = scene.worker(&model, "a");
    assert!(matches!(scene.settle().await[..], [SessionEvent::Gap { .. }]));
    assert_eq!(model.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_wait_reach_the_model_together() {
    let (scene, model) = (Scene::new(), Scripted::says(" hello"));
    model.gate.forget_permits(1000);
    for utterance in 1..=12 {
        scene.speak(1, |job| job.utterance = UtteranceId(utterance)).await;
    }
    let (_worker, _stop) = scene.worker(&model, "a");
    // None is answered before all have been asked.
    timeout(Duration::from_secs(60), async {
        while model.asked() < 12 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    model.gate.add_permits(12);
    assert_eq!(scene.settle().await.len(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_worker_told_to_stop_answers_for_what_it_has() {
    let (scene, model) = (Scene::new(), Scripted::says(" hello"));
    model.gate.forget_permits(1000);
    let (worker, stop) = scene.worker(&model, "a");
    scene.speak(1, |job| job.kind = JobKind::Final).await;
    while model.asked() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    sleep(Duration::from_secs(2)).await;
    model.gate.add_permits(1);
    timeout(Duration::from_secs(60), worker).await.unwrap().unwrap();
    assert_eq!(scene.events().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn audio_longer_than_the_window_is_decoded_in_parts_and_keeps_its_committed_text() {
    let (scene, model) = (Scene::new(), Scripted::says(" again and again"));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene.speak(12, |job| (job.kind, job.committed) = (JobKind::Final, "Again and again, again".to_owned())).await;
    let caption = scene.caption().await;
    let requests = model.asked.lock().unwrap().clone();
    assert!(requests.iter().all(|request| request.pcm.len() <= WINDOW && request.prefix.is_empty()));
    assert_eq!(requests.iter().map(|request| request.pcm.len()).sum::<usize>(), 12 * 16_000);
    let repeated = "and again again and again ".repeat(requests.len());
    assert!(caption.committed.starts_with("Again and again, again and again"), "{}", caption.committed);
    assert!(caption.committed.len() <= "Again and again, again ".len() + repeated.len());
    assert_eq!(caption.committed.matches("gain").count(), requests.len() * 2);
}
