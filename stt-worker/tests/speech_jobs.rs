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
use inference::alignment::AlignedWord;
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
    role_process::Fault,
    shutdown::CancellationToken,
    wire::{Caption, GlossaryTerm},
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
    /// Cancelled: its device is gone.
    broken: CancellationToken,
}

#[async_trait]
impl Transcriber for Scripted {
    async fn transcribe(&self, request: SpeechRequest) -> Answer {
        self.asked.lock().unwrap().push(request);
        tokio::select! {
            permit = self.gate.acquire() => permit.unwrap().forget(),
            () = self.broken.cancelled() => return Err(TranscribeError::Broken("as asked".to_owned())),
        }
        self.answer.clone()
    }

    async fn broken(&self) -> String {
        self.broken.cancelled().await;
        "an illegal address".to_owned()
    }

    fn window_samples(&self) -> usize {
        WINDOW
    }
}

const WINDOW: usize = 5 * 16_000;

impl Scripted {
    fn new(answer: Answer) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::default(), gate: Semaphore::new(1000), broken: CancellationToken::new() })
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

    fn worker(&self, transcriber: &Arc<Scripted>, name: &str) -> (JoinHandle<Result<(), Fault>>, CancellationToken) {
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
            end_ms: 700 + 1000 * seconds as u64,
            source: Source::Language("en".parse().unwrap()),
            expected_language: None,
            targets: vec!["es".parse().unwrap(), "fr".parse().unwrap()],
            words: false,
            locate: false,
            complete: false,
            speech_share: 1.0,
            committed: String::new(),
            tail: String::new(),
            hidden: String::new(),
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
    let (scene, model) = (Scene::new(), Scripted::says(" her friends now again"));
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

/// Words of 100 ms each, the first at the beginning.
fn words(texts: &[&str]) -> Vec<AlignedWord> {
    let word = |(at, text): (usize, &&str)| AlignedWord {
        text: (*text).to_owned(),
        start_ms: at as u32 * 100,
        end_ms: at as u32 * 100 + 100,
        probability: 0.9,
        attended_ms: at as u32 * 100 + 100,
        end_token: 0,
    };
    texts.iter().enumerate().map(word).collect()
}

#[tokio::test(start_paused = true)]
async fn words_come_with_their_times_where_they_are_wanted() {
    let hypothesis = SpeechHypothesis {
        text: " friends nu\u{303}".to_owned(),
        language: "en".to_owned(),
        words: words(&[" Call", " her", " friends", " nu\u{303}"]),
        prefix_words: 2,
        ..SpeechHypothesis::default()
    };
    let (scene, model) = (Scene::new(), Scripted::new(Ok(hypothesis)));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene
        .speak(1, |job| {
            (job.words, job.committed) = (true, "Call her".to_owned());
            (job.tail, job.hidden) = ("friends".to_owned(), "nũ".to_owned());
        })
        .await;
    let caption = scene.caption().await;
    let said: Vec<(&str, u64, u64)> =
        caption.words.iter().map(|word| (word.text.as_str(), word.start_ms, word.end_ms)).collect();
    assert_eq!(said, [("Call", 700, 800), ("her", 800, 900), ("friends", 900, 1000), ("nũ", 1000, 1100)]);
    assert_eq!((caption.committed.as_str(), caption.tail.as_str()), ("Call her friends", " nũ"), "in composed form");
    assert!(model.asked.lock().unwrap()[0].words);
}

#[tokio::test(start_paused = true)]
async fn a_long_utterance_says_where_its_last_whole_sentence_ends() {
    let hypothesis = SpeechHypothesis {
        text: " late. We go home".to_owned(),
        language: "en".to_owned(),
        words: words(&[" It", " is", " late.", " We", " go", " home"]),
        prefix_words: 2,
        ..SpeechHypothesis::default()
    };
    let (scene, model) = (Scene::new(), Scripted::new(Ok(hypothesis)));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene
        .speak(1, |job| {
            (job.locate, job.committed, job.tail) = (true, "It is".to_owned(), "late. We go back".to_owned());
        })
        .await;
    let events = scene.settle().await;
    let [SessionEvent::Caption { caption, hidden, committed_end_ms, reset: false }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((caption.committed.as_str(), caption.tail.as_str()), ("It is late.", " We go"));
    assert_eq!(hidden, "home", "it is new, and the last: it may be cut off");
    assert_eq!(*committed_end_ms, Some(1000));
    assert!(caption.words.is_empty(), "the client did not ask for them");
}

#[tokio::test(start_paused = true)]
async fn a_complete_utterance_is_final_without_a_decode() {
    let (scene, model) = (Scene::new(), Scripted::says(" and more"));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene
        .speak(1, |job| (job.kind, job.complete, job.committed) = (JobKind::Final, true, "It is late.".to_owned()))
        .await;
    let caption = scene.caption().await;
    assert_eq!((caption.committed.as_str(), caption.is_final, model.asked()), ("It is late.", true, 0));
    assert_eq!(scene.all::<TranslationJob>(TRANSLATION_JOBS).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn audio_behind_the_end_of_a_split_utterance_is_not_heard() {
    let (scene, model) = (Scene::new(), Scripted::says(" hello"));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene.speak(3, |job| (job.kind, job.end_ms) = (JobKind::Final, 1700)).await;
    scene.caption().await;
    let heard = model.asked.lock().unwrap()[0].pcm.len();
    assert!((16_000..16_100).contains(&heard), "{heard} samples of a second");
}

#[tokio::test(start_paused = true)]
async fn with_auto_the_language_of_the_session_is_expected_and_the_one_heard_is_told() {
    let mut hypothesis = Scripted::says(" hola").answer.clone().unwrap();
    (hypothesis.language, hypothesis.language_probability) = ("es".to_owned(), 0.93);
    let (scene, model) = (Scene::new(), Scripted::new(Ok(hypothesis)));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene.speak(1, |job| (job.source, job.expected_language) = (Source::Auto, Some("en-GB".parse().unwrap()))).await;
    let caption = scene.caption().await;
    assert_eq!((caption.language.as_str(), caption.language_probability), ("es", Some(0.93)));
    let request = model.asked.lock().unwrap()[0].clone();
    assert_eq!((request.language, request.expected_language.as_deref()), (None, Some("en")));
}

#[tokio::test(start_paused = true)]
async fn a_text_that_goes_in_circles_is_heard_again_without_what_was_said_before() {
    let looping = SpeechHypothesis {
        text: " so it goes so it goes so it goes".to_owned(),
        language: "en".to_owned(),
        truncated: true,
        ..SpeechHypothesis::default()
    };
    let (scene, model) = (Scene::new(), Scripted::new(Ok(looping)));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene
        .speak(1, |job| {
            (job.kind, job.context) = (JobKind::Final, "so it goes".to_owned());
            job.glossary = vec![GlossaryTerm { source: "Vonnegut".to_owned(), target: None }];
        })
        .await;
    let events = scene.settle().await;
    assert!(
        events.iter().any(|event| matches!(event, SessionEvent::Caption { caption, reset: true, .. }
            if caption.is_final && caption.committed.is_empty())),
        "{events:?}"
    );
    let requests = model.asked.lock().unwrap().clone();
    let prompts: Vec<&str> = requests.iter().map(|request| request.prompt.as_str()).collect();
    assert_eq!(prompts, ["Vonnegut so it goes", ""]);
    assert!(requests.iter().all(|request| request.terms == ["Vonnegut"]));
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
    (job.revision, job.end_ms) = (Revision(3), 1700);
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
            SessionEvent::Gap { .. } | SessionEvent::Moved { .. } => false,
        })
        .collect();
    assert_eq!(finals.len(), 3, "a caption and two translations: {events:?}");
    assert!(scene.all::<TranslationJob>(TRANSLATION_JOBS).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sound_without_speech_never_reaches_the_model() {
    let (scene, model) = (Scene::new(), Scripted::says(" la la la"));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene.speak(4, |job| (job.kind, job.speech_share) = (JobKind::Final, 0.0)).await;
    let events = scene.settle().await;
    assert_eq!(model.asked(), 0);
    assert_eq!(events.len(), 3, "an empty final in each language: {events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sound_that_is_hardly_speech_is_heard_once_it_is_whole() {
    let (scene, model) = (Scene::new(), Scripted::says(" la la la"));
    let (_worker, _stop) = scene.worker(&model, "a");
    scene.speak(2, |job| job.speech_share = 0.03).await;
    assert_eq!((scene.caption().await.tail.as_str(), model.asked()), ("", 0));
    scene.speak(2, |job| (job.kind, job.revision, job.speech_share) = (JobKind::Final, Revision(2), 0.03)).await;
    scene.settle().await;
    assert_eq!(model.asked(), 1);
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
    timeout(Duration::from_secs(60), worker).await.unwrap().unwrap().unwrap();
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

#[tokio::test(start_paused = true)]
async fn a_worker_whose_device_breaks_ends_and_its_jobs_are_done_elsewhere_at_once() {
    let scene = Scene::new();
    let (doomed, sound) = (Scripted::says(" Hello"), Scripted::says(" Hello"));
    doomed.gate.forget_permits(1000);
    let (worker, _stop) = scene.worker(&doomed, "a");
    for utterance in 1..=3 {
        scene.speak(1, |job| (job.kind, job.utterance) = (JobKind::Final, UtteranceId(utterance))).await;
    }
    sleep(LEASE * 2).await;
    assert_eq!(doomed.asked(), 3, "all are in its hand");
    let (_other, _stop) = scene.worker(&sound, "b");
    sleep(LEASE).await;
    doomed.broken.cancel();
    let fault = timeout(LEASE, worker).await.unwrap().unwrap().unwrap_err();
    assert_eq!(fault.exit_code(), 74, "the supervisor starts it anew: {fault}");
    sleep(LEASE / 2).await;
    assert_eq!(sound.asked(), 3, "without waiting for a lease to run out");
    let events = scene.settle().await;
    assert!(
        events.len() == 3 && events.iter().all(|event| matches!(event, SessionEvent::Caption { .. })),
        "{events:?}"
    );
}
